"""The whole study in one go: data in, three tasks, one report out.

    python experiments/study.py --workdir runs/study

runs it on the embedded toy data set, shortened to minutes on two CPU cores. On the real data it
runs at the study's own epochs and batch size:

    vocjax data prepare --dataset voc2009 --devkit VOCdevkit --data_dir data
    python experiments/study.py --workdir runs/voc2009 --dataset voc2009

Run again, it goes on where it was stopped.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from vocjax.configuration import load_config
from vocjax.errors import UserError
from vocjax.reporting.page import write_report
from vocjax.training.interrupts import Interrupted
from vocjax.training.loop import train_and_evaluate

CONFIGS = Path(__file__).parent.parent / "configs"
RUNS = (
    "pca",
    "linear_autoencoder",
    "autoencoder_256",
    "classifier_256",
    "segmentation_dice",
)
# The study's code has 256 numbers; the toy set is too small for as many components.
VOC = {
    "pca": ("--config.model.components=256",),
    "linear_autoencoder": ("--config.model.components=256",),
}
# The toy set has a third of the study's images: smaller batches give as many steps.
TOY = {
    "linear_autoencoder": ("--config.batch_size=8",),
    "autoencoder_256": ("--config.batch_size=8", "--config.epochs=12"),
    "classifier_256": ("--config.batch_size=8", "--config.epochs=12"),
    "segmentation_dice": ("--config.batch_size=8",),
}


def run_study(
    workdir: Path, dataset: str, data_dir: Path, objects_dir: Path, overrides: Sequence[str] = ()
) -> dict[str, dict[str, Any]]:
    """Train and evaluate every run of the study and write the report; return the results by run.

    Args:
      workdir: holds a run directory for each run, and report.html.
      dataset: "toy", or a VOC year.
      data_dir: where it is prepared.
      objects_dir: where that of tasks 1 and 2 is, if another.
      overrides: further `--config.FIELD=VALUE`, for every run.
    """
    results = {}
    for name in RUNS:
        home = data_dir if name == "segmentation_dice" else objects_dir
        changes = [f"--config.data.dataset={dataset}", f"--config.data.data_dir={home}"]
        changes += (TOY if dataset == "toy" else VOC).get(name, ())
        if name == "classifier_256":
            changes.append(f"--config.init_from={workdir / 'autoencoder_256'}")
        config = load_config(CONFIGS / f"{name}.py", [*changes, *overrides])
        results[name] = train_and_evaluate(config, workdir / name)
    write_report([workdir], workdir / "report.html")
    return results


def print_results(results: dict[str, dict[str, Any]]) -> None:
    """Print the final figures of every run, and those of the trivial baselines beside them."""
    for run, result in results.items():
        rows = {run: result} | result["baselines"]
        names = [name for name in result["val"] if name != "loss"]
        print("\n" + "".join(f"{cell:>22}" for cell in ("", *names)))
        for label, values in rows.items():
            for split in ("train", "val"):
                cells = (f"{values[split][name]:>22.4f}" for name in names)
                print(f"{label[:16]:16} {split:5}", *cells, sep="")


def main() -> int:
    """Parse the flags and run; 0 when done, 1 for a mistake, 128 + the signal when stopped."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--workdir", type=Path, required=True)
    parser.add_argument("--dataset", default="toy", help="toy (default), or voc2007 to voc2012")
    parser.add_argument("--data_dir", type=Path, default=Path("data"), help="default: data")
    parser.add_argument(
        "--objects_dir", type=Path, help="data_dir of tasks 1 and 2, where it is another"
    )
    options, overrides = parser.parse_known_args()
    for override in overrides:
        if not override.startswith("--config."):
            parser.error(f"unknown argument {override!r}; fields are set like --config.epochs=3")
    try:
        results = run_study(
            options.workdir,
            options.dataset,
            options.data_dir,
            options.objects_dir or options.data_dir,
            overrides,
        )
    except UserError as error:
        print(f"study: {error}", file=sys.stderr)
        return 1
    except Interrupted as stop:
        print(f"study: {stop}", file=sys.stderr)
        return 128 + stop.signal_number
    except KeyboardInterrupt:
        print("study: stopped", file=sys.stderr)
        return 130
    print_results(results)
    print(f"\nreport: {options.workdir / 'report.html'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
