"""Logits of photos at their own size: whole, in windows without seams, at several scales."""

import jax
import numpy as np
import pytest
from PIL import Image

from vocjax.data.frame import GREY
from vocjax.errors import UserError
from vocjax.evaluate import evaluate
from vocjax.metrics.segmentation import resized_bands
from vocjax.models.autoencoder import Encoder
from vocjax.models.fcn import FCNDecoder
from vocjax.models.segmenter import Segmenter
from vocjax.predict import load_model
from vocjax.reporting.page import write_report
from vocjax.tasks import make_task
from vocjax.tasks.own_size import MOST_PIXELS, View, logits_of, weights, with_few_programs
from vocjax.tasks.pixel_classes import PixelClasses, Seen, decide, decide_at, probability_of
from vocjax.training.loop import train_and_evaluate

WINDOWS = View("windows", 0, (1.0,), (32, 32), 0.5, 2, 3, 2)
WHOLE = WINDOWS._replace(images="whole")
EVENTS: list[str] = []
jax.monitoring.register_event_duration_secs_listener(lambda event, *_, **__: EVENTS.append(event))


def photo_of(height, width, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


@pytest.fixture(scope="module")
def network():
    """A network of stride 2 whose scores see fewer than 12 pixels along each axis."""
    model = Segmenter(Encoder((4, 4)), FCNDecoder(2, 1))
    variables = jax.jit(model.init)(jax.random.key(0), np.zeros((1, 32, 32, 3), np.float32))
    noise = np.random.default_rng(0)
    variables = jax.tree.map(lambda x: noise.normal(0, 0.3, x.shape).astype(np.float32), variables)
    apply = jax.jit(lambda images: model.apply(variables, images)[0])
    return lambda images: np.asarray(apply(images.astype(np.float32) / 255))


def test_the_receptive_field_is_smaller_than_the_overlap(network):
    photo = np.full((1, 64, 64, 3), 100, np.uint8)
    changed = photo.copy()
    changed[0, 30:32, 30:32] = 255
    rows, columns = np.nonzero(np.abs(network(photo) - network(changed)).max(axis=(0, 3)))
    assert max(np.ptp(rows), np.ptp(columns)) < 12 <= 16 * 3 / 4


@pytest.mark.parametrize("size", [(64, 80), (32, 100), (61, 75)])
def test_windows_have_no_seams(network, size):
    photo = photo_of(*size)
    by_windows, whole = (logits_of(view, network, photo) for view in (WINDOWS, WHOLE))
    assert by_windows.shape == whole.shape == (*size, 2)
    np.testing.assert_allclose(by_windows, whole, atol=1e-4)
    without = logits_of(WINDOWS._replace(overlap=0.0), network, photo)
    assert np.abs(without - whole).max() > 1e-2  # the test can fail


def test_a_photo_smaller_than_a_window_is_padded(network):
    photo = photo_of(20, 12)
    frame = np.full((1, 32, 32, 3), GREY, np.uint8)
    frame[0, :20, :12] = photo
    logits = logits_of(WINDOWS, network, photo)
    np.testing.assert_allclose(logits, network(frame)[0, :20, :12], atol=1e-5)


@pytest.mark.parametrize("overlap", [0.0, 0.1, 0.5, 0.75])
def test_weights_add_to_one_and_vanish_at_inner_edges(overlap):
    n, side = 77, 32
    step = side - round(overlap * side)
    starts = [*range(0, n - side, step), n - side]
    found, total = weights(starts, n, side, side - step), np.zeros(n)
    for start, weight in zip(starts, found, strict=True):
        total[start : start + side] += weight
    np.testing.assert_allclose(total, 1, rtol=1e-6)
    assert found[0][0] == found[-1][-1] == 1
    if overlap >= 0.5:
        assert np.all(found[1:, :6] == 0) and np.all(found[:-1, -6:] == 0)


@pytest.mark.parametrize("view", [WINDOWS, WHOLE])
def test_scales_are_resized_and_averaged(view):
    """A network whose logits are its pixels gives the mean of the photo at these scales."""
    view, photo = view._replace(scales=(0.5, 1.0, 2.0), outputs=3), photo_of(40, 52)

    def resize(image, size):
        planes = [Image.fromarray(image[..., c].astype(np.float32)) for c in range(3)]
        bilinear = Image.Resampling.BILINEAR
        return np.stack([np.asarray(p.resize(size, bilinear)) for p in planes], axis=-1)

    seen = [
        Image.fromarray(photo).resize(s, Image.Resampling.LANCZOS) for s in ((26, 20), (104, 80))
    ]
    expected = (photo + sum(resize(np.asarray(x), (52, 40)) for x in seen)) / 3
    logits = logits_of(view, lambda images: images.astype(np.float32), photo)
    np.testing.assert_allclose(logits, expected, atol=1e-3)


@pytest.mark.parametrize("images", ["whole", "windows"])
def test_memory_is_bounded_and_the_aspect_kept(images):
    view = WHOLE._replace(images=images, scales=(1.0, 1.5), window=(512, 512), overlap=0.25)
    largest = []

    def run(batch):
        largest.append(batch[0, ..., 0].size)
        return np.zeros((*batch.shape[:3], 2), np.float32)

    height, width, _ = logits_of(view, run, np.zeros((6000, 1500, 3), np.uint8)).shape
    assert height / width == pytest.approx(4, rel=0.01)
    assert max(largest) <= MOST_PIXELS * 1.01
    longest = logits_of(view._replace(longest=100), run, np.zeros((300, 200, 3), np.uint8))
    assert longest.shape == (100, 67, 2)


@pytest.mark.parametrize(
    "fields",
    [
        {"evaluation.images": "windows", "evaluation.scales": (0.75, 1.0), "data.width": 24},
        {
            "evaluation.images": "whole",
            "evaluation.flip": True,
            "data.fit": "pad",
            "data.longest": 40,
            "data.augment.scale": (0.5, 2.0),
            "data.sampling": "balanced",
        },
    ],
)
def test_a_run_is_scored_as_its_config_says_and_predicts_alike(tiny_config, tmp_path, fields):
    config = tiny_config("segmentation_fcn", epochs=1, **fields)
    results = train_and_evaluate(config, tmp_path / "run")
    assert 0 <= results["val"]["mean_iou_full_size"] <= 1
    again = evaluate(tmp_path / "run")["metrics"]
    assert again["mean_iou_full_size"] == pytest.approx(results["val"]["mean_iou_full_size"])
    photo = photo_of(33, 50)
    model = load_model(tmp_path / "run")
    (described,) = model.describe([photo])
    assert described.pictures["_mask"].size == (50, 33)
    if "data.width" in fields:  # the report shows pictures that are no squares
        write_report([tmp_path / "run"], tmp_path / "report.html")
        assert "16\N{MULTIPLICATION SIGN}24" in (tmp_path / "report.html").read_text()
    if "evaluation.flip" in fields:  # the mirrored photo has the mirrored mask
        wide = photo_of(20, 32)  # so wide that no padding is beside it
        masks = [m.pictures["_mask"] for m in model.describe([wide, wide[:, ::-1]])]
        np.testing.assert_array_equal(np.asarray(masks[0])[:, ::-1], masks[1])


def test_the_logits_of_padding_are_left_out():
    """A photo twice as wide as high lies in the upper half of a square frame."""
    classes = PixelClasses("softmax", ("cat",), (8,))
    logits = np.zeros((8, 8, 2), np.float32)
    logits[..., 1] = -5
    logits[:4, :3, 1], logits[4:, :, 1] = 5, 9
    found = decide_at(classes, logits, (12, 24), 0.0, Seen("pad"))
    np.testing.assert_array_equal(found, np.tile(np.arange(24) < 9, (12, 1)))
    # Logits are resized, and not probabilities: between 5 and -1 they change at one sixth.
    logits = np.array([[[0, 5], [0, -1]]], np.float32)
    found = decide_at(classes, logits, (1, 200), 0.0, Seen(whole=True))
    assert found.sum() == pytest.approx(50 + 100 * 5 / 6, abs=1)


@pytest.mark.parametrize("kind", ["foreground", "sigmoid", "softmax"])
def test_new_sizes_of_photos_compile_nothing(kind):
    """What is decided is what the probabilities of the resized logits are."""
    names = ("object",) if kind == "foreground" else ("cat", "dog", "cow")
    classes = PixelClasses(kind, names, tuple(range(1, 1 + len(names))))
    noise = np.random.default_rng(0).normal(size=(8, 8, classes.outputs)).astype(np.float32)
    for fit, size in (("pad", (12, 24)), ("whole", (40, 31)), ("squash", (20, 30))):
        seen, given = Seen(fit), noise[:4] if fit == "pad" else noise
        if fit == "whole":
            seen = Seen(whole=True)
        if fit == "squash":
            given = np.asarray(probability_of(classes, given))
            decide_at(classes, noise, (3, 3), 0.3, seen)  # which compiles what has one size
        EVENTS.clear()
        found = decide_at(classes, noise, size, 0.3, seen)
        assert not [event for event in EVENTS if "compile" in event]
        (((_, scores)),) = resized_bands(given, *size)
        probability = scores if fit == "squash" else np.asarray(probability_of(classes, scores))
        np.testing.assert_array_equal(found, decide(classes, probability, 0.3))


def test_the_programs_of_few_sizes_are_kept():
    double = with_few_programs(jax.jit(lambda two, batch: two * batch), most=2)
    EVENTS.clear()
    for number, compiled in ((1, 1), (2, 2), (1, 2), (3, 3), (1, 3), (2, 4)):
        np.testing.assert_array_equal(double(2.0, np.ones(number)), np.full(number, 2.0))
        assert sum("backend_compile" in event for event in EVENTS) == compiled


@pytest.mark.parametrize(
    ("name", "field", "value", "message"),
    [
        ("segmentation_fcn", "images", "tiles", "evaluation.images"),
        ("segmentation_fcn", "overlap", 1.0, "evaluation.overlap"),
        ("segmentation_fcn", "scales", (0.5,), "evaluation.scales"),
        ("classifier_256", "images", "whole", "evaluation.images is 'whole', which classification"),
        ("autoencoder_256", "flip", True, "evaluation.flip is True, which reconstruction"),
    ],
)
def test_wrong_fields_are_refused(tiny_config, name, field, value, message):
    config = tiny_config(name, **{f"evaluation.{field}": value})
    with pytest.raises(UserError, match=message):
        make_task(config)
