"""From prepared examples to batches on the devices: kept there if they fit, else streamed.

A batch is a dict of arrays. All batches have the same shapes, the last one too:

- `image` [batch, height, width, channels] uint8;
- `mask` [batch, height, width] uint8 class indices, 255 void (only if it is asked for);
- `labels` [batch, classes] int8: 1 present, 0 difficult, -1 absent;
- `extent` [batch, 2] int32: height and width of the image in its frame, of `SHRUNK` ones only;
- `valid` [batch] float32: 1, or 0 for rows that only fill up the last batch.
"""

import math
from collections import deque
from collections.abc import Callable, Collection, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import jax
import numpy as np
from jax.sharding import Mesh
from ml_collections import ConfigDict
from PIL import Image

from vocjax.bounds import PIXELS, SIDE
from vocjax.data.classes import VOID, class_columns
from vocjax.data.frame import FITS, GREY, PAD, SHRUNK, SQUASH, Size, placed, sides
from vocjax.data.index import Prepared
from vocjax.data.layouts.request import check_dataset
from vocjax.data.splits import IMAGE_SETS, LEGACY, MULTI_LABEL_RULES, OFFICIAL
from vocjax.errors import UserError, check_choice, check_range
from vocjax.mesh import local_rows, replicated, rows_per_batch, split_by_example, usable_cores

RESIDENT_BYTES = 2**30  # a data set up to this size is kept on the device whole
PREFETCHED_BATCHES = 2
STORAGES = ("auto", "device", "stream")
UNIFORM, BALANCED = SAMPLINGS = ("uniform", "balanced")

Arrays = dict[str, np.ndarray]
Placed = dict[str, jax.Array]  # a batch, or all examples, on the devices
Plan = Iterator[tuple[np.ndarray, np.ndarray]]  # rows [batch] and `valid` [batch] of each batch
Batches = Callable[[Plan], Iterator[Placed]]


class Examples(NamedTuple):
    """The n examples of a split: their image ids [n], and `batches`, from a `plan` to its batches.

    `mask_of(row)` reads a mask at its own size, class indices uint8 [height, width]; it is None
    without masks. `image_of(row)` reads an image at its own size, uint8 [height, width, 3].
    """

    ids: np.ndarray
    resident: bool
    batches: Batches
    mask_of: Callable[[int], np.ndarray] | None = None
    image_of: Callable[[int], np.ndarray] | None = None


def resize_image(image: np.ndarray, size: Size, channels: int) -> np.ndarray:
    """Squash [height, width, 3] uint8 to [*size, channels] uint8, antialiased (Lanczos).

    One channel is ITU-R BT.601 luminance, three are RGB.
    """
    picture = Image.fromarray(image).resize(sides(size)[::-1], Image.Resampling.LANCZOS)
    if channels == 1:
        return np.asarray(picture.convert("L"))[..., None]
    return np.asarray(picture)


def fit_image(image: np.ndarray, size: Size, channels: int, fit: str) -> np.ndarray:
    """Bring [height, width, 3] uint8 to [*size, channels] uint8, as `data.fit` asks for it.

    It lies in the upper left corner, by `frame.placed`; what it leaves is `GREY`.
    """
    place = placed(image.shape[:2], sides(size), fit)
    return padded(resize_image(image, place, channels), size, GREY)


def fit_mask(mask: np.ndarray, size: Size, fit: str) -> np.ndarray:
    """Bring class indices [height, width] uint8 to [*size] as `fit_image`, padded with void."""
    return padded(resize_mask(mask, placed(mask.shape, sides(size), fit)), size, VOID)


def padded(array: np.ndarray, size: Size, value: int) -> np.ndarray:
    """Fill an array [height, width, ...] on the right and below with a value, to [*size, ...]."""
    missing = [(0, n - have) for n, have in zip(sides(size), array.shape, strict=False)]
    rest = [(0, 0)] * (array.ndim - 2)
    return np.pad(array, missing + rest, constant_values=value)


def resize_mask(mask: np.ndarray, size: Size) -> np.ndarray:
    """Squash class indices [height, width] uint8 to [*size], nearest neighbour."""
    return np.asarray(Image.fromarray(mask).resize(sides(size)[::-1], Image.Resampling.NEAREST))


