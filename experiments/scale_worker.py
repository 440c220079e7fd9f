"""A row of the tables of scale in a process of its own, whose peak memory is this row's alone.

    python -m experiments.scale_worker SPEC.json

prints a line of JSON at the end: what was measured. scale.py starts it.
"""

import itertools
import json
import os
import re
import resource
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from ml_collections import ConfigDict

from vocjax.allocation import keep_memory
from vocjax.config import load_config
from vocjax.data import toy, voc
from vocjax.data.classes import VOC
from vocjax.data.dataset import open_dataset
from vocjax.data.pipeline import Examples, plan, shuffled
from vocjax.mesh import make_mesh, split_by_example
from vocjax.pretrained.matching import flatten
from vocjax.tasks.task import Batch
from vocjax.training.evaluation import model_outputs, place
from vocjax.training.phases import phase_optimizer
from vocjax.training.step import INIT, TrainState, draw_key, initial_state, make_train_step
from vocjax.training.step import placement as placement_of
from vocjax.training.validate import Valid, batch_shapes, validate

from .multiply_adds import layers_of  # relative: the wheel has this folder as vocjax.experiments

SPLITS = ("train", "val")
BATCHES = 100  # of an epoch, which a schedule asks for
WARM = 3  # batches before the clock begins: as many as the pipeline reads ahead, and one
COLLECTIVES = re.compile(
    r" = (.*?) (all-reduce|all-gather|reduce-scatter|all-to-all|collective-permute)(?:-start)?\("
)
ARRAY = re.compile(r"\b(?:f|s|u|bf)(8|16|32|64)\[([\d,]*)\]")


class Begun(NamedTuple):
    """A config's train step alone, compiled, and the state before the first."""

    config: ConfigDict
    valid: Valid
    state: TrainState
    step: jax.stages.Compiled
    batch: Batch  # a drawn one


def begin(config: ConfigDict, batch: Batch | None = None) -> Begun:
    """Draw a state, and a batch where none is given, and compile the step, as a run that begins."""
    mesh, valid = make_mesh(), validate(config)
    phase, *_ = valid.phases
    optimizer = phase_optimizer(config, phase, BATCHES)

    def first_state(variables: Any) -> TrainState:
        opt_state = optimizer.init(phase.split(variables["params"])[0])
        return initial_state(config, variables, opt_state, valid.sums)

    variables = place(valid.task.init(draw_key(jax.random.key(config.seed), INIT, 0)), mesh)
    where = placement_of(jax.eval_shape(first_state, variables), config, mesh)
    state = jax.jit(first_state, out_shardings=where)(variables)
    if batch is None:
        batch = jax.device_put(drawn_batch(config), split_by_example(mesh))
    step: Any = make_train_step(valid.task, optimizer, phase, config, mesh)
    return Begun(config, valid, state, step.lower(state, batch).compile(), batch)


def drawn_batch(config: ConfigDict) -> dict[str, np.ndarray]:
    """Return a batch as the data pipeline would make it, of drawn pixels and masks."""
    rng = np.random.default_rng(config.seed)
    shapes = batch_shapes(config)
    batch: dict[str, np.ndarray] = {name: np.zeros(x.shape, x.dtype) for name, x in shapes.items()}
    batch["image"] = rng.integers(256, size=batch["image"].shape, dtype=np.uint8)
    batch["mask"] = rng.integers(2, size=batch["mask"].shape, dtype=np.uint8)
    return batch | {"valid": np.ones_like(batch["valid"])}


