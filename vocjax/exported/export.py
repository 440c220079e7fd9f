"""A trained run as a folder for other programs: the model's file, `config.json` and a card."""

import json
import tempfile
from pathlib import Path
from typing import Any

import jax
import numpy as np
from ml_collections import ConfigDict

from vocjax.config import base_config, to_json
from vocjax.errors import UserError, check_choice
from vocjax.exported.card import card
from vocjax.exported.formats import FORMATS, Content, Format, check_installed
from vocjax.exported.function import INPUTS, facts_of, function_of
from vocjax.exported.load import FACTS, read
from vocjax.files import write_json, write_text
from vocjax.mesh import make_mesh
from vocjax.models.fields import image_shape
from vocjax.pretrained.resolve import origin_of
from vocjax.runs.reader import is_run, read_config, read_provenance, read_results, results_of
from vocjax.runs.restore import load_run
from vocjax.tasks import make_task

TOLERANCE = 1e-4  # of an output's largest value, at least of 1


def export(
    workdir: Path,
    output: Path,
    name: str = "safetensors",
    checkpoint: str = "last",
    dtype: str = "uint8",
) -> dict[str, Any]:
    """Write a finished run in a format of `FORMATS`; return what its config.json says.

    The file is read again and compared with the run on random images before the folder appears,
    whole or not at all. `dtype` is that of the images that a function takes: "uint8", or "float32"
    in [0, 1].

    Raises `UserError` for another format, for what is no finished run, for an `output` that is not
    free, and where the network has no form in the format.
    """
    check_choice("--format", name, FORMATS)
    check_choice("--input", dtype, INPUTS)
    check_installed(name)
    if output.exists() and not (output.is_dir() and not any(output.iterdir())):
        raise UserError(f"{output} exists and is not empty; give another --output folder.")
    config = read_config(workdir)
    _check_own(config, name)
    if read_results(workdir) is None:
        raise UserError(
            f"{workdir} is not finished (no results.json): continue its `vocjax train`, then "
            "export it."
        )
    config, task, variables, step = load_run(workdir, make_mesh(), checkpoint)
    if name == "onnx" and config.precision != "float32":  # onnxruntime has no other on a CPU
        config = config.copy_and_resolve_references()
        config.precision = "float32"
        task = make_task(config)
    variables, results = jax.device_get(variables), results_of(workdir, checkpoint, step)
    function = function_of(config, task, variables, results)
    images = jax.ShapeDtypeStruct((1, *image_shape(config)), dtype)
    facts = {
        "library_name": "vocjax",
        "format": name,
        "checkpoint": checkpoint,
        "step": step,
        **facts_of(config, dtype, jax.eval_shape(function, images), results),
        "results": _figures(results),
        "training": _training(workdir, config),
        "config": _portable(config),
    }
    content = Content(function, variables, facts)
    _write(output, name, content, lambda read: function_of(config, task, read, results))
    return facts


def _check_own(config: ConfigDict, name: str) -> None:
    own = [f for f in ("model", "loss") if ":" in config[f].name]
    if own and name == "safetensors":
        field = own[0]
        raise UserError(
            f"{field}.name is {config[field].name!r}, a function of yours, which a folder of "
            "weights does not hold. Export with --format stablehlo or onnx, which hold the "
            "computation."
        )


def _figures(results: dict[str, Any]) -> dict[str, Any]:
    """Return {split: {metric: value}} and the threshold of what is known of a checkpoint."""
    kept = {key: results[key] for key in ("train", "val", "threshold") if key in results}
    return kept | ({results["split"]: results["metrics"]} if "split" in results else {})


def _training(workdir: Path, config: ConfigDict) -> dict[str, Any]:
    made = read_provenance(workdir)
    return {
        "name": config.name,
        "dataset": made.get("dataset"),
        "images": made.get("images"),
        "parameters": made.get("parameters"),
        "seed": config.seed,
        "epochs": config.epochs,
        "commit": made.get("commit"),
        "versions": made.get("versions"),
        "began_from": _origin(workdir, config),
    }


def _origin(workdir: Path, config: ConfigDict) -> dict[str, Any] | None:
    """Return what is known of the published weights where a run, or its origin, began.

    None where it began from scratch; without a `source` where its origin is gone.
    """
    begun = read_provenance(workdir).get("init_from")
    if not begun or "source" in begun:
        return begun or None
    origin = origin_of(config, workdir)
    return _origin(origin, read_config(origin)) if is_run(origin) else begun


def _portable(config: ConfigDict) -> dict[str, Any]:
    """Return a config as JSON without paths of the machine where it was trained."""
    portable = config.copy_and_resolve_references()
    portable.data.data_dir, portable.init_from = base_config().data.data_dir, ""
    return json.loads(to_json(portable))


def _write(output: Path, name: str, content: Content, function_of_variables: Any) -> None:
    kind, place = FORMATS[name], output.resolve()
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(".part", f"{place.name}.", place.parent) as folder:
            new = Path(folder) / "new"
            new.mkdir()
            _write_file(new / kind.file, kind, content)
            found = read(new / kind.file, kind)
            check_equal(found if callable(found) else function_of_variables(found), content, name)
            write_json(new / FACTS, content.facts)
            write_text(new / "README.md", card(content.facts))
            new.rename(place)  # an empty folder gives way
    except OSError as error:
        raise UserError(
            f"{output} can't be written ({error.strerror or error}); give another --output folder."
        ) from error


def _write_file(path: Path, kind: Format, content: Content) -> None:
    try:
        kind.write(path, content)
    except UserError:
        raise
    except Exception as error:  # what a network of the user's can raise while it is traced
        if ":" not in content.facts["architecture"]:
            raise
        reason = " ".join(str(error).split())[:300]
        raise UserError(
            f"{content.facts['architecture']} can't be traced for batches of any size: {reason}. "
            "Write images.shape[0] for len(images), and let no shape depend on its value."
        ) from error


def check_equal(function: Any, content: Content, name: str) -> None:
    """Raise `UserError` unless a function gives what the run does, on two random images.

    A mask is decided by the probability, where the last digit can turn a pixel.
    """
    _, *shape = content.facts["input"]["shape"]
    images = np.random.default_rng(0).integers(0, 256, (2, *shape), np.uint8)
    if content.facts["input"]["dtype"] == "float32":
        images = images.astype(np.float32) / 255
    expected, found = jax.jit(content.function)(images), function(images)
    for output in expected.keys() - {"mask"}:
        want = np.asarray(expected[output])
        error = np.abs(want - np.asarray(found[output])).max(initial=0)
        if not error <= TOLERANCE * max(1, np.abs(want).max(initial=0)):
            raise UserError(
                f"as {name} the network gives another {output} than the run, by up to "
                f"{error:.2g}; nothing is written. Export it in another format, and open an issue "
                "with the run's config.json."
            )
