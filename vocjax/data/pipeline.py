"""Prepared examples to batches on the devices: resident where they fit, streamed where not.

A batch is a dict of arrays with one fixed shape, whatever is left of the data set:

- `image` [batch, height, width, channels] uint8;
- `mask` [batch, height, width] uint8 class indices, 255 void (only where a task asks for it);
- `labels` [batch, 20] int8: 1 present, 0 difficult, -1 absent;
- `valid` [batch] float32: 0 for rows that only pad the last batch.
"""

from collections import deque
from collections.abc import Callable, Collection, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import NamedTuple

import jax
import numpy as np
from jax.sharding import Mesh
from ml_collections import ConfigDict
from PIL import Image

from vocjax.data.splits import IMAGE_SETS, LEGACY, OFFICIAL, RULES, class_columns
from vocjax.data.voc import DATASETS, Prepared
from vocjax.errors import UserError, check_choice, check_range
from vocjax.mesh import local_rows, replicated, rows_per_batch, split_by_example

RESIDENT_BYTES = 2**30  # a data set up to this size is kept on the device whole
PREFETCHED_BATCHES = 2
STORAGES = ("auto", "device", "stream")

Batch = dict[str, jax.Array]
Arrays = dict[str, np.ndarray]


class Examples(NamedTuple):
    """A split, ready to be asked for batches.

    `ids` [n] are the image ids in row order; `batches(plan)` takes an iterator of (rows [batch],
    valid [batch]), as `plan` makes it, and yields the batch of each. `mask_of(row)` reads a row's
    mask as it is, class indices uint8 [height, width] of the image's own size; None without masks.
    """

    ids: np.ndarray
    resident: bool
    batches: Callable[[Iterator[tuple[np.ndarray, np.ndarray]]], Iterator[Batch]]
    mask_of: Callable[[int], np.ndarray] | None = None


def resize_image(image: np.ndarray, size: int, channels: int) -> np.ndarray:
    """Squash [height, width, 3] uint8 to [size, size, channels] uint8, antialiased (Lanczos).

    One channel is ITU-R BT.601 luminance, three are RGB.
    """
    picture = Image.fromarray(image).resize((size, size), Image.Resampling.LANCZOS)
    if channels == 1:
        return np.asarray(picture.convert("L"))[..., None]
    return np.asarray(picture)


def resize_mask(mask: np.ndarray, size: int) -> np.ndarray:
    """Squash class indices [height, width] uint8 to [size, size], nearest neighbour."""
    return np.asarray(Image.fromarray(mask).resize((size, size), Image.Resampling.NEAREST))


def resize_object(mask: np.ndarray, size: int) -> np.ndarray:
    """Squash class indices [height, width] uint8 to an object's mask, 0 or 1, as the study did.

    Object and void alike are resized bilinearly (here with the antialiasing of Pillow), and
    whatever is above 0 then is the object: void counts as object, and objects grow.
    """
    covered = Image.fromarray((mask > 0).astype(np.float32))
    share = np.asarray(covered.resize((size, size), Image.Resampling.BILINEAR))
    return (share > 0).astype(np.uint8)


MASKS: dict[str, Callable[[np.ndarray, int], np.ndarray]] = {
    "nearest": resize_mask,
    "legacy": resize_object,
}


def check_data(data: ConfigDict) -> None:
    """Check the fields of a config's `data`, before anything is read.

    Raises:
      UserError: a field has a value that it cannot have, or two fields exclude each other.
    """
    choices: dict[str, Collection[object]] = {
        "dataset": DATASETS,
        "image_set": IMAGE_SETS,
        "masks": MASKS,
        "channels": (3, 1),
        "several": RULES,
        "split": (OFFICIAL, LEGACY),
        "storage": STORAGES,
    }
    for field, values in choices.items():
        check_choice(f"data.{field}", data[field], values)
    class_columns(data.classes)
    check_range("data.size", data.size, 1)
    check_range("data.split_seed", data.split_seed, 0, 2**32)
    check_range("data.held_out", data.held_out, 0, 1)
    if data.held_out and data.split == LEGACY:
        raise UserError(
            f"data.held_out is {data.held_out} and data.split is {LEGACY}; images are held out of "
            f"the official split alone. Set data.held_out to 0 or data.split to {OFFICIAL}."
        )


def _read(prepared: Prepared, row: int) -> Arrays:
    try:
        return prepared.examples[int(row)]
    except Exception as error:  # array_record has no exception of its own for a damaged file
        raise UserError(
            f"image {prepared.index.ids[row]} can't be read from {prepared.directory}, which seems "
            "damaged. Delete that folder and prepare the data set again."
        ) from error


def _decode(
    prepared: Prepared, row: int, labels: np.ndarray, size: int, channels: int, masks: str
) -> Arrays:
    example = _read(prepared, row)
    arrays = {
        "image": resize_image(example["image"], size, channels),
        "labels": labels,
    }
    if masks:
        arrays["mask"] = MASKS[masks](example["mask"][..., 0], size)
    return arrays


