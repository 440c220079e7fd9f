"""What a config takes over from the weights that its run begins with."""

from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from vocjax.errors import UserError
from vocjax.models.backbones import BACKBONES
from vocjax.models.backbones.preprocessing import IDENTITY
from vocjax.pretrained.store import Imported, is_imported, read_imported
from vocjax.runs.reader import read_config

Pairs = tuple[tuple[str, Any], ...]  # (name, value) of each field of a network


def complete(config: ConfigDict, workdir: Path | None = None) -> ConfigDict:
    """Return a config whose `model.backbone` has what belongs to the weights of `init_from`.

    That is the name, `fields` and `preprocessing`, `last` where the weights go no further, and the
    small stem of a run that has it. Of `fields` the config keeps those that the weights do not
    have, as the padding of Xception. A config without backbone, or that begins afresh, or from a
    run without backbone, stays as it is. Where `init_from` is gone since the run in `workdir` began
    with it, that run's own config says what belongs to it.

    Raises `UserError` where `init_from` holds another backbone, or damaged weights; where the
    config asks for a field or a pre-processing that is not the weights', or for a stage beyond
    those that they fill, which would be drawn anew; and where `init_from` holds nothing and the
    backbone has no name. One that has a name may begin from a run that is yet to come.
    """
    if "backbone" not in config.model or not config.init_from:
        return config
    found = described(Path(config.init_from)) or _remembered(config, workdir)
    if not found and not config.model.backbone.name:
        check_origin(Path(config.init_from))
    if not found:
        return config
    completed = config.copy_and_resolve_references()
    backbone = completed.model.backbone
    if backbone.name not in ("", found["name"]):
        raise UserError(
            f"model.backbone.name is {backbone.name!r}, and {config.init_from} holds weights of "
            f"{found['name']}; set it to that, or init_from to weights of {backbone.name}."
        )
    _check_last(backbone.last, found, config.init_from)
    backbone.name, backbone.last = found["name"], backbone.last or found["last"]
    if found["stem"] == "small":
        backbone.stem = "small"
    backbone.fields = _with_fields(backbone.fields, found["fields"], config.init_from)
    _check_preprocessing(backbone.preprocessing.to_dict(), found["preprocessing"], config.init_from)
    backbone.preprocessing.update(found["preprocessing"])
    return completed


def check_origin(origin: Path) -> None:
    """Raise `UserError` unless a backbone can begin with what a directory holds, or seems to."""
    if is_imported(origin) or (origin / "config.json").is_file():
        return
    raise UserError(
        f"init_from is {str(origin)!r}, which holds neither imported weights (no weights.json) nor "
        "a run (no config.json). Make it with "
        f"`vocjax weights import --backbone NAME FILE --output {origin}` or "
        f"`vocjax train --config FILE --workdir {origin}`, or name one that there is."
    )


def described(origin: Path) -> dict[str, Any]:
    """Return `model.backbone` as imported weights or a run have it, {} where there is none."""
    if is_imported(origin):
        return _of_weights(read_imported(origin), origin)
    if not (origin / "config.json").is_file():
        return {}
    return read_config(origin).model.get("backbone", ConfigDict()).to_dict()


def _remembered(config: ConfigDict, workdir: Path | None) -> dict[str, Any]:
    """Return `model.backbone` of a run that began with the same weights, {} where there is none."""
    if workdir is None or not (workdir / "config.json").is_file():
        return {}
    same = read_config(workdir).init_from == config.init_from
    return described(workdir) if same else {}


def agree_on_fields(ours: Pairs, theirs: Pairs) -> bool:
    """Tell whether `fields` have all that the weights' have; others may stand beside them."""
    named = _by_name(ours)
    return named | dict(theirs) == named


def _with_fields(ours: Pairs, theirs: Pairs, origin: str) -> Pairs:
    """Return the weights' fields and, after them, what the config has beside them."""
    chosen, fixed = _by_name(ours), dict(theirs)
    for name, value in fixed.items():
        if chosen.get(name, value) != value:
            raise UserError(
                f"model.backbone.fields has {name} {chosen[name]!r}, and the weights in {origin} "
                f"were trained with {name} {value!r}; set it to that, or leave it out."
            )
    return tuple((fixed | chosen).items())


def _by_name(fields: Pairs) -> dict[str, Any]:
    try:
        return dict(fields)
    except (TypeError, ValueError) as error:
        raise UserError(
            f"model.backbone.fields is {fields!r}; it is (name, value) pairs, for instance "
            "(('padding', 'same'),)."
        ) from error


def _check_preprocessing(ours: dict[str, Any], theirs: dict[str, Any], origin: str) -> None:
    """Raise `UserError` for a pre-processing that somebody chose and the weights do not want."""
    if ours in (IDENTITY._asdict(), theirs):
        return
    differing = [name for name, value in theirs.items() if ours.get(name) != value]
    has, want = (
        ", ".join(f"{name} {values.get(name)!r}" for name in differing) for values in (ours, theirs)
    )
    raise UserError(
        f"model.backbone.preprocessing has {has}, and the weights in {origin} were trained with "
        f"{want}; leave it out, it comes with the weights."
    )


def _check_last(last: str, found: dict[str, Any], origin: str) -> None:
    """Raise `UserError` for a last stage beyond the weights'; another that is none passes."""
    whole = found["last"]
    stages = _stages(found["name"], found["fields"])
    if whole and last in stages[stages.index(whole) + 1 :]:
        raise UserError(
            f"model.backbone.last is {last!r}, and the weights in {origin} go no further than "
            f"{whole!r}: what is beyond would be drawn anew. Set it to a stage up to that, or "
            "leave it out."
        )


def _of_weights(imported: Imported, origin: Path) -> dict[str, Any]:
    fields = tuple(sorted(imported.fields.items()))
    stages = _stages(imported.backbone, fields)
    begun = {path.split("/")[1] for path in imported.skipped if path.startswith("backbone/")}
    first = next((i for i, stage in enumerate(stages) if stage in begun), None)
    if first == 0:
        raise UserError(
            f"the weights in {origin} begin with what is drawn anew: not all of {stages[0]}, the "
            f"first stage of {imported.backbone}, was filled when they were imported. Nothing can "
            "begin with what comes after it; import weights that have it."
        )
    return {
        "name": imported.backbone,
        "stem": "imagenet",  # a run may take another: its parameters have the same shapes
        "fields": fields,
        "preprocessing": imported.preprocessing._asdict(),
        "last": stages[first - 1] if first else "",  # the last one that is whole
    }


def _stages(name: str, fields: Pairs) -> list[str]:
    return list(BACKBONES[name](**dict(fields)).backbone.strides)
