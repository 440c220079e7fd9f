"""Where a run begins: what its config takes over from there, and what its run.json keeps of it."""

from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from vocjax.errors import UserError, did_you_mean, local_path
from vocjax.models.backbones import BACKBONES
from vocjax.models.backbones.preprocessing import IDENTITY
from vocjax.pretrained.fetch import fetch_weights, place_of
from vocjax.pretrained.published import PUBLISHED
from vocjax.pretrained.store import is_imported, read_imported
from vocjax.runs import places
from vocjax.runs.fingerprint import fingerprint_of
from vocjax.runs.reader import is_run, lookup, read_config, read_epochs, read_provenance

Pairs = tuple[tuple[str, Any], ...]  # (name, value) of each field of a network


def complete(config: ConfigDict, workdir: Path | None = None) -> ConfigDict:
    """Return a config whose `model.backbone` agrees with the weights of `init_from`.

    The weights give the name, `fields` and `preprocessing`, `last` where they end at a stage, and
    the small stem of a run that has it. Of `fields`, the config keeps those that the weights do not
    have, as the padding of Xception. A config without backbone, without `init_from`, or with that
    of a run without backbone, stays as it is. If what `init_from` names is gone since the run in
    `workdir` began with it, the config of that run is used instead. Published weights that are not
    in the cache are fetched.

    Raises `UserError` if `init_from` has another backbone, or damaged weights; if the config asks
    for a field, a preprocessing or a last stage that they do not have; and if `init_from` has
    nothing and the backbone has no name. A config with a name may begin from a run that is made
    later.
    """
    if "backbone" not in config.model or not config.init_from:
        return config
    origin = origin_of(config, workdir)
    found = described(origin)
    if not found and workdir and is_run(workdir):
        found = described(workdir) if read_config(workdir).init_from == config.init_from else {}
    if not found and origin != local_path(config.init_from) and config.init_from in PUBLISHED:
        found = described(fetch_weights(config.init_from))
    if not found:
        if not config.model.backbone.name:
            check_origin(origin)
        return config
    completed = config.copy_and_resolve_references()
    backbone = completed.model.backbone
    if backbone.name not in ("", found["name"]):
        raise UserError(
            f"model.backbone.name is {backbone.name!r}, and {origin} has weights of "
            f"{found['name']}; set it to that, or init_from to weights of {backbone.name}."
        )
    end, stages = found["last"], _stages(found["name"], found["fields"])
    if end and backbone.last in stages[stages.index(end) + 1 :]:
        raise UserError(
            f"model.backbone.last is {backbone.last!r}, and the weights in {origin} end at "
            f"{end!r}: the stages after it would be drawn anew. Set it to a stage up to that, or "
            "leave it out."
        )
    _check_preprocessing(backbone.preprocessing.to_dict(), found["preprocessing"], origin)
    backbone.name, backbone.last = found["name"], backbone.last or found["last"]
    if found["stem"] == "small":
        backbone.stem = "small"
    backbone.fields = _with_fields(backbone.fields, found["fields"], origin)
    backbone.preprocessing.update(found["preprocessing"])
    return completed


def origin_of(config: ConfigDict, workdir: Path | None = None) -> Path:
    """Return where the weights or the run of `init_from` are: in the cache, or as `places` says."""
    named = local_path(config.init_from)
    cached = place_of(named)
    return cached if cached != named else places.find(workdir or Path(), config, "init_from")


def located(config: ConfigDict, workdir: Path | None = None) -> ConfigDict:
    """Return a config whose `init_from`, if it has one, is the path of `origin_of`."""
    if not config.init_from:
        return config
    found = config.copy_and_resolve_references()
    found.init_from = str(origin_of(config, workdir))
    return found


def check_origin(origin: Path) -> None:
    """Raise `UserError` unless a directory has imported weights or a run."""
    if is_imported(origin) or is_run(origin):
        return
    raise UserError(
        f"{origin} has neither imported weights (no weights.json) nor a run (no config.json). Make "
        f"it with `vocjax weights import --backbone NAME FILE --output {origin}` or "
        f"`vocjax train --config FILE --workdir {origin}`, or name another directory, or published "
        f"weights: {', '.join(PUBLISHED)}.{did_you_mean(origin.name, PUBLISHED)}"
    )


def origin_facts(origin: Path) -> dict[str, Any]:
    """Return what a run keeps of the weights or the run where it began; `UserError` for damage."""
    if is_imported(origin):
        weights = read_imported(origin)
        return {"backbone": weights.backbone, "source": weights.source, "file": weights.file}
    made, epochs = read_provenance(origin), read_epochs(origin)
    return {
        "commit": made.get("commit"),
        "seed": made.get("seed"),
        "fingerprint": lookup(made, "dataset", "fingerprint"),
        "step": epochs[-1]["step"] if epochs else 0,
        "run": fingerprint_of(origin),
    }


def described(origin: Path) -> dict[str, Any]:
    """Return the `model.backbone` of imported weights or a run; {} if there is none."""
    if is_imported(origin):
        return _of_weights(origin)
    model = read_config(origin).model if is_run(origin) else {}
    return model["backbone"].to_dict() if "backbone" in model else {}


def _with_fields(ours: Pairs, theirs: Pairs, origin: Path) -> Pairs:
    """Return the weights' fields and, after them, those that only the config has."""
    fixed = dict(theirs)
    try:
        chosen = dict(ours)
    except (TypeError, ValueError) as error:
        raise UserError(
            f"model.backbone.fields is {ours!r}; it is (name, value) pairs, for instance "
            "(('padding', 'same'),)."
        ) from error
    for name, value in fixed.items():
        if chosen.get(name, value) != value:
            raise UserError(
                f"model.backbone.fields has {name} {chosen[name]!r}, and the weights in {origin} "
                f"were trained with {name} {value!r}; set it to that, or leave it out."
            )
    return tuple((fixed | chosen).items())


def _check_preprocessing(ours: dict[str, Any], theirs: dict[str, Any], origin: Path) -> None:
    """Raise `UserError` for a chosen preprocessing that is not the weights'."""
    if ours in (IDENTITY._asdict(), theirs):
        return
    differing = [name for name, value in theirs.items() if ours.get(name) != value]
    has, expected = (
        ", ".join(f"{name} {values.get(name)!r}" for name in differing) for values in (ours, theirs)
    )
    raise UserError(
        f"model.backbone.preprocessing has {has}, and the weights in {origin} were trained with "
        f"{expected}; leave it out, it comes with the weights. If it is not that of their file, "
        "import it again and say so: --mean, --std, --channels and --scale prevail."
    )


def _of_weights(origin: Path) -> dict[str, Any]:
    imported = read_imported(origin)
    fields = tuple(sorted(imported.fields.items()))
    stages = _stages(imported.backbone, fields)
    parts = {path.split("/")[1] for path in imported.skipped if path.startswith("backbone/")}
    first = next((i for i, stage in enumerate(stages) if stage in parts), None)
    if first == 0:
        raise UserError(
            f"the weights in {origin} can't begin a run: the import skipped parts of {stages[0]}, "
            f"the first stage of {imported.backbone}, and the later stages need it. Import weights "
            "that have it."
        )
    return {
        "name": imported.backbone,
        "stem": "imagenet",  # a run may take another one: its parameters have the same shapes
        "fields": fields,
        "preprocessing": imported.preprocessing._asdict(),
        "last": stages[first - 1] if first else "",  # the last stage that is whole
    }


def _stages(name: str, fields: Pairs) -> list[str]:
    return list(BACKBONES[name](**dict(fields)).backbone.strides)
