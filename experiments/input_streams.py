"""Streams of batches for experiments/input_speed.py: drawn photographs, our threads, and grain."""

import itertools
import statistics
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import jax
import numpy as np
from ml_collections import ConfigDict
from PIL import Image

from vocjax.data import voc
from vocjax.data.dataset import Dataset
from vocjax.data.frame import SQUASH
from vocjax.data.index import Prepared
from vocjax.data.pipeline import MASKS, Arrays, Placed, fit_image, plan
from vocjax.data.splits import choose
from vocjax.data.toy.render import fractal, noise
from vocjax.errors import UserError
from vocjax.mesh import make_mesh, split_by_example

DRAWN, HEIGHT, WIDTH, QUALITY = "drawn", 375, 500, 93
PHOTOGRAPHS, ROUNDS = 64, 3
WARM = 4  # batches before the clock starts: more than are prefetched


def draw(folder: Path, count: int = PHOTOGRAPHS) -> None:
    """Draw photographs of VOC's size with masks of an object, and prepare them in a folder."""
    for name in ("images", "masks"):
        (folder / name).mkdir(parents=True)
    for number in range(count):
        rng = np.random.default_rng(number)
        field = partial(fractal, rng, HEIGHT, WIDTH)
        fine = sum(a * noise(rng, HEIGHT, WIDTH, (g, g)) for a, g in ((0.35, 4.0), (0.2, 1.5)))
        light = field(40.0) + fine
        colours = np.stack([light + 0.3 * field(60.0) for _ in range(3)], axis=-1)
        pixels = np.clip(128 + 80 * colours, 0, 255).astype(np.uint8)
        image = Image.fromarray(pixels)
        image.save(folder / "images" / f"{number:03}.jpg", quality=QUALITY)
        mask = Image.fromarray((field(120.0) > 0.2).astype(np.uint8))
        mask.save(folder / "masks" / f"{number:03}.png")
    given = {"images": folder / "images", "masks": folder / "masks", "classes": ("object",)}
    voc.prepare(DRAWN, folder, **given, held_out=0.25)


def streamed(data: Dataset, batch_size: int) -> Iterator[Placed]:
    """Yield the batches of train, epoch after epoch in one stream, the first in order."""
    train, mesh, rng = data.splits["train"], make_mesh(), np.random.default_rng(0)
    n = len(train.ids)
    orders = itertools.chain([np.arange(n)], (rng.permutation(n) for _ in itertools.count()))
    return train.batches(of for order in orders for of in plan(order, batch_size, mesh))


class Decode:
    """What a row of train becomes in `open_examples`, as a function that a process can be sent."""

    def __init__(self, config: ConfigDict, prepared: Prepared) -> None:
        """Choose the rows of train."""
        selection = choose(prepared.index, config.data, "train")
        self.rows, self.labels = selection.rows, selection.labels
        self.examples, data = prepared.examples, config.data
        self.form = (data.size, data.channels, data.masks)

    def __call__(self, row: int) -> Arrays:
        """Return image, labels and mask."""
        size, channels, masks = self.form
        example = self.examples[int(self.rows[row])]
        image = fit_image(example["image"], size, channels, SQUASH)
        mask = MASKS[masks](example["mask"][..., 0], size)
        return {"image": image, "labels": self.labels[row], "mask": mask}


def by_grain(
    decode: Decode, batch_size: int, *, threads: int, workers: int, like: Arrays
) -> Iterator[Placed]:
    """Yield batches by grain, decoded by `threads` in this process or in each of its workers.

    `like` is the first batch in the order of the rows; `UserError` where grain's is another.
    """
    import grain
    from absl import flags

    flags.FLAGS.mark_as_parsed()  # grain's own, which it asks for where it starts a worker
    reading = grain.ReadOptions(num_threads=threads, prefetch_buffer_size=(WARM - 1) * batch_size)
    rows = grain.MapDataset.source(np.arange(len(decode.rows))).repeat()
    batches = rows.map(decode).to_iter_dataset(reading).batch(batch_size)
    if workers:
        batches = batches.mp_prefetch(grain.MultiprocessingOptions(workers))
    sharding, taken = split_by_example(make_mesh()), iter(batches)
    try:
        first = next(taken)
        if any(not np.array_equal(first[name], like[name]) for name in first):
            raise UserError("grain's first batch isn't ours")
        for batch in taken:
            yield jax.device_put(batch, sharding)
    finally:
        taken.close()


def rate(stream: Iterator[Placed], batch_size: int, seconds: float) -> float:
    """Return the images per second of a stream that nothing but the clock waits for."""
    for _ in range(WARM):
        jax.block_until_ready(next(stream))
    taken, begun = 0, time.perf_counter()
    while not taken or time.perf_counter() - begun < seconds:
        jax.block_until_ready(next(stream))
        taken += batch_size
    found = taken / (time.perf_counter() - begun)
    stream.close()  # type: ignore[attr-defined]  # a generator, which ends its threads
    return found


def rates(
    streams: dict[str, Callable[[], Iterator[Placed]]], batch_size: int, seconds: float
) -> dict[str, dict[str, Any]]:
    """Return each stream's images per second, of rounds in which they take turns."""
    found: dict[str, list[float]] = {name: [] for name in streams}
    missing: dict[str, dict[str, Any]] = {}
    for _ in range(ROUNDS):
        for name in [name for name in streams if name not in missing]:
            try:
                found[name].append(rate(streams[name](), batch_size, seconds))
            except (ImportError, UserError) as error:
                missing[name] = {"missing": str(error)}
    return {
        name: missing.get(name)
        or {"median": statistics.median(of), "least": min(of), "most": max(of)}
        for name, of in found.items()
    }
