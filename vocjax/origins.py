"""What a config takes over from the weights that its run begins with."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from vocjax.errors import UserError
from vocjax.models.backbones import BACKBONES
from vocjax.weights.imported import Imported, is_imported, read_imported

OF_WEIGHTS = ("fields", "preprocessing")  # of model.backbone: what the weights were trained with


def complete(config: ConfigDict) -> ConfigDict:
    """Return a config whose `model.backbone` has what belongs to the weights of `init_from`.

    That is the name, `fields` and `preprocessing`, and `last` where the weights go no further. A
    config without backbone, or that begins afresh, or from a run without backbone, stays as it is.

    Raises `UserError` where `init_from` holds another backbone, or damaged weights.
    """
    found = described(Path(config.init_from)) if config.init_from else {}
    if "backbone" not in config.model or not found:
        return config
    completed = config.copy_and_resolve_references()
    backbone = completed.model.backbone
    if backbone.name not in ("", found["name"]):
        raise UserError(
            f"model.backbone.name is {backbone.name!r}, and {config.init_from} holds weights of "
            f"{found['name']}; set it to that, or init_from to weights of {backbone.name}."
        )
    backbone.name, backbone.last = found["name"], backbone.last or found["last"]
    backbone.fields = found["fields"]
    backbone.preprocessing.update(found["preprocessing"])
    return completed


def described(origin: Path) -> dict[str, Any]:
    """Return `model.backbone` as imported weights or a run have it, {} where there is none."""
    from vocjax.training.rundir import read_config

    if is_imported(origin):
        return _of_weights(read_imported(origin))
    if not (origin / "config.json").is_file():
        return {}
    return read_config(origin).model.get("backbone", ConfigDict()).to_dict()


def _of_weights(imported: Imported) -> dict[str, Any]:
    fields = tuple(sorted(imported.fields.items()))
    stages = BACKBONES[imported.backbone](**dict(fields)).backbone.strides
    return {
        "name": imported.backbone,
        "fields": fields,
        "preprocessing": imported.preprocessing._asdict(),
        "last": _last_whole(stages, imported.fresh),
    }


def _last_whole(stages: Mapping[str, int], fresh: Iterable[str]) -> str:
    """Return the last stage before the first of which something is fresh; "" if nothing is."""
    begun = {path.split("/")[1] for path in fresh if path.startswith("backbone/")}
    whole = ""
    for name in stages:
        if name in begun:
            return whole
        whole = name
    return ""
