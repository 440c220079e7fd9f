"""A backbone's weights under the names that other libraries have for them."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from vocjax.errors import UserError
from vocjax.mesh import make_mesh
from vocjax.models.backbones import BACKBONES
from vocjax.models.backbones.heads import Network
from vocjax.models.backbones.preprocessing import Preprocessing
from vocjax.pretrained.formats import write
from vocjax.pretrained.matching import Arrays, flatten, restore_names
from vocjax.pretrained.resolve import check_origin
from vocjax.pretrained.store import is_imported, read_fitting, sources_of
from vocjax.runs.reader import read_config
from vocjax.runs.restore import load_run

ENCODER = "encoder/"  # the path of a run's backbone begins with it


class Weights(NamedTuple):
    """Weights to export, in our layout by our path; or exported, in the source's by its names."""

    backbone: str
    fields: Mapping[str, Any]
    source: str  # one of `SOURCES[backbone]`; empty for those of a run that are not exported yet
    preprocessing: Preprocessing  # of the weights: the source's usual one may be another
    arrays: Arrays  # float32


def export_weights(directory: Path, output: Path, source: str = "") -> Weights:
    """Write a backbone's arrays under foreign names; `import_weights` reads them, too.

    `directory` has imported weights, or a run whose config has `model.backbone`: its backbone in
    the last checkpoint, without the task's head. `output` is a `.npz` or `.safetensors` file, in
    which Keras's arrays are named "layer/weight", and Darknet's by layer and field, "0/biases".
    `source` as in `fitting_source`.

    Raises `UserError` if `directory` has neither, `source` does not fit, or `output` can't be
    written.
    """
    if is_imported(directory):
        imported = read_fitting(directory)
        weights = Weights(*(getattr(imported, field) for field in Weights._fields))
    else:
        weights = _of_run(directory)
    network = BACKBONES[weights.backbone](**weights.fields)
    name = fitting_source(weights, network, source)
    arrays = restore_names(weights.arrays, sources_of(weights.backbone)[name].key_map(network))
    write(output, arrays)
    return weights._replace(source=name, arrays=arrays)


def _of_run(workdir: Path) -> Weights:
    check_origin(workdir)
    model = read_config(workdir).model
    if not (backbone := model.get("backbone")):
        raise UserError(
            f"{workdir} is a run without a backbone (model.name is {model.name!r}): no other "
            "library has names for its parameters. Give imported weights, or a run whose config "
            "has model.backbone."
        )
    arrays = {
        path.removeprefix(ENCODER): np.asarray(leaf)
        for path, leaf in flatten(load_run(workdir, make_mesh()).variables).items()
        if path.startswith(f"{ENCODER}backbone/")
    }
    preprocessing = Preprocessing(**backbone.preprocessing)
    return Weights(backbone.name, dict(backbone.fields), "", preprocessing, arrays)


def fitting_source(weights: Weights, network: Network, source: str = "") -> str:
    """Return the source to export under, whose network computes the same.

    If `source` is empty, it is the one that imported weights came with or, of a run, the first (one
    with the run's preprocessing, if there is).

    Raises `UserError` if `source`, or every source, is of a network that computes something else.
    """
    sources = sources_of(weights.backbone, source)
    fitting = [
        name
        for name, (_, _, fields) in sources.items()
        if all(getattr(network.backbone, field) == value for field, value in fields.items())
    ]
    if not fitting or (source and source not in fitting):
        others = source or " or ".join(sources)
        fields = dict.fromkeys(field for known in sources.values() for field in known.fields)
        has = ", ".join(f"{field} {getattr(network.backbone, field)!r}" for field in fields)
        raise UserError(
            f"this {weights.backbone} has {has}, and under the names of {others} the same numbers "
            "are those of a network that computes something else. Sources that fit: "
            f"{', '.join(fitting) or 'none, so that it can not be exported'}."
        )

    alike = {name: sources[name].preprocessing == weights.preprocessing for name in fitting}
    return source or weights.source or max(fitting, key=alike.__getitem__)