def resize_object(mask: np.ndarray, size: Size) -> np.ndarray:
    """Squash class indices [height, width] uint8 to a foreground mask, 0 or 1, as the study did.

    Void is foreground, and objects grow: every pixel above 0 after bilinear resizing counts.
    """
    covered = Image.fromarray((mask > 0).astype(np.float32))
    share = np.asarray(covered.resize(sides(size)[::-1], Image.Resampling.BILINEAR))
    return (share > 0).astype(np.uint8)


def sample_object(mask: np.ndarray, size: Size) -> np.ndarray:
    """Squash class indices to a foreground mask as `resize_object`, but sampled, not antialiased.

    Of each pixel the four nearest places of the mask count, as in cv2 and older scikit-image.
    Which of the two the study had is not known; objects grow less here.
    """
    covered = mask > 0
    for axis, (n, side) in enumerate(zip(mask.shape, sides(size), strict=True)):
        place = np.clip((np.arange(side) + 0.5) * n / side - 0.5, 0, n - 1)
        low, high = np.floor(place).astype(int), np.ceil(place).astype(int)
        covered = covered.take(low, axis) | covered.take(high, axis)
    return covered.astype(np.uint8)


MASKS: dict[str, Callable[[np.ndarray, Size], np.ndarray]] = {
    "nearest": resize_mask,
    "legacy": resize_object,
    "legacy_sampled": sample_object,
}


def check_data(data: ConfigDict) -> None:
    """Raise `UserError` for a field of a config's `data` that is wrong or excludes another."""
    choices: dict[str, Collection[object]] = {
        "image_set": IMAGE_SETS,
        "masks": MASKS,
        "fit": FITS,
        "channels": (3, 1),
        "several": MULTI_LABEL_RULES,
        "split": (OFFICIAL, LEGACY),
        "storage": STORAGES,
        "sampling": SAMPLINGS,
    }
    for field, values in choices.items():
        check_choice(f"data.{field}", data[field], values)
    class_columns(data)
    check_dataset(data.dataset)
    check_range("data.size", data.size, 1, SIDE + 1)
    check_range("data.width", data.width, 0, SIDE + 1)
    check_range("data.longest", data.longest, 0, SIDE + 1)
    check_range("data.size times data.width", data.size * (data.width or data.size), 1, PIXELS + 1)
    if data.fit == PAD and data.masks != "nearest":
        raise UserError(
            f"data.fit is {PAD} and data.masks {data.masks}, the study's way, in which void is "
            "object: padding would be, too. Set data.fit to squash or data.masks to nearest."
        )
    check_range("data.split_seed", data.split_seed, 0, 2**32)
    check_range("data.held_out", data.held_out, 0, 1)
    if data.held_out and data.split == LEGACY:
        raise UserError(
            f"data.held_out is {data.held_out} and data.split is {LEGACY}; images are held out of "
            f"the official split alone. Set data.held_out to 0 or data.split to {OFFICIAL}."
        )


def open_examples(
    prepared: Prepared,
    rows: np.ndarray,
    mesh: Mesh,
    *,
    size: Size,
    channels: int,
    fit: str = SQUASH,
    masks: str = "",
    storage: str = "auto",
    labels: np.ndarray | None = None,
) -> Examples:
    """Make `rows` [n] of a prepared data set's index ready for batches.

    Args:
      size: (height, width) of the images in pixels, or the side of squares.
      fit: one of `frame.FITS`, how an image of another aspect is brought to this size, or
        `SHRUNK`.
      channels: 3 for RGB, 1 for grey.
      masks: a key of `MASKS`, or empty for no masks.
      storage: "device" decodes once and keeps uint8 arrays on every device; "stream" reads and
        decodes the files again for every batch, in threads; "auto" chooses by `RESIDENT_BYTES`.
      labels: [n, classes] of these rows, where they differ from the index.

    Raises:
      UserError: an image cannot be read (where it is streamed, while batches are taken).
    """
    ids = prepared.index.ids[rows]
    if labels is None:
        labels = prepared.index.labels[rows]

    def read(row: int) -> Arrays:
        try:
            return prepared.examples[int(rows[row])]
        except Exception as error:  # array_record has no exception of its own for a damaged file
            raise UserError(
                f"image {ids[row]} can't be read from {prepared.directory}, which seems damaged. "
                "Delete that folder and prepare the data set again."
            ) from error

    def decode(row: int) -> Arrays:
        example = read(row)
        arrays = {"image": fit_image(example["image"], size, channels, fit), "labels": labels[row]}
        if fit == SHRUNK:
            extent = placed(example["image"].shape[:2], sides(size), fit)
            arrays["extent"] = np.array(extent, np.int32)
        if masks:
            mask = example["mask"][..., 0]
            arrays["mask"] = (
                MASKS[masks](mask, size) if fit == SQUASH else fit_mask(mask, size, fit)
            )
        return arrays

    n_bytes = len(rows) * math.prod(sides(size)) * (channels + bool(masks))
    fits = storage == "device" or (storage == "auto" and n_bytes <= RESIDENT_BYTES)
    if fits:
        with ThreadPoolExecutor(usable_cores()) as pool:
            batches = resident(_stack(list(pool.map(decode, range(len(rows))))), mesh)
    else:
        batches = _streamed(decode, mesh)
    mask_of = (lambda row: read(row)["mask"][..., 0]) if masks else None
    return Examples(ids, fits, batches, mask_of, lambda row: read(row)["image"])


