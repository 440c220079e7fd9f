"""Batches from prepared examples: the same resident and streamed, each row once, resized well."""

import threading

import jax
import numpy as np
import pytest
from skimage.transform import resize

from vocjax.config import base_config
from vocjax.data import pipeline, voc
from vocjax.data.classes import VOID
from vocjax.data.pipeline import check_data, open_examples, plan, resize_image, resize_mask
from vocjax.data.splits import LEGACY, select
from vocjax.errors import UserError
from vocjax.mesh import make_mesh

SIZE, BATCH = 12, 5  # 12 rows in batches of 5: the last one holds 2
EVERY_STORAGE = pytest.mark.parametrize("storage", ["device", "stream"])


@pytest.fixture(scope="module")
def mesh():
    return make_mesh()


@pytest.fixture(scope="module")
def prepared(toy_dir):
    return voc.load("toy", toy_dir)


@pytest.fixture(scope="module")
def rows(prepared):
    data = base_config().data
    data.image_set = "Segmentation"
    return select(prepared.index, data, "train")


@pytest.fixture(scope="module")
def opened(prepared, rows, mesh):
    def open_with(storage, channels=3, masks="nearest"):
        fields = {"size": SIZE, "channels": channels, "masks": masks, "storage": storage}
        return open_examples(prepared, rows, mesh, **fields)

    return open_with


def batches_of(examples, order, mesh, first=0):
    batches = examples.batches(plan(order, BATCH, mesh, first=first))
    return [{name: np.asarray(array) for name, array in batch.items()} for batch in batches]


def assert_equal(batches, others):
    for one, other in zip(batches, others, strict=True):
        assert one.keys() == other.keys()
        for name in one:
            np.testing.assert_array_equal(one[name], other[name])


@pytest.mark.parametrize(("channels", "masks"), [(3, "nearest"), (1, "")])
def test_resident_and_streamed_batches_are_the_same(opened, rows, mesh, channels, masks):
    order = np.random.default_rng(0).permutation(len(rows))
    resident = opened("device", channels, masks)
    streamed = opened("stream", channels, masks)
    assert (resident.resident, streamed.resident) == (True, False)
    np.testing.assert_array_equal(resident.ids, streamed.ids)
    batches = batches_of(resident, order, mesh)
    assert_equal(batches, batches_of(streamed, order, mesh))
    expected = {
        "image": ((BATCH, SIZE, SIZE, channels), np.uint8),
        "labels": ((BATCH, 20), np.int8),
    }
    expected |= {"mask": ((BATCH, SIZE, SIZE), np.uint8)} if masks else {}
    expected |= {"valid": ((BATCH,), np.float32)}
    for batch in batches:  # the last one too
        assert {name: (array.shape, array.dtype) for name, array in batch.items()} == expected
    assert [batch["valid"].tolist() for batch in batches] == [[1] * 5, [1] * 5, [1, 1, 0, 0, 0]]


def test_batches_hold_the_examples_in_the_order_asked_for(opened, prepared, rows, mesh):
    examples, order = opened("stream"), np.array([7, 3, 11])
    (batch,) = batches_of(examples, order, mesh)
    for place, position in enumerate(order):
        row = int(rows[position])
        image, mask = prepared.examples[row]["image"], prepared.examples[row]["mask"][..., 0]
        np.testing.assert_array_equal(batch["image"][place], resize_image(image, SIZE, 3))
        np.testing.assert_array_equal(batch["mask"][place], resize_mask(mask, SIZE))
        np.testing.assert_array_equal(batch["labels"][place], prepared.index.labels[row])
        assert examples.ids[position] == prepared.index.ids[row]
        np.testing.assert_array_equal(examples.mask_of(position), mask)  # at its own size


@EVERY_STORAGE
def test_rows_may_repeat_with_other_labels(prepared, rows, mesh, storage):
    """As the multi-label rule "repeat" makes them."""
    rows, labels = rows[[3, 3, 5]], np.arange(60, dtype=np.int8).reshape(3, 20)
    fields = {"size": SIZE, "channels": 1, "labels": labels, "storage": storage}
    examples = open_examples(prepared, rows, mesh, **fields)
    (batch,) = batches_of(examples, np.arange(3), mesh)
    np.testing.assert_array_equal(batch["labels"], labels)
    np.testing.assert_array_equal(batch["image"][0], batch["image"][1])
    assert examples.ids.tolist() == prepared.index.ids[rows].tolist()


