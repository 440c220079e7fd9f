"""Measure the backbones: their size, their distance from their sources' networks, their speed.

    python -m experiments.backbones --output runs/backbones.json

counts parameters and multiply-adds; compares logits with those of torchvision's and Keras's own
networks, where these are installed, under the same random weights and statistics; and times each
network forward and in training, on all cores that the process may use. The file is written after
every network. A further call adds to it, or replaces what it measures anew, so that each part can
be measured where it is best:

    python -m experiments.backbones --output runs/backbones.json --measure torchvision --only vgg16

Every figure has its own provenance. A complete file, kept as experiments/results/backbones.json,
makes a table of experiments/README.md: `python -m experiments.tables`.
"""

import argparse
import functools
import importlib.metadata
import importlib.util
import json
import os
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np
import optax

from vocjax.errors import UserError
from vocjax.files import to_json, write_text
from vocjax.models.backbones import BACKBONES, SOURCES
from vocjax.models.backbones.size import shapes
from vocjax.runs.provenance import environment

from .multiply_adds import multiply_adds  # relative: the wheel has this folder as
from .parity import PEERS, parity_error, random_variables  # vocjax.experiments

# Height and width of the images that the published networks were made for.
PIXELS = dict.fromkeys(BACKBONES, 224) | {"inception_v3": 299, "xception": 299}
MEASURES = ("size", *PEERS, "speed")
CLASSES = 1000
BATCH = 8
REPETITIONS = 3  # at least


def measures_of(name: str) -> list[str]:
    """Return what there is to measure of a backbone: not every source has it."""
    return [what for what in MEASURES if what not in PEERS or what in SOURCES[name]]


def measure(what: str, name: str, seconds: float) -> dict[str, Any]:
    """Measure one thing of a backbone; `seconds` as of `speed`."""
    pixels = PIXELS[name]
    match what:
        case "size":
            return size(name)
        case "speed":
            return speed(name, seconds)
    error = parity_error(name, what, (pixels, pixels, 3), CLASSES)
    return {"error": error, "version": importlib.metadata.version(what)}


def size(name: str) -> dict[str, int]:
    """Count a backbone's parameters, without statistics, and multiply-adds for one image."""
    network, shape = BACKBONES[name](CLASSES), (PIXELS[name], PIXELS[name], 3)
    params = jax.tree.leaves(shapes(network, shape)["params"])
    return {
        "parameters": sum(leaf.size for leaf in params),
        "multiply_adds": multiply_adds(network, shape),
    }


def speed(name: str, seconds: float) -> dict[str, float]:
    """Time a backbone forward and in training, which is loss, gradient and an update of SGD.

    Images per second, of the median of at least `REPETITIONS` batches, in at least `seconds` each.
    """
    network, shape = BACKBONES[name](CLASSES), (PIXELS[name], PIXELS[name], 3)
    rng = np.random.default_rng(0)
    images = jax.device_put(rng.standard_normal((BATCH, *shape), np.float32))
    labels = jax.device_put(rng.integers(CLASSES, size=BATCH))
    variables = jax.device_put(random_variables(network, shape))
    forward = jax.jit(network.apply)

    @functools.partial(jax.jit, donate_argnums=0)
    def update(variables: Any, images: jax.Array, labels: jax.Array) -> Any:
        def loss(params: Any) -> tuple[jax.Array, Any]:
            logits, moved = network.apply(
                variables | {"params": params},
                images,
                train=True,
                mutable=["batch_stats"],
                rngs={"dropout": jax.random.key(0)},
            )
            losses = optax.softmax_cross_entropy_with_integer_labels(logits, labels)
            return losses.mean(), moved

        gradients, moved = jax.grad(loss, has_aux=True)(variables["params"])
        params = jax.tree.map(lambda p, g: p - 1e-3 * g, variables["params"], gradients)
        return variables | moved | {"params": params}

    def train() -> Any:
        nonlocal variables
        variables = update(variables, images, labels)
        return variables

    calls = {"forward": lambda: forward(variables, images), "training": train}
    taken = {what: median_seconds(call, seconds) for what, call in calls.items()}
    return {"batch": BATCH} | {what: BATCH / median for what, median in taken.items()}


def median_seconds(call: Callable[[], Any], seconds: float) -> float:
    """Median time of a call until its arrays are there, after a first that compiles."""
    jax.block_until_ready(call())
    taken: list[float] = []
    while len(taken) < REPETITIONS or sum(taken) < seconds:
        begin = time.perf_counter()
        jax.block_until_ready(call())
        taken.append(time.perf_counter() - begin)
    return statistics.median(taken)


def read(path: Path) -> dict[str, dict[str, Any]]:
    """Return a file's records by backbone, with None for what is not measured."""
    empty = {
        name: {"backbone": name, "pixels": PIXELS[name], **dict.fromkeys(measures_of(name))}
        for name in BACKBONES
    }
    if not path.exists():
        return empty
    try:
        known = {record["backbone"]: record for record in json.loads(path.read_text())}
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise UserError(
            f"{path} can't be read as backbones' figures ({error!r}). Give another --output, or "
            "remove it."
        ) from error
    return {name: record | known.get(name, {}) for name, record in empty.items()}


def write(path: Path, records: dict[str, dict[str, Any]]) -> None:
    """Write a file of records, a line each, whole or not at all."""
    lines = ",\n".join(to_json(record) for record in records.values())
    try:
        write_text(path, f"[\n{lines}\n]\n")
    except OSError as error:
        raise UserError(f"{path} can't be written: {error}. Give another --output.") from error


def sentence(record: dict[str, Any]) -> str:
    """Say in a line what is known of a backbone."""
    facts = [f"{record['backbone']} at {record['pixels']} pixels"]
    for what in measures_of(record["backbone"]):
        match record[what]:
            case None:
                facts.append(f"{what} not measured")
            case {"parameters": parameters, "multiply_adds": products}:
                facts.append(f"{parameters:,} parameters, {products / 1e9:.2f} G multiply-adds")
            case {"forward": forward, "training": training}:
                facts.append(f"{forward:.1f} images/s forward, {training:.1f} in training")
            case {"error": error}:
                facts.append(f"{error:.1e} from {what}")
    return "; ".join(facts)


def run(path: Path, names: list[str], chosen: list[str], seconds: float) -> None:
    """Measure what is chosen of the backbones that are named, and keep it in a file."""
    records = read(path)
    write(path, records)  # before anything takes long
    for source in PEERS:
        if source in chosen and importlib.util.find_spec(source) is None:
            print(f"{source} is not installed here: nothing is compared with it", flush=True)
            chosen = [what for what in chosen if what != source]
    provenance = environment()
    for name in names:
        for what in measures_of(name):
            if what in chosen:
                records[name][what] = measure(what, name, seconds) | {"provenance": provenance}
        write(path, records)
        print(sentence(records[name]), flush=True)


def main() -> int:
    """Parse the flags; 0 when done, 1 for a mistake, 130 when stopped."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--output", type=Path, required=True, metavar="FILE")
    parser.add_argument(
        "--only", nargs="+", choices=BACKBONES, default=list(BACKBONES), metavar="NAME"
    )
    parser.add_argument("--measure", nargs="+", choices=MEASURES, default=list(MEASURES))
    parser.add_argument(
        "--seconds", type=float, default=10, help="least time of each speed (default 10)"
    )
    options = parser.parse_args()
    os.environ.setdefault("KERAS_BACKEND", "jax")
    try:
        run(options.output, options.only, options.measure, options.seconds)
    except UserError as error:
        print(f"backbones: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("backbones: stopped", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
