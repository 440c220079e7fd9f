"""A backbone's weights under the names that others have for them."""

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
from vocjax.pretrained.store import is_imported, read_imported, sources_of
from vocjax.runs.reader import read_config
from vocjax.runs.restore import load_run

ENCODER = "encoder/"  # under which a run has its backbone


class Exported(NamedTuple):
    """Weights as they were written.

    - `backbone` and `source`, of `SOURCES[backbone]`;
    - `preprocessing`: what the weights want, which need not be that of the source's own;
    - `arrays`: float32, in the source's layout by its names.
    """

    backbone: str
    source: str
    preprocessing: Preprocessing
    arrays: Arrays


class _Weights(NamedTuple):
    """What can be exported, in our layout by our path; `source` is empty where none is its own."""

    backbone: str
    fields: Mapping[str, Any]
    source: str
    preprocessing: Preprocessing
    arrays: Arrays


def export_weights(directory: Path, output: Path, source: str = "") -> Exported:
    """Write a backbone's arrays under foreign names, so that `import_weights` reads them, too.

    Args:
      directory: imported weights, or a run whose config has `model.backbone`: of this the backbone,
        as its last checkpoint has it, without the task's head.
      output: a `.npz` or `.safetensors` file, in which Keras's arrays are named "layer/weight" and
        Darknet's, which have none, by layer and field: "0/biases".
      source: of the names, one of `SOURCES` whose network computes the same; empty for that of the
        imported weights or, of a run, the first (with the run's pre-processing, if there is one).

    Raises:
      UserError: `directory` is neither of the two, `source` is another network's, or `output` can't
        be written.
    """
    weights = _of_imported(directory) if is_imported(directory) else _of_run(directory)
    network = BACKBONES[weights.backbone](**weights.fields)
    name = _fitting(weights, network, source)
    table = sources_of(weights.backbone)[name].key_map(network)
    arrays = restore_names(weights.arrays, table)
    write(output, arrays)
    return Exported(weights.backbone, name, weights.preprocessing, arrays)


def _of_imported(directory: Path) -> _Weights:
    told = read_imported(directory)
    return _Weights(told.backbone, told.fields, told.source, told.preprocessing, told.arrays)


def _of_run(workdir: Path) -> _Weights:
    if not (workdir / "config.json").is_file():
        raise UserError(
            f"{workdir} holds neither imported weights (no weights.json) nor a run (no "
            "config.json). Give the --output of a `vocjax weights import`, or the --workdir of a "
            "`vocjax train` with a backbone."
        )
    model = read_config(workdir).model
    if not (backbone := model.get("backbone")):
        raise UserError(
            f"{workdir} is a run without a backbone (model.name is {model.name!r}): nobody else "
            "has names for its parameters. What can be exported are imported weights, and runs "
            "whose config has model.backbone."
        )
    variables = flatten(load_run(workdir, make_mesh()).variables)
    return _Weights(
        backbone.name,
        dict(backbone.fields),
        "",
        Preprocessing(**backbone.preprocessing),
        {
            path.removeprefix(ENCODER): np.asarray(leaf)
            for path, leaf in variables.items()
            if path.startswith(f"{ENCODER}backbone/")
        },
    )


def _fitting(weights: _Weights, network: Network, source: str) -> str:
    """Return the source to export under: the one asked for, or one whose network is the same."""
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
