"""A trained run taken elsewhere and used from Python."""

import contextlib
import io
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

import vocjax
from vocjax import cli
from vocjax.errors import UserError
from vocjax.runs.reader import read_config
from vocjax.runs.restore import latent_space_of
from vocjax.training.loop import train_and_evaluate

WITH_PICTURES = ["autoencoder_256", "segmentation_dice"]

IN_PYTHON = """
import json, sys
import vocjax
assert "jax" not in sys.modules
model = vocjax.load("moved")
print(json.dumps(model.predict(sys.argv[1:])))
import jax
assert jax.device_count() == 8
"""


@pytest.fixture(scope="module")
def arrays():
    """Ten photos of odd sizes, more than a batch."""
    rng = np.random.default_rng(0)
    return [rng.integers(0, 256, (20 + i, 41 - i, 3), np.uint8) for i in range(10)]


@pytest.fixture(scope="module")
def files(arrays, tmp_path_factory):
    folder = tmp_path_factory.mktemp("photos")
    paths = [folder / f"{i}.png" for i in range(len(arrays))]
    for path, array in zip(paths, arrays, strict=True):
        Image.fromarray(array).save(path)
    return paths


def predict_in_a_shell(run, files, output):
    assert cli.main(["predict", "--workdir", str(run), *map(str, files), "--output", output]) == 0
    return list(json.loads((Path(output) / "predictions.json").read_text()).values())


class Taken(NamedTuple):
    run: Path
    results: dict
    printed: list
    said: list


@pytest.fixture(scope="module")
def taken(finished_run, tiny_config, toy_dir, files, tmp_path_factory):
    """A run whose data, autoencoder and folder are gone, and what predict said of it there."""
    home, away = tmp_path_factory.mktemp("home"), tmp_path_factory.mktemp("away")
    shutil.copytree(toy_dir, home / "data")
    shutil.copytree(finished_run("autoencoder_256"), home / "ae")
    config = tiny_config(
        "classifier_256",
        **{
            "data.data_dir": str(home / "data"),
            "init_from": str(home / "ae"),
            "evaluate_every_epochs": 1,
            "best.mode": "max",  # the first of two epochs has the larger loss
        },
    )
    results = train_and_evaluate(config, home / "run")
    with contextlib.redirect_stdout(io.StringIO()) as out:
        said = predict_in_a_shell(home / "run", files, str(home / "said"))
    shutil.move(home / "run", away / "moved")
    shutil.rmtree(home)
    return Taken(away / "moved", results, out.getvalue().splitlines(), said)


