"""Transfer: an encoder that begins with what another run or other people trained."""

from pathlib import Path
from typing import Any

from flax.traverse_util import flatten_dict, unflatten_dict
from jax.sharding import Mesh
from ml_collections import ConfigDict

from vocjax.errors import UserError
from vocjax.pretrained.resolve import agree_on_fields, check_origin, described
from vocjax.pretrained.store import is_imported, read_imported
from vocjax.runs.reader import read_config
from vocjax.runs.restore import load_run
from vocjax.tasks.task import Variables

# What an encoder does with its parameters, beside their shapes.
STYLE_OF_ENCODER = ("activation", "downsample", "norm", "residual", "stem")

NO_BACKBONE = "This config has no model.backbone: imported weights go with configs/*_pretrained.py."

Names = tuple[str, ...]  # of a leaf, from the collection on


def with_encoder_of(variables: Variables, config: ConfigDict, mesh: Mesh) -> Variables:
    """Return `variables` with the encoder's parameters and statistics of `config.init_from`.

    That is the last state of another run, or imported weights, of which the head and stages beyond
    `model.backbone.last` are left out, and what they skipped keeps its draw. Where ours takes
    grey images and the other's colour, kernels are summed over red, green and blue, which gives the
    same features of a grey image in three equal channels.

    Otherwise strict: `UserError` lists every array whose name or shape differs, and fields of the
    config that are not those of the weights.
    """
    origin = Path(config.init_from)
    _check_described(config, origin)
    ours = flatten_dict({name: tree.get("encoder", {}) for name, tree in variables.items()})
    theirs = _imported(origin, ours) if is_imported(origin) else _of_run(origin, mesh)
    theirs = {path: _for_grey(ours.get(path), x) for path, x in theirs.items()}
    if problems := _mismatches(ours, theirs):
        raise UserError(
            f"the encoder of {origin} does not fit this config's:\n  "
            + "\n  ".join(problems)
            + "\nGive init_from one with the same encoder and data.channels."
            + ("" if "backbone" in config.model or not is_imported(origin) else " " + NO_BACKBONE)
        )
    begun = unflatten_dict(theirs)
    return {
        name: tree | ({"encoder": begun[name]} if name in begun else {})
        for name, tree in variables.items()
    }


def _check_described(config: ConfigDict, origin: Path) -> None:
    if "backbone" in config.model:
        check_origin(origin)
    found = described(origin)
    if not found and (origin / "config.json").is_file():
        _check_style(config, origin)
    if not found or "backbone" not in config.model:
        return
    ours = config.model.backbone.to_dict()
    agree = {
        "fields": agree_on_fields(ours["fields"], found["fields"]),
        "preprocessing": ours["preprocessing"] == found["preprocessing"],
        "stem": found["stem"] in ("imagenet", ours["stem"]),
    }
    for field, agrees in agree.items():
        if not agrees:
            raise UserError(
                f"model.backbone.{field} is {ours[field]!r}, and the weights in {origin} were "
                f"trained with {found[field]!r}; take the config from `load_config`, which sets it."
            )


def _check_style(config: ConfigDict, run: Path) -> None:
    """Raise `UserError` where parameters of the same shapes would compute something else."""
    model, theirs = config.model, read_config(run).model
    for field in STYLE_OF_ENCODER:
        if field in model and field in theirs and model[field] != theirs[field]:
            raise UserError(
                f"model.{field} is {model[field]!r}, and the encoder of {run} was trained with "
                f"{theirs[field]!r}; set it to that."
            )


def _of_run(run: Path, mesh: Mesh) -> dict[Names, Any]:
    variables = load_run(run, mesh).variables
    return flatten_dict({name: tree.get("encoder", {}) for name, tree in variables.items()})


def _imported(origin: Path, ours: dict[Names, Any]) -> dict[Names, Any]:
    """Return the arrays of imported weights by our paths, our own where they skipped one."""
    imported = read_imported(origin)
    known = dict(imported.arrays)
    arrays = {}
    for path, own in ours.items():
        name = "/".join(path[1:])  # without the collection
        if name in imported.skipped:
            arrays[path] = own
        elif name in known:
            arrays[path] = known[name]
    return arrays


def _for_grey(ours: Any, theirs: Any) -> Any:
    """Sum a colour kernel [height, width, 3, features] over its channels where ours has one."""
    height, width, channels, *features = (*theirs.shape, 0, 0, 0)[:4]
    if ours is not None and channels == 3 and ours.shape == (height, width, 1, *features):
        return theirs.sum(axis=2, keepdims=True)
    return theirs


def _mismatches(ours: dict[Names, Any], theirs: dict[Names, Any]) -> list[str]:
    def shape(arrays: dict[Names, Any], path: Names) -> str:
        return str(arrays[path].shape) if path in arrays else "absent"

    return [
        f"{'/'.join(path[1:])}: {shape(theirs, path)} there, {shape(ours, path)} here"
        for path in sorted(ours.keys() | theirs.keys())
        if shape(theirs, path) != shape(ours, path)
    ]