def open_examples(
    prepared: Prepared,
    rows: np.ndarray,
    mesh: Mesh,
    *,
    size: int,
    channels: int,
    masks: str = "",
    storage: str = "auto",
    labels: np.ndarray | None = None,
) -> Examples:
    """Make the given rows of a prepared data set ready for batches.

    Args:
      prepared: the data set.
      rows: [n] rows of its index, as `splits.select` gives them.
      mesh: the devices.
      size: pixels of the squared image.
      channels: 3 for RGB, 1 for grey.
      masks: how those in the batches are resized, "nearest" or "legacy"; empty for none.
      labels: [n, 20] of these rows, where they are others than the data set's.
      storage: "device" decodes once and keeps uint8 arrays on every device; "stream" decodes from
        the files again for every batch, in threads; "auto" chooses by `RESIDENT_BYTES`.
    """
    n_bytes = len(rows) * size * size * (channels + bool(masks))
    resident = storage == "device" or (storage == "auto" and n_bytes <= RESIDENT_BYTES)
    ids = prepared.index.ids[rows]
    labels = prepared.index.labels[rows] if labels is None else labels

    def decode(position: int) -> Arrays:
        return _decode(prepared, rows[position], labels[position], size, channels, masks)

    def mask_of(position: int) -> np.ndarray:
        return _read(prepared, rows[position])["mask"][..., 0]

    batches = _resident(decode, len(rows), mesh) if resident else _streamed(decode, mesh)
    return Examples(ids, resident, batches, mask_of if masks else None)


def _stack(examples: list[Arrays]) -> Arrays:
    return {name: np.stack([e[name] for e in examples]) for name in examples[0]}


def _resident(decode: Callable[[int], Arrays], n: int, mesh: Mesh) -> Callable:
    with ThreadPoolExecutor() as pool:
        host = _stack(list(pool.map(decode, range(n))))
    return resident(host, mesh)


def resident(host: Arrays, mesh: Mesh) -> Callable:
    """Put arrays [n, ...] on every device, and return the `batches` of an `Examples`."""
    arrays = {
        name: jax.make_array_from_process_local_data(replicated(mesh), array, array.shape)
        for name, array in host.items()
    }

    @jax.jit(out_shardings=split_by_example(mesh))
    def take(arrays: Batch, rows: jax.Array, valid: jax.Array) -> Batch:
        return {name: array[rows] for name, array in arrays.items()} | {"valid": valid}

    def batches(plan: Iterator[tuple[np.ndarray, np.ndarray]]) -> Iterator[Batch]:
        for rows, valid in plan:
            yield take(arrays, rows, valid)

    return batches


def _streamed(decode: Callable[[int], Arrays], mesh: Mesh) -> Callable:
    sharding = split_by_example(mesh)

    def place(futures: list[Future], valid: np.ndarray) -> Batch:
        local = _stack([future.result() for future in futures])
        local["valid"] = local_rows(valid, mesh)
        return {
            name: jax.make_array_from_process_local_data(
                sharding, array, (len(valid), *array.shape[1:])
            )
            for name, array in local.items()
        }

    def batches(plan: Iterator[tuple[np.ndarray, np.ndarray]]) -> Iterator[Batch]:
        pool = ThreadPoolExecutor()
        waiting: deque[tuple[list[Future], np.ndarray]] = deque()
        try:
            for rows, valid in plan:
                futures = [pool.submit(decode, int(row)) for row in local_rows(rows, mesh)]
                waiting.append((futures, valid))
                if len(waiting) > PREFETCHED_BATCHES:
                    yield place(*waiting.popleft())
            while waiting:
                yield place(*waiting.popleft())
        finally:
            pool.shutdown(cancel_futures=True)

    return batches


def plan(
    order: np.ndarray, batch_size: int, mesh: Mesh, *, first: int = 0
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Cut an order of rows into batches of one shape, padding with row 0 and valid 0.

    Args:
      order: [n] rows in the order they are wanted.
      batch_size: examples in a batch; the last one may have fewer.
      mesh: rows are padded to a multiple of its size.
      first: the batch to begin with, when an epoch goes on after an interruption.
    """
    padded = rows_per_batch(min(batch_size, len(order)), mesh)
    for start in range(first * batch_size, len(order), batch_size):
        chunk = order[start : start + batch_size]
        rows = np.zeros(padded, np.int32)
        valid = np.zeros(padded, np.float32)
        rows[: len(chunk)], valid[: len(chunk)] = chunk, 1
        yield rows, valid


def shuffled(key: jax.Array, n: int) -> np.ndarray:
    """Return the permutation [n] that a key gives; an epoch's key is folded from its number."""
    return np.asarray(jax.random.permutation(key, n))
