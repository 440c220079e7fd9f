"""The house in figures: `python tests/house.py` prints each, from the source or from one step."""

import ast
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import jax
import numpy as np
import optax
from ml_collections import ConfigDict

from vocjax.config import load_config
from vocjax.data.dataset import from_arrays
from vocjax.mesh import make_mesh
from vocjax.tasks import make_task
from vocjax.tasks.task import Task
from vocjax.training.loop import train_and_evaluate
from vocjax.training.step import initial_state, make_train_step
from vocjax.training.validate import validate

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "vocjax"


def module_of(path: Path) -> str:
    """Return the dotted name of a file of ours: "vocjax.data.voc"."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports() -> dict[str, set[str]]:
    """Return what each module of ours imports of ours, also within functions."""
    trees = {module_of(path): ast.parse(path.read_text()) for path in PACKAGE.rglob("*.py")}
    graph = {}
    for module, tree in trees.items():
        found = set()
        for node in ast.walk(tree):
            if isinstance(node, ast.Import):
                found |= {alias.name for alias in node.names}
            if isinstance(node, ast.ImportFrom) and node.module:
                names = {f"{node.module}.{alias.name}" for alias in node.names}
                found |= {name if name in trees else node.module for name in names}
        graph[module] = (found & trees.keys()) - {module}
    return graph


def circles(graph: dict[str, set[str]]) -> list[set[str]]:
    """Return the groups of modules that import each other."""
    reached: dict[str, set[str]] = {}
    for module in graph:
        seen: set[str] = set()
        left = [module]
        while left:
            for other in graph[left.pop()] - seen:
                seen.add(other)
                left.append(other)
        reached[module] = seen
    groups = {frozenset(m for m in graph if m in reached[n] and n in reached[m]) for n in graph}
    return [set(group) for group in groups if group]


def parameters(room: str) -> dict[str, int]:
    """Return how many parameters each function of a room has, `self` not counted."""
    found = {}
    for path in (PACKAGE / room).rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef):
                names = [a.arg for a in (*node.args.args, *node.args.kwonlyargs)]
                found[f"{module_of(path)}.{node.name}"] = len([n for n in names if n != "self"])
    return found


def lines(folder: Path) -> int:
    """Return the number of lines of all Python files."""
    return sum(len(path.read_text().splitlines()) for path in folder.rglob("*.py"))


def loaded_by(statement: str) -> list[str]:
    """Return the names of the modules that a new process has loaded after a statement."""
    script = f"import sys\n{statement}\nprint(*sorted(sys.modules))"
    run = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True
    )
    return run.stdout.split()


def modules_of_a_config(config: str) -> list[str]:
    """Return the modules of ours that are loaded when a config is read."""
    names = loaded_by(
        f"import pathlib, vocjax.config\nvocjax.config.load_config(pathlib.Path({config!r}))"
    )
    return [name for name in names if name.split(".")[0] == "vocjax"]


@contextmanager
def visits(holds: Any) -> Iterator[list[str]]:
    """Give the list of files of ours, in order, in which a function gets an argument of a kind.

    `holds(value)` says whether an argument is of the kind; repeated visits follow each other once.
    """
    found: list[str] = []

    def look(frame: FrameType, event: str, _: Any) -> None:
        path = frame.f_code.co_filename
        if event != "call" or not path.startswith(str(PACKAGE)):
            return
        count = frame.f_code.co_argcount + frame.f_code.co_kwonlyargcount
        names = (*frame.f_code.co_varnames[:count], *frame.f_code.co_freevars)
        if any(holds(frame.f_locals.get(name)) for name in names):
            file = module_of(Path(path))
            if not found or found[-1] != file:
                found.append(file)

    sys.setprofile(look)
    try:
        yield found
    finally:
        sys.setprofile(None)


def is_config(value: Any) -> bool:
    """Return whether a value is a config or a part of one."""
    return isinstance(value, ConfigDict)


def is_batch(value: Any) -> bool:
    """Return whether a value is an array of more than one dimension, or a dict of such arrays."""
    values = value.values() if isinstance(value, dict) else [value]
    return any(getattr(x, "ndim", 0) > 1 for x in values)


def step_of_an_autoencoder() -> dict[str, Any]:
    """Take AE 256's first step on drawn images, then train it; return what passes through where.

    - `batch`: visits of files in which a function gets a batch or a map, from the stored arrays
      to the gradient; `metrics`: those after it, up to the metrics;
    - `config`: visits of files in which a function gets the config, from `train_and_evaluate` to
      the end of the run;
    - `loss`, `targets`: how often they are computed in one step.
    """
    config = load_config(ROOT / "configs" / "autoencoder_256.py")
    config.epochs, config.data.size, config.batch_size = 1, 16, 4
    config.model.encoder, config.model.decoder = (4, 4, 4), (4, 4)
    images = np.random.default_rng(0).integers(0, 255, (4, 16, 16, 3), np.uint8)
    data = from_arrays({"train": {"image": images}, "val": {"image": images}}, make_mesh())
    calls: list[str] = []
    to_gradient: list[int] = []

    def noted(name: str, function: Any) -> Any:
        def call(*arguments: Any) -> Any:
            calls.append(name)
            return function(*arguments)

        return call

    def update(updates: Any, state: Any, params: Any = None) -> tuple[Any, Any]:
        to_gradient.append(len(found))
        return updates, state

    own = make_task(config)
    task = own._replace(
        loss=noted("loss", own.loss), targets=noted("targets", own.targets), baselines={}
    )
    optimizer = optax.GradientTransformation(lambda params: (), update)
    valid = validate(config, task)
    step = make_train_step(task, optimizer, valid.phases[0], config, make_mesh())
    state = initial_state(config, task.init(jax.random.key(0)), (), valid.sums)
    rows = iter([(np.arange(4, dtype=np.int32), np.ones(4, np.float32))])
    calls.clear()
    with visits(is_batch) as found:
        (batch,) = data.splits["train"].batches(rows)
        step(state, batch)
    end = to_gradient[0]
    counted = {name: calls.count(name) for name in ("loss", "targets")}
    with tempfile.TemporaryDirectory() as folder, visits(is_config) as seen:
        train_and_evaluate(config, Path(folder) / "run", task, data, optimizer)
    return {"batch": found[:end], "metrics": found[end:], "config": seen, **counted}


def main() -> None:
    """Print the figures, a line each."""
    graph, passed = imports(), step_of_an_autoencoder()
    config = "configs/autoencoder_256.py"
    print("files of a batch, to the gradient", len(set(passed["batch"])), *set(passed["batch"]))
    print("files of a batch, to a metric", len({*passed["batch"], *passed["metrics"]}))
    print("files and stays of the config", len(set(passed["config"])), len(passed["config"]))
    print("modules to read a config", *modules_of_a_config(config))
    print("import circles", len(circles(graph)))
    print("fields of a task", *Task._fields)
    print("most parameters in training", max(parameters("training").values()))
    print("loss and targets in one step", passed["loss"], passed["targets"])
    print("lines of vocjax and tests", lines(PACKAGE), lines(ROOT / "tests"))
    print("lines of README.md", len((ROOT / "README.md").read_text().splitlines()))


if __name__ == "__main__":
    main()