@EVERY_STORAGE
def test_batches_may_be_taken_twice_at_once_and_from_the_middle(opened, rows, mesh, storage):
    examples, order = opened(storage), np.random.default_rng(2).permutation(len(rows))
    first, second = (examples.batches(plan(order, BATCH, mesh)) for _ in range(2))
    for one, other in zip(first, second, strict=True):
        np.testing.assert_array_equal(one["image"], other["image"])
    whole = batches_of(examples, order, mesh)
    assert_equal(whole[2:], batches_of(examples, order, mesh, first=2))


@pytest.mark.parametrize(("n", "size"), [(23, 5), (20, 5), (3, 8)])
def test_a_plan_gives_every_row_once_in_one_shape(mesh, n, size):
    order = np.random.default_rng(1).permutation(n)
    whole = list(plan(order, size, mesh))
    assert len(whole) == -(-n // size)
    assert len({array.shape for pair in whole for array in pair}) == 1
    np.testing.assert_array_equal(np.concatenate([rows[valid > 0] for rows, valid in whole]), order)
    assert sum(valid.sum() for _, valid in whole) == n
    for first in range(len(whole) + 1):
        tail = list(plan(order, size, mesh, first=first))
        np.testing.assert_array_equal(np.array(tail), np.array(whole[first:]))


def test_the_order_depends_on_the_key_alone():
    zero, again, one = (pipeline.shuffled(jax.random.key(seed), 30) for seed in (0, 0, 1))
    np.testing.assert_array_equal(zero, again)
    assert sorted(zero) == sorted(one) == list(range(30))
    assert np.any(zero != one)


@pytest.mark.parametrize("masks", ["", "nearest"])
def test_auto_keeps_what_is_small_and_streams_what_is_large(prepared, mesh, masks):
    image_bytes = 64 * 64 * (3 + bool(masks))
    fields = {"size": 64, "channels": 3, "masks": masks}
    large = np.zeros(pipeline.RESIDENT_BYTES // image_bytes + 1, int)  # one image too many
    streamed = open_examples(prepared, large, mesh, **fields)
    assert not streamed.resident
    assert open_examples(prepared, large[:3], mesh, **fields).resident
    batch = next(streamed.batches(plan(np.arange(len(large)), 4, mesh)))
    assert batch["image"].shape == (4, 64, 64, 3)


class Broken(dict):
    """Examples of which one can't be decoded."""

    def __missing__(self, row):
        raise OSError(f"row {row} is broken")


@EVERY_STORAGE
def test_an_error_in_a_thread_surfaces(prepared, rows, mesh, storage):
    good = {row: prepared.examples[int(row)] for row in np.delete(rows, 8)}
    broken = prepared._replace(examples=Broken(good))
    before = set(threading.enumerate())
    message = rf"image {prepared.index.ids[rows[8]]} can't be read from .*prepare the"
    with pytest.raises(UserError, match=message) as error:
        examples = open_examples(broken, rows, mesh, size=SIZE, channels=3, storage=storage)
        batches_of(examples, np.arange(len(rows)), mesh)
    assert "is broken" in str(error.value.__cause__)
    assert not set(threading.enumerate()) - before


def test_an_abandoned_stream_leaves_no_threads(opened, mesh):
    before = set(threading.enumerate())
    batches = opened("stream").batches(plan(np.arange(12), 1, mesh))
    next(batches)
    threads = set(threading.enumerate()) - before
    assert threads
    batches.close()
    assert not any(thread.is_alive() for thread in threads)


def test_a_stream_has_one_thread_where_the_process_may_use_one_core(opened, mesh, monkeypatch):
    monkeypatch.setattr(pipeline, "usable_cores", lambda: 1)
    before = set(threading.enumerate())
    batches = opened("stream").batches(plan(np.arange(12), 4, mesh))
    next(batches)
    assert len(set(threading.enumerate()) - before) == 1
    batches.close()


@pytest.mark.parametrize("channels", [1, 3])
def test_a_checkerboard_shrinks_to_grey(channels):
    board = (np.indices((128, 96)).sum(axis=0) % 2 * 255).astype(np.uint8)
    small = resize_image(np.repeat(board[..., None], 3, axis=2), 16, channels)
    assert (small.shape, small.dtype) == ((16, 16, channels), np.uint8)
    assert np.abs(small - 127.5).max() < 4


def test_resizing_keeps_left_from_right_and_uniform_colours_whose_grey_is_bt601():
    image = np.zeros((40, 60, 3), np.uint8)
    image[:20, :30] = 255  # its upper left quarter
    small = resize_image(image, 8, 3)[..., 0]
    assert small[:3, :3].min() > 240
    assert max(small[5:].max(), small[:, 5:].max()) < 15
    for colour in np.random.default_rng(0).integers(0, 256, (20, 3), np.uint8):
        uniform = np.broadcast_to(colour, (50, 30, 3))
        np.testing.assert_array_equal(resize_image(uniform, 8, 3), uniform[:8, :8])
        exact = colour @ np.array([0.299, 0.587, 0.114])
        assert np.all(np.abs(resize_image(uniform, 4, 1) - exact) < 0.51)


def test_masks_are_resized_to_the_nearest_index():
    rng = np.random.default_rng(0)
    mask = rng.choice(np.array([0, 1, 7, 20, VOID], np.uint8), (53, 37))
    for size in (16, 64):
        small = resize_mask(mask, size)
        assert (small.shape, small.dtype) == ((size, size), np.uint8)
        assert set(np.unique(small)) <= {0, 1, 7, 20, VOID}
    blocks = rng.choice(np.array([0, 5, VOID], np.uint8), (8, 8))
    large = blocks.repeat(4, 0).repeat(4, 1)
    np.testing.assert_array_equal(resize_mask(large, 8), blocks)
    np.testing.assert_array_equal(resize_mask(blocks, 32), large)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"image_set": "main"}, "data.image_set is 'main'; it is one of Main, Segmentation"),
        ({"classes": ("dog", "Cat")}, r"data.classes is 'Cat'.* Did you mean 'cat'\?"),
        ({"classes": ("dog", "dog")}, "data.classes names a class twice: dog, dog"),
        ({"size": 0}, "data.size is 0; it must be at least 1"),
        (
            {"masks": "bilinear"},
            "data.masks is 'bilinear'; it is one of nearest, legacy, ",
        ),
        ({"channels": 2}, "data.channels is 2; it is one of 3, 1"),
        ({"several": "twice"}, "data.several is 'twice'; it is one of keep, drop, repeat"),
        ({"split": "legacy"}, rf"data.split is 'legacy'; it is one of official, {LEGACY}"),
        ({"split_seed": -1}, "data.split_seed is -1; it must be at least 0 and less than"),
        ({"split_seed": 2**32}, "data.split_seed is 4294967296; it must be"),
        ({"held_out": -0.1}, "data.held_out is -0.1; it must be at least 0 and less than 1"),
        ({"held_out": 1.0}, "data.held_out is 1.0; it must be"),
        ({"held_out": float("nan")}, "data.held_out is nan; it must be"),
        ({"split": LEGACY, "held_out": 0.2}, f"data.held_out is 0.2 and data.split is {LEGACY}"),
        ({"storage": "disk"}, "data.storage is 'disk'; it is one of auto, device, stream"),
    ],
)
def test_a_field_that_cannot_be_used_is_refused(fields, message):
    data = base_config().data
    check_data(data)
    data.update(fields)
    with pytest.raises(UserError, match=message):
        check_data(data)