def peak() -> int:
    """Return the most bytes of memory that this process has had."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def prepared(spec: dict[str, Any]) -> dict[str, Any]:
    """Prepare a devkit that holds each toy image `copies` times."""
    home, copies = Path(spec["folder"]), spec["copies"]
    if not (home / "toy").exists():
        toy.write_devkit(
            home / "toy", images=(spec["images"],) * 2, segmentation=(spec["images"],) * 2
        )
    repeat(home / "toy", home / f"kit_{copies}", copies)
    begun = time.monotonic()
    data = voc.prepare(
        "repeated", home / f"data_{copies}", devkit=home / f"kit_{copies}", classes=VOC.names
    )
    files = (path for path in data.directory.rglob("*") if path.is_file())
    return {
        "prepare_seconds": time.monotonic() - begun,
        "prepare_peak": peak(),
        "disk": sum(path.stat().st_size for path in files),
        "images": len(data.index.ids),
    }


def repeat(source: Path, kit: Path, copies: int) -> None:
    """Make a devkit of hard links, which names every image of another so many times."""
    for folder in ("JPEGImages", "SegmentationClass"):
        (kit / folder).mkdir(parents=True)
        for file, copy in itertools.product((source / folder).iterdir(), range(copies)):
            os.link(file, kit / folder / f"{file.stem}_{copy}{file.suffix}")
    lists = kit / "ImageSets" / "Segmentation"
    lists.mkdir(parents=True)
    for split in SPLITS:
        ids = (source / "ImageSets" / "Segmentation" / f"{split}.txt").read_text().split()
        lines = (f"{id_}_{copy}\n" for id_ in ids for copy in range(copies))
        (lists / f"{split}.txt").write_text("".join(lines))


def streamed(spec: dict[str, Any]) -> dict[str, Any]:
    """Open what `prepared` made; read batches of it alone, then train on them."""
    config = config_of(spec)
    begun = time.monotonic()
    data = voc.load("repeated", Path(spec["folder"]) / f"data_{spec['copies']}")
    train = open_dataset(config, data, make_mesh(), ("train",)).splits["train"]
    found = {"open_seconds": time.monotonic() - begun, "train_images": len(train.ids)}
    found["read"] = rate(config, spec["steps"], batches_of(train, config), lambda batch: batch)
    found["read_peak"] = peak()  # before the compiler's memory, which is more
    ready = begin(config)
    state = ready.state

    def step(batch: Batch) -> Any:
        nonlocal state
        state, loss = ready.step(state, batch)
        return loss

    found["trained"] = rate(config, spec["steps"], batches_of(train, config), step)
    return found | {"peak": peak()}


def batches_of(train: Examples, config: ConfigDict) -> Iterator[Batch]:
    """Yield streamed batches in shuffled order, epoch after epoch."""
    for epoch in itertools.count():
        order = shuffled(jax.random.key(epoch), len(train.ids))
        whole = len(order) // config.batch_size * config.batch_size
        yield from train.batches(plan(order[:whole], config.batch_size, make_mesh()))


def rate(
    config: ConfigDict, steps: int, batches: Iterator[Batch], call: Callable[[Batch], Any]
) -> float:
    """Return images a second over so many batches."""
    for batch in itertools.islice(batches, WARM):
        jax.block_until_ready(call(batch))
    begun = time.monotonic()
    for batch in itertools.islice(batches, steps):
        jax.block_until_ready(call(batch))
    return steps * config.batch_size / (time.monotonic() - begun)


def stepped(spec: dict[str, Any]) -> dict[str, Any]:
    """Time steps on a drawn batch, and count what their arrays take."""
    begun = begin(config_of(spec))
    state, walls, processors = begun.state, [], []
    for _ in range(1 + spec["steps"]):
        wall, processor = time.monotonic(), time.process_time()
        state, _ = jax.block_until_ready(begun.step(state, begun.batch))
        walls.append(time.monotonic() - wall)
        processors.append(time.process_time() - processor)
    sizes: Any = begun.step.memory_analysis()
    arrays = sizes.argument_size_in_bytes + sizes.temp_size_in_bytes
    arrays += sizes.output_size_in_bytes - sizes.alias_size_in_bytes
    seconds = {"seconds": min(walls[1:]), "processor_seconds": min(processors[1:])}
    return seconds | {"arrays": arrays, "peak": peak(), "operations": operations(begun)}


def on_devices(spec: dict[str, Any]) -> dict[str, Any]:
    """Take some steps on this process's devices, and compare with the file of one device.

    Bytes are those of the first device: of parameters, and of the optimizer's state. `moved` are
    bytes of the results of the collectives in the compiled program.
    """
    begun, reference = begin(config_of(spec)), Path(spec["folder"]) / "one_device.npz"
    state, losses = begun.state, []
    held = {"params": held_by_one(state.params), "opt_state": held_by_one(state.opt_state)}
    for _ in range(spec["steps"]):
        state, loss = begun.step(state, begun.batch)
        losses.append(float(loss))
    params = flatten({"params": jax.device_get(state.params)})
    if spec["devices"] == 1:
        np.savez(reference, **params)
    with np.load(reference) as held_there:
        differences = [distance(params[name], held_there[name]) for name in held_there.files]
    assert jax.device_count() == spec["devices"], jax.devices()
    return {
        "loss": losses[-1],
        "difference": max(differences),
        "held": held,
        "moved": collectives(begun.step.as_text() or ""),
        "parameters": sum(x.nbytes for x in params.values()),
    }


def held_by_one(tree: Any) -> int:
    """Return the bytes of a pytree's arrays that the first device holds."""
    return sum(x.addressable_shards[0].data.nbytes for x in jax.tree.leaves(tree))


def distance(ours: np.ndarray, theirs: np.ndarray) -> float:
    """Return the norm of the difference by the norm of the other array."""
    return float(np.linalg.norm(ours - theirs) / np.linalg.norm(theirs))


def collectives(program: str) -> dict[str, int]:
    """Return bytes of the results of a compiled program's collectives by their kind."""
    found: dict[str, int] = {}
    for result, kind in COLLECTIVES.findall(program):
        for bits, shape in ARRAY.findall(result):
            sides = [int(side) for side in shape.split(",") if side]
            found[kind] = found.get(kind, 0) + int(np.prod(sides)) * int(bits) // 8
    return found


def operations(begun: Begun) -> int:
    """Count a step's operations, of convolutions and products: forward and both gradients."""
    outputs = model_outputs(begun.valid.task)
    jaxpr = jax.make_jaxpr(outputs)(begun.valid.shapes, batch_shapes(begun.config))
    first, *others = layers_of(jaxpr.jaxpr)
    return 2 * (2 * first.multiply_adds + 3 * sum(layer.multiply_adds for layer in others))


def config_of(spec: dict[str, Any]) -> ConfigDict:
    """Load the config of a row."""
    return load_config(spec["config"], spec["overrides"])


MEASURES = {"prepare": prepared, "stream": streamed, "step": stepped, "devices": on_devices}

if __name__ == "__main__":
    keep_memory()
    asked = json.loads(Path(sys.argv[1]).read_text())
    print(json.dumps(MEASURES[asked["measure"]](asked)))
