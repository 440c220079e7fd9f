"""Exported models, read again."""

import json
from collections.abc import Callable
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
    """An exported model: its variables, or else a function of images float32 in [0, 1]."""

    config: ConfigDict
    task: Task
    variables: Variables
    step: int
    results: dict[str, Any]
    function: Callable[[np.ndarray], Outputs] | None


def load_exported(folder: Path, checkpoint: str = "last") -> Exported:
    """Read a folder that `vocjax export` wrote; `UserError` where it can't be read.

    It holds one checkpoint: "last" means this one, whichever it is; "best" must be it.
    """
    path = folder / FACTS
    try:
        facts = bounds.read_json(path)
        name, held, step = facts["format"], facts["checkpoint"], int(facts["step"])
        kind, dtype = FORMATS[name], INPUTS[INPUTS.index(facts["input"]["dtype"])]
        results = dict(facts["results"])
        config = completed(json.dumps(facts["config"]))
    except (OSError, ValueError, TypeError, LookupError, AttributeError) as error:
        reason = " ".join(f"{type(error).__name__}: {error}".split())[:300]
        raise UserError(
            f"{path} is not as `vocjax export` writes it ({reason}). Export the run again."
        ) from error
    if checkpoint not in ("last", held):
        raise UserError(
            f"{folder} holds the {held} checkpoint alone; leave --checkpoint out, or export the "
            f"run again with --checkpoint {checkpoint}."
        )
    check_installed(name)
    content = read(folder / kind.file, kind)
    if callable(content):
        config = of_one_size(config)
    task = make_task(config)
    if callable(content):
        function = content
        return Exported(
            config, task, {}, step, results, lambda images: function(as_input(images, dtype))
        )
    _check_fits(folder / kind.file, content, jax.eval_shape(task.init, jax.random.key(0)))
    return Exported(config, task, content, step, results, None)


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
