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

from vocjax.data.cli import add_verbs as add_data_verbs
from vocjax.errors import UserError, local_path
from vocjax.pretrained.cli import add_verbs as add_weights_verbs
from vocjax.shipped import add_verbs as add_shipped_verbs
from vocjax.shipped import say_which

CLASSES_IN = {
    "common": "classes in common",
    "only_run": "classes of the run that the data lack",
    "only_data": "classes of the data that the run lacks",
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command line; return its exit code.

    1 is a mistake that the message names, 2 flags that don't parse, 130 and 143 Ctrl-C and SIGTERM.
    """
    if isinstance(sys.stdout, io.TextIOWrapper):  # a name of a file can hold any character
        sys.stdout.reconfigure(errors="backslashreplace")
    parser = _parser()
    try:
        options, left = parser.parse_known_args(arguments)
        if left and options.verb not in (_train, _run_experiments):
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
        _train,
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
        _evaluate,
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
        _predict,
        "apply a trained run to image files",
        "vocjax predict --workdir runs/ae toy.png --output predictions",
    )
    what = "a file, or a folder of images"
    predict.add_argument("images", type=local_path, nargs="+", metavar="IMAGE", help=what)
    predict.add_argument("--output", type=local_path, required=True, metavar="DIR")

    export = _verb(
        verbs,
        "export",
        _export,
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
        _report,
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
        _explore,
        "open a local page with a slider for each direction of an autoencoder's code",
        "vocjax explore --workdir runs/ae",
    )
    runs = _verb(
        verbs,
        "runs",
        _runs,
        "list the runs in folders: state, best and last value, and how their configs differ",
        "vocjax runs runs --sort loss",
    )
    runs.add_argument("directories", type=local_path, nargs="+", metavar="DIR")
    what = "a metric of val: the run with the best last value comes first"
    runs.add_argument("--sort", default="", metavar="METRIC", help=what)
    diff = _verb(
        verbs,
        "diff",
        _diff,
        "say how two runs differ: config, code, data, versions and results",
        "vocjax diff runs/ae runs/ae",
    )
    diff.add_argument("runs", type=local_path, nargs=2, metavar="RUN")

    host = "127.0.0.1"
    explore.add_argument("--host", default=host, help=f"default: {host}, this machine only")
    explore.add_argument("--port", type=int, default=8000, help="default: 8000; 0: any free one")
    for verb in (train, evaluate, predict, explore):
        verb.add_argument("--workdir", type=local_path, required=True, metavar="DIR")

    add_shipped_verbs(verbs, _verb, _run_experiments)
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


# The imports stand inside the verbs: `--help` and a mistyped flag answer at once, without JAX.


def _train(options: argparse.Namespace, overrides: Sequence[str]) -> int:
    import jax

    from vocjax.allocation import keep_memory
    from vocjax.config import load_config
    from vocjax.hosts import HostLost, joined_hosts
    from vocjax.mesh import ask_for_determinism
    from vocjax.metrics.names import by_reason
    from vocjax.training import profile
    from vocjax.training.interrupts import Interrupted
    from vocjax.training.loop import Watch, train_group
    from vocjax.training.writers import import_wandb

    keep_memory()
    path = say_which("configs", options.config)
    config = load_config(path, overrides)
    if config.deterministic:
        ask_for_determinism()
    steps = profile.parse(options.profile) if options.profile is not None else None
    if steps and options.sweep:
        raise UserError("--profile looks at one run, and --sweep trains several; give one of them.")
    if options.wandb:  # before anything is done
        import_wandb()
    watch = Watch(profile=steps, wandb=options.wandb)
    try:
        with joined_hosts() if options.distributed else contextlib.nullcontext():
            if options.sweep:
                from vocjax.sweep import carry_out

                return carry_out(path, options.workdir, options.sweep, overrides, watch)
            (results,) = train_group([config], [options.workdir], watch=watch)
    except Interrupted as stop:
        print(f"vocjax: {stop}", file=sys.stderr)
        return 128 + stop.signal_number
    except HostLost as error:
        print(f"vocjax: {error}", file=sys.stderr, flush=True)
        os._exit(1)  # JAX would wait for the host that is gone before Python ends
    if isinstance(results, UserError):
        raise results
    if jax.process_index():  # the first host speaks for all
        return 0
    for split in ("train", "val"):
        values = (f"{name} {value:.5g}" for name, value in results[split].items())
        print(f"{split:5}", *values)
        for reason, names in by_reason(results.get("absent", {}).get(split, {})).items():
            print(f"{split:5} \N{EN DASH} {', '.join(names)}: {reason}")
    print(f"run directory: {options.workdir}")
    return 0


def _run_experiments(options: argparse.Namespace, overrides: Sequence[str]) -> int:
    from vocjax.runner import carry_out, plan_of

    plan = plan_of(say_which("experiments", options.plan))
    return carry_out(plan, options, overrides, "vocjax")


def _evaluate(options: argparse.Namespace, _: Sequence[str]) -> int:
    from vocjax.allocation import keep_memory
    from vocjax.evaluate import Other, check_output, evaluate, write

    keep_memory()
    if options.output:  # before the work is done
        check_output(options.workdir, options.output)
    other = Other(options.dataset, options.data_dir, options.image_set)
    result = evaluate(options.workdir, options.split, options.checkpoint, other)
    on = f" of {result['dataset']['name']}" if any(other) else ""
    print(f"{result['images']} {options.split} images{on}, step {result['step']}")
    for kind, names in result.get("classes", {}).items():
        print(f"{CLASSES_IN[kind]}: {', '.join(names) or 'none'}")
    for note in result.get("notes", []):
        print(f"note: {note}")
    metrics, absent = result["metrics"], result.get("absent", {})
    width = max(map(len, (*metrics, *absent)))
    for name, value in metrics.items():
        print(f"{name:{width}} {value:.6g}")
    for name, reason in absent.items():
        print(f"{name:{width}} \N{EN DASH} ({reason})")
    known = [iou is not None for iou in result.get("iou_by_class", {}).values()]
    if "mean_iou_full_size" in metrics:
        print(f"the mean IoU at full size is that of {sum(known)} of {len(known)} classes")
    if options.output:
        write(options.output, options.workdir, result)
        print(f"table: {options.output}")
    return 0


def _predict(options: argparse.Namespace, _: Sequence[str]) -> int:
    from vocjax.files import printable
    from vocjax.predict import predict

    done = predict(options.workdir, options.images, options.output, options.checkpoint)
    n, unreadable = len(done.images), len(done.unreadable)
    if predicted := n - unreadable:
        print(f"{predicted} image{'s' * (predicted != 1)} predicted into {options.output}")
    if done.others:
        print(f"files that are no images, and were passed over: {done.others}")
    if done.folders:
        print(
            f"folders in folders, which are not entered: {', '.join(map(printable, done.folders))}"
        )
    if unreadable:
        names = ", ".join(map(printable, done.unreadable))
        raise UserError(f"{unreadable} of {n} images could not be read: {names}.")
    return 0


def _export(options: argparse.Namespace, _: Sequence[str]) -> int:
    from vocjax.exported.export import export

    if (options.run is None) == (options.workdir is None):
        raise UserError(
            "give one run to export: `vocjax export RUN --format NAME`, or --workdir RUN."
        )
    run = options.run or options.workdir
    output = options.output or run.with_name(f"{run.name}_{options.format}")
    facts = export(run, output, options.format, options.checkpoint, options.input)
    print(f"{facts['task']} by {facts['architecture']}, step {facts['step']}, as {options.format}")
    print(f"the file was read again and gives what the run gives; see {output / 'README.md'}")
    return 0


def _report(options: argparse.Namespace, _: Sequence[str]) -> int:
    from vocjax.reporting.page import write_report

    write_report(options.directories, options.output, without_pictures=options.without_pictures)
    print(f"report: {options.output}")
    return 0


def _runs(options: argparse.Namespace, _: Sequence[str]) -> int:
    from vocjax.plans.listing import find, lines, table

    runs, broken = find(options.directories)
    if runs:
        print(lines(table(runs, options.sort), sys.stdout.isatty()), end="")
    for reason in broken.values():
        print(f"vocjax: {reason}", file=sys.stderr)
    return 0 if runs else 1


def _diff(options: argparse.Namespace, _: Sequence[str]) -> int:
    from vocjax.plans.listing import difference_lines, differences

    found = differences(*options.runs)
    print(difference_lines(found, options.runs, sys.stdout.isatty()), end="")
    return 0


def _explore(options: argparse.Namespace, _: Sequence[str]) -> int:
    from vocjax.explorer.explore import make_server, serve
    from vocjax.models.fields import image_shape
    from vocjax.runs.restore import latent_space_of

    config, space = latent_space_of(options.workdir)
    image = {
        "size": image_shape(config)[:2],
        "channels": config.data.channels,
        "fit": config.data.fit,
        "title": config.name,
    }
    serve(make_server(space, **image, host=options.host, port=options.port))
    return 0
