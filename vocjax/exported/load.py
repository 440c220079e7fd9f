"""Exported models, read again."""

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from flax.traverse_util import flatten_dict
from ml_collections import ConfigDict

from vocjax import bounds
from vocjax.errors import UserError
from vocjax.exported.formats import FORMATS, Format, check_installed
from vocjax.exported.function import INPUTS
from vocjax.runs.reader import completed
from vocjax.tasks import make_task
from vocjax.tasks.own_size import WHOLE, WINDOWS
from vocjax.tasks.task import Outputs, Task, Variables

FACTS = "config.json"


class Exported(NamedTuple):
    """An exported model: its variables, or else a function of images float32 in [0, 1].

    `checkpoint` is the one that it holds; `in_windows` says that windows take the place of the
    whole images that its run sees.
    """

    config: ConfigDict
    task: Task
    variables: Variables
    step: int
    results: dict[str, Any]
    function: Callable[[np.ndarray], Outputs] | None
    checkpoint: str
    in_windows: bool = False


class Facts(NamedTuple):
    """What the config.json beside an exported model says, as far as vocjax reads it."""

    format: str
    dtype: str  # of a function's images
    checkpoint: str
    step: int
    results: dict[str, Any]
    training: dict[str, Any]
    config: ConfigDict


def read_facts(folder: Path) -> Facts:
    """Read the config.json of an exported model; `UserError` where it is damaged."""
    path = folder / FACTS
    try:
        facts = bounds.read_json(path)
        return Facts(
            next(name for name in FORMATS if name == facts["format"]),
            INPUTS[INPUTS.index(facts["input"]["dtype"])],
            facts["checkpoint"],
            int(facts["step"]),
            dict(facts["results"]),
            dict(facts["training"]),
            completed(json.dumps(facts["config"])),
        )
    except (OSError, ValueError, TypeError, LookupError, AttributeError) as error:
        reason = " ".join(f"{type(error).__name__}: {error}".split())[:300]
        raise UserError(
            f"{path} is not as `vocjax export` writes it ({reason}). Export the run again."
        ) from error


def load_exported(folder: Path, checkpoint: str = "last") -> Exported:
    """Read a folder that `vocjax export` wrote; `UserError` where it can't be read.

    It holds one checkpoint: "last" means this one, whichever it is; "best" must be it.
    """
    facts = read_facts(folder)
    name, held, config, kind = facts.format, facts.checkpoint, facts.config, FORMATS[facts.format]
    if checkpoint not in ("last", held):
        raise UserError(
            f"{folder} holds the {held} checkpoint alone; leave --checkpoint out, or export the "
            f"run again with --checkpoint {checkpoint}."
        )
    check_installed(name)
    content = read(folder / kind.file, kind)
    in_windows = callable(content) and config.evaluation.images == WHOLE
    if in_windows:
        config = of_one_size(config)
    task = make_task(config)
    if callable(content):
        function, variables = partial(_applied, content, facts.dtype), {}
    else:
        function, variables = None, content
        _check_fits(folder / kind.file, content, jax.eval_shape(task.init, jax.random.key(0)))
    return Exported(config, task, variables, facts.step, facts.results, function, held, in_windows)


def _applied(function: Callable[[np.ndarray], Outputs], dtype: str, images: np.ndarray) -> Outputs:
    return function(as_input(np.asarray(images), dtype))


def read(path: Path, kind: Format) -> Variables | Callable[[np.ndarray], Outputs]:
    """Read a file in its format; `UserError` where it is damaged."""
    try:
        return kind.read(path)
    except UserError:
        raise
    except Exception as error:  # damage raises exceptions of each library's own
        reason = " ".join(f"{type(error).__name__}: {error}".split())[:300]
        raise UserError(f"{path} can't be read ({reason}). Export the run again.") from error


def of_one_size(config: ConfigDict) -> ConfigDict:
    """Return a config whose images have one size: windows take the place of whole images."""
    config = config.copy_and_resolve_references()
    if config.evaluation.images == WHOLE:
        config.evaluation.images = WINDOWS
    return config


def as_input(images: np.ndarray, dtype: str) -> np.ndarray:
    """Return images float32 in [0, 1] as an exported function takes them."""
    return np.rint(255 * images).astype(np.uint8) if dtype == "uint8" else images


def _check_fits(path: Path, content: Variables, expected: Variables) -> None:
    found, wanted = (
        {name: tuple(leaf.shape) for name, leaf in flatten_dict(tree, sep="/").items()}
        for tree in (content, expected)
    )
    if differing := sorted(n for n in found | wanted if found.get(n) != wanted.get(n)):
        name = differing[0]
        raise UserError(
            f"{path} has {name} {found.get(name, 'not')}, and the network of the {FACTS} beside it "
            f"{wanted.get(name, 'none')}. Export the run again, or restore both files."
        )