def test_a_run_taken_to_another_machine_gives_what_predict_printed(taken, files, child_environment):
    flags = os.environ["XLA_FLAGS"] + " --xla_force_host_platform_device_count=8"
    done = subprocess.run(
        [sys.executable, "-c", IN_PYTHON, *map(str, files)],
        cwd=taken.run.parent,
        env=child_environment(XLA_FLAGS=flags, JAX_PLATFORMS="cpu"),
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    answers = json.loads(done.stdout)
    assert len({of["dog"] for of in answers}) == len(answers) == len(files)
    printed = taken.printed[: len(files)]
    for file, line, ours, theirs in zip(files, printed, answers, taken.said, strict=True):
        assert line == f"{file} aeroplane {ours['aeroplane']:.4f} dog {ours['dog']:.4f}"
        assert ours == pytest.approx(theirs, rel=1e-6)


@pytest.mark.parametrize("name", WITH_PICTURES)
def test_files_paths_and_arrays_give_the_numbers_of_the_command_line(
    finished_run, arrays, files, tmp_path, name
):
    run = finished_run(name)
    kept = predict_in_a_shell(run, files, str(tmp_path / "said"))
    model = vocjax.load(str(run))
    assert model.predict(map(str, files)) == kept
    assert model.predict([files[0], *arrays[1:]]) == kept
    assert model.predict([]) == []


def test_outputs_are_those_of_the_task_for_any_number_of_images(finished_run):
    model = vocjax.load(finished_run("segmentation_dice"))
    images = np.random.default_rng(0).random((19, 16, 16, 1), np.float32)
    batch = {"image": jnp.asarray(images), "valid": jnp.ones(19)}
    apply = jax.jit(
        lambda batch: model.task.apply(model.variables, batch, False, jax.random.key(1))
    )
    expected, _ = apply(batch)
    outputs = model.outputs(images)
    assert outputs.keys() == expected.keys()
    for name, value in expected.items():
        np.testing.assert_allclose(outputs[name], value, rtol=1e-5, atol=1e-6)
    for n in (0, 1, 8, 9):
        some = model.outputs(images[:n])["logits"]
        assert some.shape == (n, *outputs["logits"].shape[1:])
        np.testing.assert_allclose(some, outputs["logits"][:n], rtol=1e-5, atol=1e-6)


def test_last_and_best_checkpoint(taken):
    run, results = taken.run, taken.results
    assert (results["best"]["epoch"], results["step"]) == (1, 4)
    assert vocjax.load(run).step == vocjax.load(str(run), "last").step == 4
    assert vocjax.load(run, checkpoint="best").step == 2
    with pytest.raises(UserError, match=r"checkpoint is 'frist'; it is one of last, best"):
        vocjax.load(run, "frist")
    with pytest.raises(UserError, match=r"holds no run \(no config.json\)"):
        vocjax.load(str(run.parent))


def test_an_image_that_is_none_is_refused(taken, files, tmp_path):
    model = vocjax.load(taken.run)
    text, missing = tmp_path / "text.png", tmp_path / "missing.jpg"
    text.write_text("no image")
    for path, message in ((text, "can't be read as an image"), (missing, "can't be opened")):
        with pytest.raises(UserError, match=f"{path}: the file {message}"):
            model.predict([files[0], str(path)])
    grey, floats = np.zeros((9, 9), np.uint8), np.zeros((9, 9, 3), np.float32)
    for array in (grey, floats, grey[..., None], np.zeros((0, 9, 3), np.uint8)):
        with pytest.raises(UserError, match=r"an image is .*must be a file's path or an array uin"):
            model.predict([array])
    for path in (files[0], str(files[0])):
        with pytest.raises(UserError, match=r"takes a list of images; for one, give \['.*png'\]"):
            model.predict(path)
    for images in (np.zeros((2, 16, 16, 3), np.uint8), np.zeros((2, 9, 16, 3), np.float32)):
        with pytest.raises(UserError, match=r"this model takes float32 \(n, 16, 16, 3\) in \[0, 1"):
            model.outputs(images)


def test_what_an_older_run_lacks_has_the_old_value(taken, arrays, tmp_path):
    run, older = taken.run, tmp_path / "older"
    shutil.copytree(run, older)
    config = json.loads((run / "config.json").read_text())
    del config["precision"], config["best"]["metric"], config["data"]["augment"]
    (older / "config.json").write_text(json.dumps(config))
    assert read_config(older) == read_config(run)
    with pytest.raises(AttributeError):
        read_config(older).data.augment.zooom = 1.0
    assert vocjax.load(older).predict(arrays) == taken.said


@pytest.mark.parametrize(
    "text",
    ["", '{"seed": ', "[1, 2]", "3", '{"epochs": "ten"}', '{"data": 3}', '{"name": {"a": 1}}'],
)
def test_a_config_that_is_damaged_is_named(text, tmp_path):
    (tmp_path / "config.json").write_text(text)
    with pytest.raises(UserError, match=r"config.json is damaged: .*Restore it, or train again"):
        read_config(tmp_path)


def test_codes_of_a_run_decode_to_the_images_that_it_outputs(finished_run):
    run = finished_run("autoencoder_convolutional")
    images = np.random.default_rng(0).random((3, 16, 16, 3), np.float32)
    _, space = latent_space_of(run)
    codes = space.encode(jnp.asarray(images))
    assert codes.shape == (3, 2 * 2 * 2)
    outputs = vocjax.load(run).outputs(images)
    np.testing.assert_allclose(outputs["code"].reshape(3, -1), codes, rtol=1e-4, atol=1e-5)
    decoded = space.decode(codes).clip(0, 1)
    np.testing.assert_allclose(outputs["image"], decoded, rtol=1e-4, atol=1e-5)
