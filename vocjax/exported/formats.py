"""The files of an exported model: each written from a run's function, and read to be run again."""

import importlib.util
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict

from vocjax.errors import UserError
from vocjax.exported.function import Function
from vocjax.pretrained import formats
from vocjax.pretrained.formats import safetensors
from vocjax.tasks.task import Outputs, Variables

PLATFORMS = ("cpu", "cuda", "tpu")


class Content(NamedTuple):
    """What a file is made of."""

    function: Function
    variables: Variables
    facts: Mapping[str, Any]  # those of `function.facts_of`, and more


class Format(NamedTuple):
    """A file's name, what writes it, what reads it, and the packages that both need.

    A format is read as variables, or as a function from uint8 or float32 images, as the facts say.
    """

    file: str
    write: Callable[[Path, Content], None]
    read: Callable[[Path], Variables | Callable[[np.ndarray], Outputs]]
    packages: tuple[str, ...] = ()


def check_installed(name: str) -> None:
    """Raise `UserError` where a format's packages are not there."""
    lacking = [p for p in FORMATS[name].packages if importlib.util.find_spec(p) is None]
    if lacking:
        raise UserError(
            f"the format {name} needs {' and '.join(lacking)}: `pip install {' '.join(lacking)}` "
            f"(or `pip install '.[{name}]'` in a checkout)."
        )


def _texts(facts: Mapping[str, Any]) -> dict[str, str]:
    """Return facts as a file's metadata, which are texts: JSON for all but texts."""
    return {key: of if isinstance(of, str) else json.dumps(of) for key, of in facts.items()}


def _write_safetensors(path: Path, content: Content) -> None:
    arrays = {
        name: np.asarray(leaf) for name, leaf in flatten_dict(content.variables, sep="/").items()
    }
    with path.open("wb") as file:
        safetensors.write(file, arrays, _texts(content.facts) | {"format": "flax"})


def _read_safetensors(path: Path) -> Variables:
    return {"params": {}, "batch_stats": {}} | unflatten_dict(formats.read(path), sep="/")


def _write_stablehlo(path: Path, content: Content) -> None:
    _, *image = content.facts["input"]["shape"]
    shape = jax.export.symbolic_shape(", ".join(["batch", *map(str, image)]))
    images = jax.ShapeDtypeStruct(shape, content.facts["input"]["dtype"])
    exported = jax.export.export(jax.jit(content.function), platforms=PLATFORMS)(images)
    path.write_bytes(exported.serialize())


def _read_stablehlo(path: Path) -> Callable[[np.ndarray], Outputs]:
    return jax.jit(jax.export.deserialize(bytearray(path.read_bytes())).call)


def _write_onnx(path: Path, content: Content) -> None:
    from vocjax.exported.onnx_graph import to_onnx

    _, *image = content.facts["input"]["shape"]
    dtype, texts = content.facts["input"]["dtype"], _texts(content.facts)
    path.write_bytes(to_onnx(content.function, tuple(image), dtype, texts).SerializeToString())


def _read_onnx(path: Path) -> Callable[[np.ndarray], Outputs]:
    import onnxruntime

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return lambda images: dict(
        zip(names, session.run(names, {"images": np.asarray(images)}), strict=True)
    )


FORMATS: Mapping[str, Format] = {
    "safetensors": Format("model.safetensors", _write_safetensors, _read_safetensors),
    "stablehlo": Format(
        "model.stablehlo", _write_stablehlo, _read_stablehlo, packages=("flatbuffers",)
    ),
    "onnx": Format("model.onnx", _write_onnx, _read_onnx, packages=("onnx", "onnxruntime")),
}