def _stack(examples: list[Arrays]) -> Arrays:
    return {name: np.stack([e[name] for e in examples]) for name in examples[0]}


def resident(host: Arrays, mesh: Mesh) -> Batches:
    """Put arrays [n, ...] on every device, and return the `batches` of an `Examples`."""
    arrays = {
        name: jax.make_array_from_process_local_data(replicated(mesh), array, array.shape)
        for name, array in host.items()
    }

    @jax.jit(out_shardings=split_by_example(mesh))
    def take(arrays: Placed, rows: jax.Array, valid: jax.Array) -> Placed:
        return {name: array[rows] for name, array in arrays.items()} | {"valid": valid}

    def batches(planned: Plan) -> Iterator[Placed]:
        for rows, valid in planned:
            yield take(arrays, rows, valid)

    return batches


def _streamed(decode: Callable[[int], Arrays], mesh: Mesh) -> Batches:
    # Threads, since Pillow decodes and resizes without Python's lock. experiments/input_speed.py
    # measures them beside the library grain.
    sharding = split_by_example(mesh)

    def place(examples: Iterator[Arrays], valid: np.ndarray) -> Placed:
        local = _stack(list(examples)) | {"valid": local_rows(valid, mesh)}
        return {
            name: jax.make_array_from_process_local_data(
                sharding, array, (len(valid), *array.shape[1:])
            )
            for name, array in local.items()
        }

    def batches(planned: Plan) -> Iterator[Placed]:
        pool = ThreadPoolExecutor(usable_cores())
        waiting: deque[tuple[Iterator[Arrays], np.ndarray]] = deque()
        try:
            for rows, valid in planned:
                waiting.append((pool.map(decode, local_rows(rows, mesh)), valid))
                if len(waiting) > PREFETCHED_BATCHES:
                    yield place(*waiting.popleft())
            while waiting:
                yield place(*waiting.popleft())
        finally:
            pool.shutdown(cancel_futures=True)

    return batches


def plan(order: np.ndarray, batch_size: int, mesh: Mesh, *, first: int = 0) -> Plan:
    """Cut rows `order` [n] into batches of one shape; yield the rows and `valid` of each.

    Row 0, of `valid` 0, fills up the last batch, and all to a multiple of the mesh's size. `first`
    is the first batch to yield, where an epoch continues after an interruption.
    """
    padded = rows_per_batch(min(batch_size, len(order)), mesh)
    for start in range(first * batch_size, len(order), batch_size):
        chunk = order[start : start + batch_size]
        rows = np.zeros(padded, np.int32)
        valid = np.zeros(padded, np.float32)
        rows[: len(chunk)], valid[: len(chunk)] = chunk, 1
        yield rows, valid


def balanced(key: jax.Array, present: np.ndarray) -> np.ndarray:
    """Draw n of n examples, with replacement, so that each class comes as often as another.

    A draw is of a class first, of an image that shows it then (Shen et al. 2016, "Relay
    backpropagation"). `present` [n, classes] is bool; the images that show none of the classes
    count as a class of their own. The order [n] depends on the arguments alone.
    """
    member = np.column_stack([present, ~present.any(axis=1)]).astype(float)
    images = member.sum(axis=0)
    chance = (member[:, images > 0] / images[images > 0]).mean(axis=1)
    return np.asarray(jax.random.choice(key, len(present), (len(present),), p=chance))


def shuffled(key: jax.Array, n: int) -> np.ndarray:
    """Return a random permutation [n], which depends on the key alone."""
    return np.asarray(jax.random.permutation(key, n))
