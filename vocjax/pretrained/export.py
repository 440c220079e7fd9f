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
from vocjax.pretrained.store import is_imported, read_imported, sources_of
from vocjax.runs.reader import read_config
from vocjax.runs.restore import load_run

ENCODER = "encoder/"  # the path of a run's backbone begins with it


class Weights(NamedTuple):
    """Weights to export, in our layout by our path; or exported, in the source's by its names.

    - `backbone` and `fields` make the network;
    - `source`: one of `SOURCES[backbone]`; empty for those of a run that are not exported yet;
    - `preprocessing`: of the weights, which can differ from the source's usual one;
    - `arrays`: float32.
    """

    backbone: str
    fields: Mapping[str, Any]
    source: str
    preprocessing: Preprocessing
    arrays: Arrays


def export_weights(directory: Path, output: Path, source: str = "") -> Weights:
    """Write a backbone's arrays under foreign names; `import_weights` reads them, too.

    Args:
      directory: imported weights, or a run whose config has `model.backbone`: its backbone in the
        last checkpoint, without the task's head.
      output: a `.npz` or `.safetensors` file. Keras's arrays are named "layer/weight" in it.
        Darknet has no names; its arrays are named by layer and field, "0/biases".
      source: of the names, one of `SOURCES` whose network computes the same. If empty, that of the
        imported weights or, of a run, the first (one with the run's preprocessing, if there is).

    Raises:
      UserError: `directory` is neither of the two, `source` is another network's, or `output` can't
        be written.
    """
    weights = _of_imported(directory) if is_imported(directory) else _of_run(directory)
    network = BACKBONES[weights.backbone](**weights.fields)
    name = fitting_source(weights, network, source)
    arrays = restore_names(weights.arrays, sources_of(weights.backbone)[name].key_map(network))
    write(output, arrays)
    return weights._replace(source=name, arrays=arrays)


def _of_imported(directory: Path) -> Weights:
    imported = read_imported(directory)
    return Weights(*(getattr(imported, field) for field in Weights._fields))


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
    """Return the source to export under: `source`, or one whose network computes the same.

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

    def is_alike(name: str) -> bool:
        return sources[name].preprocessing == weights.preprocessing

    return source or weights.source or max(fitting, key=is_alike)
