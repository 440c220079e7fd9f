"""What comes with vocjax, in a wheel too: `vocjax configs` and `vocjax experiments`.

The imports stand inside the verbs, as in `vocjax.commands`.
"""

import argparse
import ast
import functools
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from vocjax.errors import UserError, local_path

AddVerb = Callable[..., argparse.ArgumentParser]


def add_verbs(verbs: object, add: AddVerb, run_experiments: object) -> None:
    """Add the verbs by `add(verbs, name, function, purpose, example)`, as `vocjax.cli` does."""
    for folder, name, use, verb in (
        ("configs", "autoencoder_256", "train --config", "copy"),
        ("experiments", "study", "experiments run", "copy or run"),
    ):
        show = functools.partial(_list, folder)
        purpose = f"list the {folder} that come with vocjax, or {verb} one"
        inner = add(verbs, folder, show, purpose, f"vocjax {folder}").add_subparsers(metavar="VERB")
        copy = add(
            inner,
            "copy",
            functools.partial(_copy, folder, use),
            "copy one into the current folder, as a file to edit",
            f"vocjax {folder} copy {name}",
        )
        copy.add_argument("name", metavar="NAME", help=f"`vocjax {folder}` lists the names")
        what = "the new file (default: NAME.py)"
        copy.add_argument("--output", type=local_path, metavar="FILE", help=what)
    run = add(
        inner,
        "run",
        run_experiments,
        "train a list of experiments, one after the other, and write their report; "
        "what was stopped is continued",
        "vocjax experiments run study --workdir runs/study",
    )
    what = "a name that `vocjax experiments` lists, or a file with a function plan(options)"
    run.add_argument("plan", metavar="NAME", help=what)
    add_flags(run)


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Add the flags from which an experiment's `plan(options)` is made."""
    parser.add_argument("--workdir", type=local_path, required=True, metavar="DIR")
    dataset = "toy (default), or voc2007 to voc2012"
    parser.add_argument("--dataset", default="toy", metavar="NAME", help=dataset)
    data = "default: data"
    parser.add_argument(
        "--data_dir", type=local_path, default=Path("data"), metavar="DIR", help=data
    )
    objects = "data_dir of tasks 1 and 2, where it is another"
    parser.add_argument("--objects_dir", type=local_path, metavar="DIR", help=objects)
    names = "run these alone, by the name of their directory, with or without its seed"
    parser.add_argument("--only", nargs="+", metavar="NAME", help=names)
    seeds = (
        "repeat each run to which the plan gives no seed, in directories NAME_SEED: 3 is with the "
        "seeds 0, 1 and 2; 0,4 is with these"
    )
    parser.add_argument("--seeds", default="", metavar="N", help=seeds)
    listed = "train nothing; list what would run, and about how long it takes"
    parser.add_argument("--dry-run", action="store_true", help=listed)
    folders = (
        "folders of runs: a finished run of the same config, data and code is copied from there "
        "and from --workdir, and not trained"
    )
    parser.add_argument(
        "--reuse", type=local_path, nargs="+", default=[], metavar="DIR", help=folders
    )
    again = (
        "train these from the beginning where the run that is there is of other code, data or "
        "config; it is deleted"
    )
    parser.add_argument("--again", nargs="+", metavar="NAME", help=again)


def say_which(folder: str, path: str) -> Path:
    """Return the file that a path or a name stands for, and say so where it is not that path's."""
    from vocjax.config import find_file

    found = find_file(folder, path)
    if found != local_path(path) and path != found.stem:
        print(
            f"vocjax: there is no {path} here; {found.stem}, which comes with vocjax, is used",
            file=sys.stderr,
        )
    return found


def _list(folder: str, _: argparse.Namespace, __: Sequence[str]) -> int:
    from vocjax.config import shipped

    files = shipped(folder)
    width = max(map(len, files))
    for name, path in files.items():
        purpose = ast.get_docstring(ast.parse(path.read_text("utf-8"))) or ""
        print(f"{name:{width}}  {purpose.partition(chr(10))[0]}")
    return 0


def _copy(folder: str, use: str, options: argparse.Namespace, _: Sequence[str]) -> int:
    from vocjax.config import shipped_file
    from vocjax.files import write_text

    path = shipped_file(folder, options.name)
    output = options.output or Path(path.name)
    if output.suffix != ".py" or output.exists():
        wrong = "exists already" if output.exists() else "does not end with .py"
        raise UserError(f"{output} {wrong}; give a new file by --output, mine.py for instance.")
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        write_text(output, path.read_text("utf-8"))
    except OSError as error:
        raise UserError(
            f"{output} can't be written ({error.strerror}). Give a file by --output, in a folder "
            "that can be written to and has room."
        ) from error
    print(f"{output}: edit it, then `vocjax {use} {output} --workdir runs/{output.stem}`")
    print(f"described in {path.with_name('README.md')}")
    return 0
