"""The command line: flags to function calls, errors to sentences, nothing else.

The work is in functions that a notebook can import: `data.voc.prepare`,
`training.loop.train_and_evaluate`, `evaluate.evaluate`, `predict.predict`,
`reporting.page.write_report`, `pretrained.store.import_weights`.
"""

import argparse
import contextlib
import functools
import io
import os
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from types import FrameType

from vocjax import commands
from vocjax.data.cli import add_verbs as add_data_verbs
from vocjax.errors import UserError, local_path
from vocjax.pretrained.cli import add_verbs as add_weights_verbs
from vocjax.shipped import add_verbs as add_shipped_verbs


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command line; return its exit code.

    1 is a mistake that the message names, 2 flags that don't parse, 130 and 143 Ctrl-C and SIGTERM.
    """
    if isinstance(sys.stdout, io.TextIOWrapper):  # a name of a file can hold any character
        sys.stdout.reconfigure(errors="backslashreplace")
    parser = _parser()
    try:
        options, left = parser.parse_known_args(arguments)
        if left and options.verb not in (commands.train, commands.run_experiments):
            parser.error(f"unknown argument {left[0]!r}; see `{options.prog} --help`")
        if bad := [a for a in left if a.startswith("-") and not a.startswith("--config.")]:
            parser.error(f"unknown argument {bad[0]!r}; fields are set like --config.epochs=3")
        if getattr(options, "distributed", False):  # JAX's preemption service has SIGTERM then
            return options.verb(options, left)
        with _termination():
            return options.verb(options, left)
    except BrokenPipeError:  # the reader of a pipe, `head` say, has seen enough
        # Python flushes at its end, and would complain there.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except UserError as error:
        print(f"vocjax: {error}", file=sys.stderr)
        return 1
    except OSError as error:  # no space left, say
        what = f"{error.filename} can't be read or written: " if error.filename else ""
        print(
            f"vocjax: {what}{error.strerror or error}. Mend that, and the same command goes on; or "
            "give another path.",
            file=sys.stderr,
        )
        return 1
    except KeyboardInterrupt as stop:
        print("vocjax: stopped", file=sys.stderr)
        return stop.args[0] if stop.args else 130


@contextlib.contextmanager
def _termination() -> Iterator[None]:
    """Make of SIGTERM a `KeyboardInterrupt` with the exit code, so that nothing stays half done."""

    def stop(number: int, frame: FrameType | None) -> None:
        signal.signal(number, signal.SIG_IGN)  # `timeout` sends it twice
        raise KeyboardInterrupt(128 + number)

    if threading.current_thread() is not threading.main_thread():  # Python allows no handlers there
        yield
        return
    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="vocjax", description="PASCAL VOC in functional JAX.", allow_abbrev=False
    )
    verbs = parser.add_subparsers(metavar="VERB", required=True)

    data = verbs.add_parser("data", help="prepare a data set, or show what is in one")
    data_verbs = data.add_subparsers(metavar="VERB", required=True)
    add_data_verbs(functools.partial(_verb, data_verbs))

    train = _verb(
        verbs,
        "train",
        commands.train,
        "train and evaluate a config; a run that was stopped is continued",
        "vocjax train --config autoencoder_256 --workdir runs/ae "
        "--config.optimizer.learning_rate=3e-4",
    )
    what = (
        "a name that `vocjax configs` lists, or a file: pca is the config that comes with vocjax, "
        "pca.py a file of yours if there is one"
    )
    train.add_argument("--config", required=True, metavar="NAME", help=what)
    what = (
        "train at each value of a field, and at all combinations where there are several --sweep, "
        "each in a directory of its own, and rank them on held-out photographs of train"
    )
    train.add_argument("--sweep", action="append", metavar="config.FIELD=VALUE,VALUE", help=what)
    what = (
        "trace steps 11 to 20 of the run into DIR/profile, for TensorBoard and Perfetto, and say "
        "which share of their time is waiting for input"
    )
    train.add_argument("--profile", metavar="10:20", help=what)
    what = "send the values to a project of Weights & Biases, too (needs `pip install wandb`)"
    train.add_argument("--wandb", default="", metavar="PROJECT", help=what)
    several = "one of several hosts: join the others first"
    train.add_argument("--distributed", action="store_true", help=several)

    evaluate = _verb(
        verbs,
        "evaluate",
        commands.evaluate,
        "measure a trained run, or an exported one, on a split",
        "vocjax evaluate --workdir runs/ae --split val",
    )
    evaluate.add_argument("--split", default="val", help="train or val (default: val)")
    what = "other data, whose classes are matched by name; nothing is written into the run then"
    evaluate.add_argument("--dataset", default="", metavar="NAME", help=what)
    what = "the folder of the data, where it is another than the run's"
    evaluate.add_argument("--data_dir", type=local_path, metavar="DIR", help=what)
    what = "Main or Segmentation, where it is another than the run's"
    evaluate.add_argument("--image_set", default="", metavar="NAME", help=what)
    what = "also write the table as JSON, with how it was made"
    evaluate.add_argument("--output", type=local_path, metavar="FILE", help=what)

    predict = _verb(
        verbs,
        "predict",
        commands.predict,
        "apply a trained run to image files",
        "vocjax predict --workdir runs/ae toy.png --output predictions",
    )
    what = "a file, or a folder of images"
    predict.add_argument("images", type=local_path, nargs="+", metavar="IMAGE", help=what)
    predict.add_argument("--output", type=local_path, required=True, metavar="DIR")

    export = _verb(
        verbs,
        "export",
        commands.export,
        "write a finished run for other programs, with a model card",
        "vocjax export runs/ae --format onnx --output ae_onnx",
    )
    export.add_argument("run", type=local_path, nargs="?", metavar="RUN", help="a run directory")
    export.add_argument("--workdir", type=local_path, metavar="DIR", help="the same as RUN")
    what = "safetensors, stablehlo (for JAX alone) or onnx"
    export.add_argument("--format", required=True, metavar="NAME", help=what)
    what = "a new folder (default: RUN_NAME, beside the run)"
    export.add_argument("--output", type=local_path, metavar="DIR", help=what)
    what = "of the images that a function takes: uint8, or float32 in [0, 1] (default: uint8)"
    export.add_argument("--input", default="uint8", metavar="TYPE", help=what)
    for verb in (evaluate, predict, export):
        verb.add_argument("--checkpoint", default="last", help="last or best (default: last)")

    report = _verb(
        verbs,
        "report",
        commands.report,
        "write run directories into one HTML page",
        "vocjax report runs/ae --output report.html",
    )
    report.add_argument("directories", type=local_path, nargs="+", metavar="DIR")
    report.add_argument("--output", type=local_path, required=True, metavar="FILE")
    more = "more run directories, for tables and comparisons alone"
    report.add_argument(
        "--without_pictures", type=local_path, nargs="+", default=[], metavar="DIR", help=more
    )

    explore = _verb(
        verbs,
        "explore",
        commands.explore,
        "open a local page with a slider for each direction of an autoencoder's code",
        "vocjax explore --workdir runs/ae",
    )
    runs = _verb(
        verbs,
        "runs",
        commands.list_runs,
        "list the runs in folders: state, best and last value, and how their configs differ",
        "vocjax runs runs --sort loss",
    )
    runs.add_argument("directories", type=local_path, nargs="+", metavar="DIR")
    what = "a metric of val: the run with the best last value comes first"
    runs.add_argument("--sort", default="", metavar="METRIC", help=what)
    diff = _verb(
        verbs,
        "diff",
        commands.diff,
        "say how two runs differ: config, code, data, versions and results",
        "vocjax diff runs/ae runs/ae",
    )
    diff.add_argument("runs", type=local_path, nargs=2, metavar="RUN")

    host = "127.0.0.1"
    explore.add_argument("--host", default=host, help=f"default: {host}, this machine only")
    explore.add_argument("--port", type=int, default=8000, help="default: 8000; 0: any free one")
    for verb in (train, evaluate, predict, explore):
        verb.add_argument("--workdir", type=local_path, required=True, metavar="DIR")

    add_shipped_verbs(verbs, _verb, commands.run_experiments)
    weights = verbs.add_parser("weights", help="bring in backbones' weights, or take them out")
    weights_verbs = weights.add_subparsers(metavar="VERB", required=True)
    add_weights_verbs(functools.partial(_verb, weights_verbs))
    return parser


def _verb(
    verbs: "argparse._SubParsersAction[argparse.ArgumentParser]",
    name: str,
    function: object,
    purpose: str,
    example: str,
) -> argparse.ArgumentParser:
    parser = verbs.add_parser(
        name,
        help=purpose,
        description=purpose[0].upper() + purpose[1:] + ".",
        epilog=f"example:\n  {example}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.set_defaults(verb=function, prog=f"{verbs._prog_prefix} {name}")
    return parser