def test_legacy_masks_hold_whatever_a_pixel_touches(prepared, rows):
    """Void is object; a pixel is object where the triangle of the resizing meets any of it."""
    for row in rows[:4]:
        mask = prepared.examples[int(row)]["mask"][..., 0]
        legacy, nearest = (pipeline.MASKS[kind](mask, SIZE) for kind in ("legacy", "nearest"))
        assert set(np.unique(legacy)) == {0, 1}
        assert np.all(legacy[nearest > 0] == 1)
        assert legacy.sum() > (nearest > 0).sum()
        # Which pixels of the mask the triangles, two pixels of the smaller image wide, cover.
        down, across = (
            abs((np.arange(n) + 0.5) * SIZE / n - np.arange(SIZE)[:, None] - 0.5) < 1 - 1e-9
            for n in mask.shape
        )
        np.testing.assert_array_equal(legacy, down @ (mask > 0) @ across.T)


@pytest.mark.parametrize("size", [SIZE, 200])
def test_legacy_masks_are_sampled_as_scikit_image_samples(prepared, rows, size):
    for row in rows[:4]:
        mask = prepared.examples[int(row)]["mask"][..., 0]
        sampled = pipeline.MASKS["legacy_sampled"](mask, size)
        pixels = (mask > 0).astype(float)
        share = resize(pixels, (size, size), order=1, mode="edge", anti_aliasing=False)
        np.testing.assert_array_equal(sampled, share > 1e-9)
        assert np.all(pipeline.MASKS["legacy"](mask, size) >= sampled) or size > min(mask.shape)
