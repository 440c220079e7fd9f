"""How time and memory grow with data, resolution, batch and devices.

    python -m experiments.scale --output runs/scale.json

Each row is a U-Net of the config segmentation_unet in a process of its own (scale_worker.py). Data
are the images of `toy` with masks, once or many times over by hard links in a devkit that
`voc.prepare` reads as any other: index, splits and files are as much larger. They are read from the
disk batch by batch (`data.storage=stream`).

Devices are the CPU's, made of one by a flag of XLA. They say whether a step on several is the step
on one; how fast it would be, they can't. That part is on paper, of what is in `PAPER`. The file is
written after every row; kept as experiments/results/scale.json it makes tables of
experiments/README.md: `python -m experiments.tables`.
"""

import argparse
import json
import os
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from vocjax.errors import UserError
from vocjax.files import to_json, write_text
from vocjax.runs.provenance import environment

CONFIG = "segmentation_unet"
IMAGES = 120  # of each of train and val, drawn once
COPIES = (1, 10, 100)
SIDES, FEW = (64, 128, 256, 512), 8  # pixels, at a batch of 8
BATCHES = (8, 16, 32, 64)  # at 64 pixels
DEVICES = (1, 2, 4, 8)
STEPS = {"stream": 40, "step": 3, "devices": 5}
# Muon and Adam divide by the gradient's size, and with it rounding grows from step to step.
COMPARED = ("optimizer.name=sgd", "optimizer.arguments=(('momentum',.9),)", "data.size=32")
QUICK = "--xla_backend_optimization_level=0"  # to compile; these rows have no seconds
# The peak of TensorFloat-32, dense; and half of what NVLink and PCIe 4 move in both directions
# together.
PAPER = {
    "source": "NVIDIA A100 Tensor Core GPU, data sheet 1758950, of the SXM form with 80 GB",
    "operations_per_second": 156e12,
    "bytes_per_second": {"NVLink": 300e9, "PCIe": 32e9},
}


def specs(folder: Path) -> list[dict[str, Any]]:
    """Return what the process of each row measures, in order; files lie in `folder`."""
    rows: list[dict[str, Any]] = []
    for copies in COPIES:
        streamed = {"changes": ("data.storage=stream", "data.classes=()")}
        rows.append({"measure": "data", "copies": copies, "images": IMAGES} | streamed)
    sizes = {(side, FEW) for side in SIDES} | {(SIDES[0], batch) for batch in BATCHES}
    for side, batch in sorted(sizes):
        changes = (f"data.size={side}", f"batch_size={batch}")
        rows.append({"measure": "step", "pixels": side, "batch": batch, "changes": changes})
    for count in DEVICES:
        for split in (False, True) if count > 1 else (False,):
            on = {"changes": (*COMPARED, f"shard_parameters={split}")}
            rows.append({"measure": "devices", "devices": count, "split": split} | on)
    return [row | {"config": CONFIG, "folder": str(folder)} for row in rows]


def call(spec: dict[str, Any]) -> dict[str, Any]:
    """Start a process for a row, and return what it measured; `UserError` where it fails."""
    path, variables = Path(spec["folder"]) / "spec.json", os.environ.copy()
    variables.pop("JAX_COMPILATION_CACHE_DIR", None)  # compiling is a part of the peak of memory
    if spec["measure"] == "devices":
        flags = f"{QUICK} --xla_force_host_platform_device_count={spec['devices']}"
        variables["XLA_FLAGS"] = f"{variables.get('XLA_FLAGS', '')} {flags}".strip()
        variables["JAX_PLATFORMS"] = "cpu"
    overrides = [f"--config.{change}" for change in spec["changes"]]
    path.write_text(json.dumps(spec | {"overrides": overrides}))
    command = [sys.executable, "-m", f"{__package__}.scale_worker", str(path)]
    process = subprocess.run(command, env=variables, stdout=subprocess.PIPE, text=True, check=False)
    if process.returncode:
        raise UserError(
            f"the row of {describe(spec)} can't be measured: its process ended with "
            f"{process.returncode}, after what it wrote above. Give --only what can be."
        )
    return json.loads(process.stdout.splitlines()[-1])


def measured(spec: dict[str, Any]) -> dict[str, Any]:
    """Measure a row: data in two processes, one that prepares and one that reads."""
    name = spec["measure"]
    if name != "data":
        return call(spec | {"steps": STEPS[name]})
    found = call(spec | {"measure": "prepare"})
    return found | call(spec | {"measure": "stream", "steps": STEPS["stream"]})


def describe(spec: dict[str, Any]) -> str:
    """Name a row in a few words."""
    shown = ("copies", "pixels", "batch", "devices", "split")
    return ", ".join(f"{name} {spec[name]}" for name in shown if name in spec)


def main() -> int:
    """Parse the flags; 0 when done, 1 for a mistake, 130 when stopped."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--output", type=Path, required=True, metavar="FILE")
    kinds, only = ("data", "step", "devices"), "measure these rows alone (default: all)"
    parser.add_argument("--only", nargs="+", choices=kinds, default=kinds, help=only)
    options = parser.parse_args()
    records: list[dict[str, Any]] = []
    try:
        if options.output.is_dir():
            raise UserError(f"--output {options.output} is a folder; name a file.")
        options.output.parent.mkdir(parents=True, exist_ok=True)
        command = shlex.join(["python", "-m", "experiments.scale", *sys.argv[1:]])
        made = environment() | {"command": command}
        with tempfile.TemporaryDirectory() as home:
            for spec in specs(Path(home)):
                if spec["measure"] not in options.only:
                    continue
                found = measured(spec)
                print(f"{describe(spec)}: {json.dumps(found)}", flush=True)
                row = {name: value for name, value in spec.items() if name != "folder"}
                paper = {"paper": PAPER} if spec["measure"] == "devices" else {}
                records.append(row | found | paper | {"provenance": made})
                lines = [to_json(record) for record in records]
                write_text(options.output, "[\n" + ",\n".join(lines) + "\n]\n")
    except (UserError, OSError) as error:
        print(f"scale: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("scale: stopped", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
