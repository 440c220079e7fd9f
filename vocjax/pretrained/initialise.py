"""Transfer: an encoder that begins with the parameters of another run or of imported weights."""

import re
from pathlib import Path
from typing import Any

from flax.traverse_util import flatten_dict, unflatten_dict
from jax.sharding import Mesh
from ml_collections import ConfigDict

from vocjax.errors import UserError
from vocjax.pretrained.resolve import check_origin, described
from vocjax.pretrained.store import is_imported, read_imported
from vocjax.runs.reader import is_run, read_config
from vocjax.runs.restore import load_run
from vocjax.tasks.task import Variables

# Fields that change what an encoder computes, and not the shapes of its parameters.
STYLE_OF_ENCODER = ("activation", "downsample", "norm", "residual", "stem", "trunk")

CODE = "code"  # an encoder's projection to its code; one without takes the encoder before it

NO_BACKBONE = (
    " This config has no model.backbone: imported weights need one of the configs *_pretrained, "
    "which `vocjax configs` lists."
)

Keys = tuple[str, ...]  # the path of a leaf, with the collection


def with_encoder_of(variables: Variables, config: ConfigDict, mesh: Mesh) -> Variables:
    """Return `variables` with the encoder's parameters and statistics of `config.init_from`.

    `config` is as `resolve.located` returns it. The parameters are the last state of another run,
    or imported weights without their head and without the stages after `model.backbone.last`; what
    the import skipped stays as `variables` have it. Where our images are grey and theirs have
    colours, kernels are summed over red, green and blue: the features are those of a grey image in
    three equal channels. An encoder without a projection to a code takes another's without it, and
    one with fewer stages takes the first of another's.

    Everything else has to be equal: `UserError` lists every array whose name or shape differs, and
    fields of the config that are not those of the weights.
    """
    origin = Path(config.init_from)
    _check_fields(config, origin)
    ours = _encoder(variables)
    if is_imported(origin):
        theirs = _imported(origin, ours)
    else:
        theirs = _encoder(load_run(origin, mesh).variables)
    if not any(path[1] == CODE for path in ours):
        theirs = {path: x for path, x in theirs.items() if path[1] != CODE}
    theirs = {path: x for path, x in theirs.items() if not _is_beyond(path[1], config)}
    theirs = {path: _for_grey(ours.get(path), x) for path, x in theirs.items()}
    if problems := _mismatches(ours, theirs):
        raise UserError(
            f"the encoder of {origin} does not fit this config's:\n  "
            + "\n  ".join(problems)
            + "\nSet init_from to one with the same encoder and data.channels."
            + ("" if "backbone" in config.model or not is_imported(origin) else NO_BACKBONE)
        )
    encoders = unflatten_dict(theirs)
    return {
        name: tree | ({"encoder": encoders[name]} if name in encoders else {})
        for name, tree in variables.items()
    }


def _is_beyond(module: str, config: ConfigDict) -> bool:
    """Return whether a module is a stage of an encoder after the config's last one."""
    stage = re.fullmatch(r"ConvBlock_(\d+)", module)
    if stage is None or "encoder" not in config.model:
        return False
    return int(stage[1]) >= len(config.model.encoder)


def _check_fields(config: ConfigDict, origin: Path) -> None:
    """Raise `UserError` where parameters of the same shapes would compute something else."""
    model = config.model
    check_origin(origin)
    if "backbone" in model and (found := described(origin)):
        ours = model.backbone.to_dict()
        for field, agrees in (
            ("fields", set(found["fields"]) <= set(ours["fields"])),  # ours may have others, too
            ("preprocessing", ours["preprocessing"] == found["preprocessing"]),
            ("stem", found["stem"] in ("imagenet", ours["stem"])),
        ):
            if not agrees:
                raise UserError(
                    f"model.backbone.{field} is {ours[field]!r}, and the weights in {origin} were "
                    f"trained with {found[field]!r}; `vocjax.pretrained.resolve.complete` sets it."
                )
    elif is_run(origin):
        theirs = read_config(origin).model
        for field in STYLE_OF_ENCODER:
            if field in model and field in theirs and model[field] != theirs[field]:
                raise UserError(
                    f"model.{field} is {model[field]!r}, and the encoder of {origin} was trained "
                    f"with {theirs[field]!r}; set it to that."
                )


def _encoder(variables: Variables) -> dict[Keys, Any]:
    return flatten_dict({name: tree.get("encoder", {}) for name, tree in variables.items()})


def _imported(origin: Path, ours: dict[Keys, Any]) -> dict[Keys, Any]:
    """Return the arrays of imported weights by our paths, our own where the import skipped one."""
    imported = read_imported(origin)
    names = {path: "/".join(path[1:]) for path in ours}  # without the collection
    arrays = imported.arrays
    found = {path: arrays[name] for path, name in names.items() if name in arrays}
    return found | {path: ours[path] for path, name in names.items() if name in imported.skipped}


def _for_grey(ours: Any, theirs: Any) -> Any:
    """Sum a colour kernel [height, width, 3, features] over its channels where ours has one."""
    height, width, channels, *features = (*theirs.shape, 0, 0, 0)[:4]
    if ours is not None and channels == 3 and ours.shape == (height, width, 1, *features):
        return theirs.sum(axis=2, keepdims=True)
    return theirs


def _mismatches(ours: dict[Keys, Any], theirs: dict[Keys, Any]) -> list[str]:
    def shape(arrays: dict[Keys, Any], path: Keys) -> str:
        return str(arrays[path].shape) if path in arrays else "absent"

    return [
        f"{'/'.join(path[1:])}: {shape(theirs, path)} there, {shape(ours, path)} here"
        for path in sorted(ours.keys() | theirs.keys())
        if shape(theirs, path) != shape(ours, path)
    ]
