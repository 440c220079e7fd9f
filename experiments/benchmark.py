"""Time our train step beside PyTorch's and Keras's, of the same networks on the same batch.

    make bench

or, where the extra `bench` is installed,

    python -m experiments.benchmark --output runs/benchmark.json

Each framework has a process of its own for each row; the rows' frameworks take turns, round after
round. In every process the network gets our weights, too, after it was timed: no figure is kept of
one whose outputs, or whose loss, are others than ours. What is not installed, or fails, is named
with its reason. Of some rows whole epochs are timed, too, with val, as a user trains in each
framework. Ours and torch.compile, which keep compiled programs, start twice: with an empty
cache, and with what the first start has left.

The file has two clocks, on the wall and the processor's. Other work on the machine touches the
second one little: give all a single core (`taskset -c 0`), and its seconds are those on the wall of
an idle machine. The file is written after every row; kept as experiments/results/benchmark.json it
makes tables of experiments/README.md: `python -m experiments.tables`.
"""

import argparse
import importlib.metadata
import json
import os
import shlex
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from vocjax.config import load_config
from vocjax.errors import UserError
from vocjax.files import to_json, write_text
from vocjax.runs.provenance import environment

from .benchmark_rows import ROWS, SEED, spec_of  # relative: the wheel has this folder as
from .benchmark_worker import AGREES, MODULES  # vocjax.experiments

FRAMEWORKS = tuple(MODULES)
PACKAGES = ("torch", "torchvision", "keras", "tensorflow")
STEPS = {"wall": "step", "processor": "step_processor"}  # by clock
INFERENCE = {"wall": "inference", "processor": "inference_processor"}
EPOCH = {"wall": "epoch", "processor": "epoch_processor"}  # of rows that have one
# The variable that names the folder of compiled programs of those that keep them.
CACHES = {"ours": "XDG_CACHE_HOME", "torch_compile": "TORCHINDUCTOR_CACHE_DIR"}
FIGURES = ("first", "first_processor", "imports", "network", "compilation", "memory", "error")


def call(spec: dict[str, Any], folder: Path, cache: Path) -> dict[str, Any]:
    """Start a process for what a spec asks; `cache` is the folder of its compiled programs."""
    path, variables = folder / "spec.json", os.environ.copy()
    # Python's own compiled files are there after a first start, as of any installed package.
    for name in ("PYTHONDONTWRITEBYTECODE", "JAX_COMPILATION_CACHE_DIR"):
        variables.pop(name, None)
    framework = spec.get("framework", "")
    variables["TF_CPP_MIN_LOG_LEVEL"] = "3"
    if framework.startswith("keras_"):
        variables["KERAS_BACKEND"] = framework.removeprefix("keras_")
    if framework in CACHES:
        variables[CACHES[framework]] = str(cache)
    path.write_text(json.dumps(spec | {"started": time.monotonic()}))
    command = [sys.executable, "-m", f"{__package__}.benchmark_worker", str(path)]
    process = subprocess.run(command, env=variables, stdout=subprocess.PIPE, text=True, check=False)
    try:
        return json.loads(process.stdout.splitlines()[-1])
    except (ValueError, IndexError):
        return {"missing": f"its process ended with {process.returncode}"}


def measure(spec: dict[str, Any], framework: str, folder: Path) -> dict[str, Any]:
    """Time a framework once: from a cold start, and the first step from a warm one.

    `UserError` where ours fails, with which the others are compared.
    """
    asked, arrays = spec | {"framework": framework}, {"arrays": str(folder / "ours.npz")}
    with tempfile.TemporaryDirectory(dir=folder) as cache:
        found = call(asked | arrays, folder, Path(cache))
        if found.get("error", 0) > AGREES:
            found = {"missing": f"it differs from ours by {found['error']:.1e} of the largest"}
        if framework in CACHES and "missing" not in found:
            found["warm"] = call(asked | {"steps": 0}, folder, Path(cache))
    if framework == "ours" and "missing" in found:
        raise UserError(f"{spec['row']}: ours can't be timed: {found['missing']}.")
    print(f"{spec['row']}, {framework}: {sentence(found)}", flush=True)
    return found


def sentence(found: dict[str, Any]) -> str:
    """Say in a line what a process found."""
    if "missing" in found:
        return found["missing"]
    first, step = found["first"], statistics.median(found["step"])
    used, used_step = found["first_processor"], statistics.median(found["step_processor"])
    return (
        f"first step after {first:.1f} s ({used:.1f} of the processor), then {step:.2f} s "
        f"({used_step:.2f}) a step; {found.get('error', 0):.1e} from ours"
    )


def spread(values: Sequence[float | None]) -> dict[str, float] | None:
    """Return median, least and most of what was measured; None where nothing was."""
    found = [value for value in values if value is not None]
    if not found:
        return None
    return {"median": statistics.median(found), "least": min(found), "most": max(found)}


