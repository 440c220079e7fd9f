"""What the verbs of the command line do: a function call each, and what is printed of its result.

The imports stand inside the functions: `--help` and a mistyped flag answer at once, without JAX.
"""

import argparse
import contextlib
import os
import sys
from collections.abc import Sequence

from vocjax.errors import UserError
from vocjax.shipped import say_which

CLASSES_IN = {
    "common": "classes in common",
    "only_run": "classes of the run that the data lack",
    "only_data": "classes of the data that the run lacks",
}


def train(options: argparse.Namespace, overrides: Sequence[str]) -> int:
    """Train a config, or sweep a field of it; print the results."""
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


def run_experiments(options: argparse.Namespace, overrides: Sequence[str]) -> int:
    """Train the runs of a plan."""
    from vocjax.runner import carry_out, plan_of

    plan = plan_of(say_which("experiments", options.plan))
    return carry_out(plan, options, overrides, "vocjax")


def evaluate(options: argparse.Namespace, _: Sequence[str]) -> int:
    """Measure a run on a split; print the metrics, and write them where a file is given."""
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


def predict(options: argparse.Namespace, _: Sequence[str]) -> int:
    """Apply a run to image files; an error names those that could not be read."""
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


def export(options: argparse.Namespace, _: Sequence[str]) -> int:
    """Write a run for other programs."""
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


def report(options: argparse.Namespace, _: Sequence[str]) -> int:
    """Write run directories into one page."""
    from vocjax.reporting.page import write_report

    write_report(options.directories, options.output, without_pictures=options.without_pictures)
    print(f"report: {options.output}")
    return 0


def list_runs(options: argparse.Namespace, _: Sequence[str]) -> int:
    """Print the runs below some folders; 1 where there is none."""
    from vocjax.plans.listing import find, lines, table

    runs, broken = find(options.directories)
    if runs:
        print(lines(table(runs, options.sort), sys.stdout.isatty()), end="")
    for reason in broken.values():
        print(f"vocjax: {reason}", file=sys.stderr)
    return 0 if runs else 1


def diff(options: argparse.Namespace, _: Sequence[str]) -> int:
    """Print how two runs differ."""
    from vocjax.plans.listing import difference_lines, differences

    found = differences(*options.runs)
    print(difference_lines(found, options.runs, sys.stdout.isatty()), end="")
    return 0


def explore(options: argparse.Namespace, _: Sequence[str]) -> int:
    """Serve a page with a run's latent space, until Ctrl-C."""
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
