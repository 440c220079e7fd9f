"""One framework and one row in a process of its own; benchmark.py starts it.

    python -m experiments.benchmark_worker SPEC.json

prints a line of JSON at the end: what was measured, or {"missing": why it can't be}.
"""

import importlib
import json
import resource
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from .benchmark_rows import batch_of  # relative: the wheel has this folder as

MODULES = {
    "ours": "benchmark_ours",
    "torch": "benchmark_torch",
    "torch_compile": "benchmark_torch",
    "keras_tensorflow": "benchmark_keras",
    "keras_jax": "benchmark_keras",
}
ON_JAX = ("ours", "keras_jax")
COMPILATION = "/jax/core/compile/backend_compile_duration"  # JAX's event, also of its cache
CHECKED = 2  # images
AGREES = 1e-4  # of the largest value


def timed(spec: dict[str, Any]) -> dict[str, Any]:
    """Return the seconds to the end of the first step, those of further ones, and the memory.

    Of a spec with `arrays`, the path of a file, also how far outputs differ from ours, the seconds
    of the outputs of a batch, and those of an epoch where the row has one. `started` is the clock's
    time before the process was started; `time.monotonic` is one clock for all processes of a
    machine.
    """
    compiled = listen() if spec["framework"] in ON_JAX else None
    contender_of = importlib.import_module(f".{MODULES[spec['framework']]}", __package__).Contender
    imported = time.monotonic()
    contender = contender_of(spec)
    made = time.monotonic()
    contender.step()
    found: dict[str, Any] = {
        "first": time.monotonic() - spec["started"],
        "first_processor": processor(),
        "imports": imported - spec["started"],
        "network": made - imported,
        "compilation": None if compiled is None else sum(compiled),
    }
    found |= repeated("step", contender.step, spec["steps"])
    found["memory"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    if "arrays" not in spec:
        return found
    found |= compared(contender, spec)
    images, _ = batch_of(spec)
    contender.outputs(images)  # what is compiled for a batch is not timed
    found |= repeated("inference", lambda: contender.outputs(images), spec["steps"])
    return found | (epochs(contender, spec["epochs"]) if spec["epoch"] else {})


def epochs(contender: Any, times: int) -> dict[str, list[float]]:
    """Return the seconds of some epochs, each with val, on the wall and of the processor.

    They come after a first one, in which everything is compiled.
    """
    ends: list[tuple[float, float]] = []
    contender.epochs(1 + times, lambda: ends.append((time.monotonic(), processor())))
    walls, processors = (np.diff(of).tolist() for of in zip(*ends, strict=True))
    return {"epoch": walls, "epoch_processor": processors}


def repeated(name: str, call: Callable[[], Any], times: int) -> dict[str, list[float]]:
    """Return the seconds of each of some calls, on the wall and of the processor."""
    found: dict[str, list[float]] = {name: [], f"{name}_processor": []}
    for _ in range(times):
        begun, used = time.monotonic(), processor()
        call()
        found[name].append(time.monotonic() - begun)
        found[f"{name}_processor"].append(processor() - used)
    return found


def processor() -> float:
    """Return the seconds of processors that this process, and what it waited for, has used."""
    used = map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(one.ru_utime + one.ru_stime for one in used)


def listen() -> list[float]:
    """Return a list that will hold the seconds of each compilation by XLA, or of its cache."""
    import jax

    seconds: list[float] = []

    def heard(event: str, duration_secs: float, **_: Any) -> None:
        if event == COMPILATION:
            seconds.append(duration_secs)

    jax.monitoring.register_event_duration_secs_listener(heard)
    return seconds


def compared(contender: Any, spec: dict[str, Any]) -> dict[str, Any]:
    """Write our arrays, outputs and loss to the file, or compare those of others with them.

    The errors are relative to the largest value. Where nothing is dropped, that of the loss, which
    the compiled train step gives, is one of them. Of ours the result is the floor.
    """
    images = np.random.default_rng(1).integers(256, size=(CHECKED, *spec["image"]), dtype=np.uint8)
    if spec["framework"] == "ours":
        arrays = contender.draw()
        outputs = contender.outputs(images)
        np.savez(spec["arrays"], outputs=outputs, loss=contender.step(), **arrays)
        return {"floor": contender.floor()}
    with np.load(spec["arrays"]) as held:
        arrays = {name: held[name] for name in held.files}
    pairs = {"outputs": arrays.pop("outputs"), "loss": arrays.pop("loss")}
    contender.load(arrays)
    found = {"outputs": contender.outputs(images), "loss": contender.step()}
    if spec["dropout"]:
        del found["loss"]
    errors = [np.abs(found[name] - pairs[name]).max() / np.abs(pairs[name]).max() for name in found]
    return {"error": float(max(errors))}


def rates() -> dict[str, dict[str, float]]:
    """Measure operations of a matrix product, and bytes of a copy, read and written, a second.

    By clock: a second on the wall, and one of the processor.
    """
    rng = np.random.default_rng(0)
    a, b = (rng.standard_normal((2048, 2048), np.float32) for _ in range(2))
    source = np.ones(2**26, np.float32)
    target = np.zeros_like(source)

    def best(clock: Callable[[], float], call: Callable[[], Any]) -> float:
        seconds = []
        for _ in range(6):
            begun = clock()
            call()
            seconds.append(clock() - begun)
        return min(seconds)

    return {
        name: {
            "operations": 2 * 2048**3 / best(clock, lambda: a @ b),
            "bytes": 2 * source.nbytes / best(clock, lambda: np.copyto(target, source)),
        }
        for name, clock in (("wall", time.monotonic), ("processor", processor))
    }


def main(path: str) -> dict[str, Any]:
    """Do what a file asks for."""
    spec = json.loads(Path(path).read_text())
    try:
        return timed(spec) if "framework" in spec else rates()
    except ModuleNotFoundError as error:
        return {"missing": f"{error.name} is not installed"}
    except Exception as error:  # whatever a framework can raise
        traceback.print_exc()
        return {"missing": f"it failed: {type(error).__name__}"}


if __name__ == "__main__":
    print(json.dumps(main(sys.argv[1])))