def summary(rounds: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return a framework's figures over its rounds, or why it has none."""
    if lost := [one for one in rounds if "missing" in one]:
        return {"missing": lost[0]["missing"]}
    figures = {name: spread([one.get(name) for one in rounds]) for name in FIGURES}
    for name in (*STEPS.values(), *INFERENCE.values(), *EPOCH.values()):
        figures[name] = spread([seconds for one in rounds for seconds in one.get(name, ())])
    warm = [one["warm"] for one in rounds if "first" in one.get("warm", {})]
    for name in ("first", "first_processor", "compilation"):
        figures[f"warm_{name}"] = spread([one[name] for one in warm])
    return figures


def ratio(rounds: Sequence[dict[str, Any]], name: str) -> dict[str, float] | None:
    """Return how many times a step of ours goes into one of the best other, in each round."""
    found = []
    for one in rounds:
        others = {k: statistics.median(x[name]) for k, x in one.items() if x.get(name)}
        ours = others.pop("ours", None)
        if ours and others:
            found.append(min(others.values()) / ours)
    return spread(found)


def record_of(
    spec: dict[str, Any], rounds: Sequence[dict[str, Any]], rates: dict[str, dict[str, float]]
) -> dict[str, Any]:
    """Return what the file has of a row."""
    floor = rounds[0]["ours"]["floor"]
    record = {name: spec[name] for name in ("row", "title", "config", "overrides", "batch_size")}
    record |= {"pixels": spec["image"][0], "seed": SEED, "rounds": len(rounds)}
    record |= {"steps": spec["steps"], "floor": floor, "rates": rates, "epoch": spec["epoch"]}
    record["floor_seconds"] = {
        clock: {what: floor[what] / rates[clock][what] for what in floor} for clock in STEPS
    }
    record["frameworks"] = {name: summary([one[name] for one in rounds]) for name in rounds[0]}
    compared = {"against_best": STEPS, "inference_against_best": INFERENCE}
    compared["epoch_against_best"] = EPOCH
    for what, names in compared.items():
        record[what] = {clock: ratio(rounds, name) for clock, name in names.items()}
    return record


def provenance() -> dict[str, Any]:
    """Return `environment`, with the versions of the others and the load of the last minutes."""
    found = environment()
    for package in PACKAGES:
        try:
            found["versions"][package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            found["versions"][package] = "not installed"
    command = shlex.join(["python", "-m", "experiments.benchmark", *sys.argv[1:]])
    return found | {"command": command, "load": load(), "machine_cores": os.cpu_count()}


def load() -> list[float]:
    """Return how many processes ran or waited, on average of the last 1, 5 and 15 minutes."""
    return [round(value, 2) for value in os.getloadavg()]


def specs_of(names: Sequence[str], steps: int, epochs: int = 1) -> list[dict[str, Any]]:
    """Return what the processes of each row need to know."""
    found = []
    for name in names:
        row = ROWS[name]
        spec = spec_of(load_config(row.config, row.overrides).to_dict())
        named = {"row": name, "title": row.title, "config": row.config, "overrides": row.overrides}
        asked = {"codes": row.codes, "epoch": row.epoch, "epochs": epochs, "steps": steps}
        found.append(spec | named | asked)
    return found


def run(options: argparse.Namespace) -> None:
    """Time all rows round after round, and keep what is found."""
    frameworks = ["ours", *(name for name in options.frameworks if name != "ours")]
    made, specs = provenance(), specs_of(options.rows, options.steps, options.epochs)
    rounds: dict[str, list[dict[str, Any]]] = {row: [] for row in options.rows}
    if options.output.is_dir():
        raise UserError(f"--output {options.output} is a folder; name a file.")
    options.output.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as home:
        folder = Path(home)
        rates = call({}, folder, folder)
        for _ in range(options.rounds):
            for spec in specs:
                found = {name: measure(spec, name, folder) for name in frameworks}
                rounds[spec["row"]].append(found)
                done = [spec for spec in specs if rounds[spec["row"]]]
                records = [record_of(spec, rounds[spec["row"]], rates) for spec in done]
                kept = made | {"load_at_end": load()}
                lines = [to_json(record | {"provenance": kept}) for record in records]
                write_text(options.output, "[\n" + ",\n".join(lines) + "\n]\n")


def main() -> int:
    """Parse the flags; 0 when done, 1 for a mistake, 130 when stopped."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--output", type=Path, required=True, metavar="FILE")
    parser.add_argument("--rows", nargs="+", choices=ROWS, default=[*ROWS], metavar="ROW")
    parser.add_argument(
        "--frameworks", nargs="+", choices=FRAMEWORKS, default=[*FRAMEWORKS], metavar="NAME"
    )
    parser.add_argument("--rounds", type=int, default=3, help="default: 3")
    parser.add_argument("--steps", type=int, default=5, help="timed in each round (default: 5)")
    parser.add_argument("--epochs", type=int, default=1, help="timed in each round (default: 1)")
    options = parser.parse_args()
    try:
        for name in ("rounds", "steps", "epochs"):
            if getattr(options, name) < 1:
                raise UserError(f"--{name} is {getattr(options, name)}; give 1 or more.")
        run(options)
    except (UserError, OSError) as error:
        print(f"benchmark: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("benchmark: stopped", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
