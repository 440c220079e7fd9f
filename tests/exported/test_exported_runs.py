"""Runs written for other programs, and what these programs and `vocjax.load` make of them."""

import json
import re
import shutil
import subprocess
import sys

import numpy as np
import onnxruntime
import pytest
import yaml
from PIL import Image
from safetensors import safe_open

import vocjax
from vocjax import cli
from vocjax.data import voc
from vocjax.data.frame import FITS, PAD, SQUASH
from vocjax.data.photo import read_photo
from vocjax.data.pipeline import fit_image
from vocjax.errors import UserError
from vocjax.exported import formats
from vocjax.exported.card import card
from vocjax.exported.export import check_equal, export
from vocjax.exported.formats import FORMATS, Content

RUNS = ("pca", "classifier_256", "segmentation_dice")
WITH_JAX_ALONE = """
import sys


class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("vocjax", "flax", "optax", "orbax", "ml_collections"):
            raise ImportError(f"{name} is not here")


sys.meta_path.insert(0, Blocked())
import jax
import numpy as np

with open(sys.argv[1], "rb") as file:
    function = jax.export.deserialize(bytearray(file.read()))
assert function.platforms == ("cpu", "cuda", "tpu")
np.savez(sys.argv[3], **function.call(np.load(sys.argv[2])))
"""


@pytest.fixture(scope="module")
def exported(finished_run, made_once):
    """`exported(run, format)` is the folder of an exported run; to be read, not written."""

    def make(run, name):
        def fill(folder):
            arguments = ["export", str(finished_run(run)), "--format", name]
            assert cli.main([*arguments, "--output", str(folder)]) == 0

        return made_once(f"{run}_{name}", fill)

    return make


@pytest.fixture(scope="module")
def photos(toy_dir):
    """Three toy images at their own size, and one of random pixels."""
    examples = voc.load("toy", toy_dir).examples
    noise = np.random.default_rng(0).integers(0, 256, (40, 31, 3), np.uint8)
    return [*(examples[i]["image"] for i in range(3)), noise]


def inputs_of(facts, photos, fit=SQUASH):
    _, *size, channels = facts["input"]["shape"]
    return np.stack([fit_image(photo, tuple(size), channels, fit) for photo in photos])


def read_facts(folder):
    return json.loads((folder / "config.json").read_text())


def front_matter(folder):
    _, metadata, text = (folder / "README.md").read_text().split("---\n", 2)
    return yaml.safe_load(metadata), text


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("run", RUNS)
def test_an_exported_model_predicts_what_its_run_does(run, name, exported, finished_run, photos):
    folder = exported(run, name)
    assert {path.name for path in folder.iterdir()} == {
        "README.md",
        "config.json",
        FORMATS[name].file,
    }
    expected, found = vocjax.load(finished_run(run)), vocjax.load(folder)
    assert found.step == expected.step
    for one, other in zip(expected.predict(photos), found.predict(photos), strict=True):
        assert one == pytest.approx(other, abs=1e-5)


@pytest.mark.parametrize("run", RUNS)
def test_onnxruntime_computes_what_the_run_does(run, exported, finished_run, photos):
    folder = exported(run, "onnx")
    session = onnxruntime.InferenceSession(folder / "model.onnx")
    facts, names = read_facts(folder), [output.name for output in session.get_outputs()]
    assert names == list(facts["outputs"])
    model = vocjax.load(finished_run(run))
    for images in (inputs_of(facts, photos), inputs_of(facts, photos[:1])):
        expected = model.outputs(images.astype(np.float32) / 255)
        found = dict(zip(names, session.run(names, {"images": images}), strict=True))
        for output, values in expected.items():
            np.testing.assert_allclose(found[output], values, atol=1e-4)
    texts = session.get_modelmeta().custom_metadata_map
    assert json.loads(texts["preprocessing"]) == facts["preprocessing"]
    assert json.loads(texts.get("classes", "null")) == facts.get("classes")


def test_stablehlo_runs_with_jax_alone(exported, finished_run, photos, tmp_path, child_environment):
    folder = exported("pca", "stablehlo")
    images = inputs_of(read_facts(folder), photos)
    np.save(tmp_path / "images.npy", images)
    paths = [folder / "model.stablehlo", tmp_path / "images.npy", tmp_path / "found.npz"]
    command = [sys.executable, "-c", WITH_JAX_ALONE, *map(str, paths)]
    made = subprocess.run(
        command, cwd=tmp_path, env=child_environment(PYTHONPATH=""), capture_output=True, text=True
    )
    assert made.returncode == 0, made.stderr
    expected = vocjax.load(finished_run("pca")).outputs(images.astype(np.float32) / 255)
    with np.load(paths[2]) as found:
        assert set(found) == {"image", "code"}
        for output, values in expected.items():
            np.testing.assert_allclose(found[output], values, atol=1e-5)


def test_the_mask_is_decided_at_the_threshold_that_the_run_chose(exported, finished_run, photos):
    folder = exported("segmentation_dice", "onnx")
    facts = read_facts(folder)
    chosen = json.loads((finished_run("segmentation_dice") / "results.json").read_text())
    assert facts["threshold"] == chosen["threshold"] != 0.5
    images = inputs_of(facts, photos)
    session = onnxruntime.InferenceSession(folder / "model.onnx")
    probability, mask = session.run(["probability", "mask"], {"images": images})
    assert mask.dtype == np.uint8
    np.testing.assert_array_equal(mask, probability[..., 0] > facts["threshold"])


def test_weights_are_named_by_their_paths_and_say_what_they_need(exported, finished_run):
    folder = exported("classifier_256", "safetensors")
    variables = vocjax.load(finished_run("classifier_256")).variables
    with safe_open(folder / "model.safetensors", framework="numpy") as file:
        kernel = file.get_tensor("params/head/Dense_0/kernel")
        assert json.loads(file.metadata()["classes"]) == ["aeroplane", "dog"]
    np.testing.assert_array_equal(kernel, variables["params"]["head"]["Dense_0"]["kernel"])
    config = read_facts(folder)["config"]
    assert (config["init_from"], config["data"]["data_dir"]) == ("", "data")


def test_the_card_has_metadata_figures_data_and_how_to_load(exported, finished_run):
    folder = exported("classifier_256", "onnx")
    metadata, text = front_matter(folder)
    assert metadata["pipeline_tag"] == "image-classification"
    (result,) = metadata["model-index"][0]["results"]
    results = json.loads((finished_run("classifier_256") / "results.json").read_text())
    assert {m["type"]: m["value"] for m in result["metrics"]} == results["val"]
    assert "license" not in metadata
    assert "0 aeroplane, 1 dog" in text
    assert f"| log loss | {results['train']['log_loss']:.4g} |" in text
    assert "[batch, 16, 16, 3] from 0 to 255" in text
    code = text.split("```python\n")[1].split("```")[0].replace("FOLDER", str(folder))
    variables = {}
    exec(code, variables)
    assert len(variables["outputs"][0]) == 3


def test_the_card_says_whose_terms_published_weights_have(exported, finished_run, tmp_path):
    facts = read_facts(exported("classifier_256", "onnx"))
    file = {"name": "squeezenet.pth", "sha256": "b8a52dc0", "bytes": 3}
    origin = {"backbone": "squeezenet", "source": "torchvision", "file": file}
    text = card(facts | {"training": facts["training"] | {"began_from": origin}})
    assert 'license: "other"' in text
    assert "squeezenet.pth" in text and "pytorch/vision#pre-trained-model-license" in text
    # A run that began from a run that began from them.
    first, second = (shutil.copytree(finished_run("pca"), tmp_path / n) for n in ("a", "b"))
    for run, begun in ((first, origin), (second, {"run": "abc"})):
        made = json.loads((run / "run.json").read_text())
        (run / "run.json").write_text(json.dumps(made | {"init_from": begun}))
    config = json.loads((second / "config.json").read_text()) | {"init_from": str(first)}
    (second / "config.json").write_text(json.dumps(config))
    assert export(second, tmp_path / "one")["training"]["began_from"] == origin
    shutil.rmtree(first)
    export(second, tmp_path / "two")
    assert "Say here where that one began" in (tmp_path / "two/README.md").read_text()


def photo_files():
    """A photo of random pixels as it is, turned by EXIF, and with transparency of two kinds."""
    rng = np.random.default_rng(0)
    plain = Image.fromarray(rng.integers(0, 256, (40, 31, 3), np.uint8))
    exif, alpha = plain.getexif(), plain.copy()
    exif[0x0112] = 6
    alpha.putalpha(Image.fromarray(rng.integers(0, 256, (40, 31), np.uint8)))
    few = plain.quantize(16)
    yield "plain.png", plain, {}
    yield "turned.jpg", plain, {"exif": exif}
    yield "alpha.png", alpha, {}
    yield "palette.png", few, {"transparency": 3}
    yield "turned_alpha.png", alpha, {"exif": exif}


@pytest.mark.parametrize("fit", FITS)
def test_the_card_reads_a_photo_as_vocjax_does(fit, exported, tmp_path, monkeypatch):
    folder = exported("classifier_256", "onnx")
    facts = read_facts(folder)
    facts["preprocessing"]["before"]["keep_aspect"] = fit == PAD
    load, read = (part.split("```")[0] for part in card(facts).split("```python\n")[1:])
    monkeypatch.chdir(tmp_path)
    for name, picture, fields in photo_files():
        picture.save(name, **fields)
        photo = read_photo(tmp_path / name)
        assert photo.shape == ((31, 40, 3) if "turned" in name else (40, 31, 3))
        found = {"np": np}
        exec(read.replace("dog.jpg", name), found)
        np.testing.assert_array_equal(found["images"], inputs_of(facts, [photo], fit), name)
        if fit == SQUASH:  # as the model has it
            zeros = "np.zeros((3, 16, 16, 3), np.uint8)"
            exec(load.replace("FOLDER", str(folder)).replace(zeros, "images"), found)
            (expected,) = vocjax.load(folder).predict([name])
            probability = dict(zip(found["names"], found["outputs"], strict=True))["probability"]
            assert [*expected.values()] == pytest.approx(probability[0].tolist(), abs=1e-5)


def test_images_may_be_float32(finished_run, photos, tmp_path):
    export(finished_run("pca"), tmp_path / "out", "onnx", dtype="float32")
    (tmp_path / "out/README.md").read_text().index(".astype(np.float32) / 255")
    expected = vocjax.load(finished_run("pca")).predict(photos)
    for one, other in zip(expected, vocjax.load(tmp_path / "out").predict(photos), strict=True):
        assert one == pytest.approx(other, abs=1e-5)


def test_an_exported_model_is_no_run_but_predicts_from_a_shell(exported, photos, tmp_path, capsys):
    folder = exported("classifier_256", "stablehlo")
    assert cli.main(["evaluate", "--workdir", str(folder)]) == 1
    assert "is an exported model, which knows no data" in capsys.readouterr().err
    assert cli.main(["report", str(folder), "--output", str(tmp_path / "r.html")]) == 1
    assert "is an exported model and no run" in capsys.readouterr().err
    picture = str(tmp_path / "toy.png")
    Image.fromarray(photos[0]).save(picture)
    output = tmp_path / "predictions"
    assert cli.main(["predict", "--workdir", str(folder), picture, "--output", str(output)]) == 0
    assert (output / "toy.png").is_file()


@pytest.fixture
def unfinished(finished_run, tmp_path):
    """A copy of a run without its results."""
    folder = shutil.copytree(finished_run("pca"), tmp_path / "unfinished")
    (folder / "results.json").unlink()
    return folder


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["{run}", "--format", "onxx"], "--format is 'onxx'; it is one of .*Did you mean 'onnx'"),
        (["{run}", "--format", "onnx", "--input", "int8"], "--input is 'int8'; it is one of"),
        (["{tmp}", "--format", "onnx"], "holds no run"),
        (["{unfinished}", "--format", "safetensors"], "is not finished"),
        (["{run}", "--format", "safetensors", "--output", "{unfinished}"], "is not empty"),
        (["{run}", "--format", "safetensors", "--checkpoint", "first"], "'first'; it is one of"),
        (["{own}", "--format", "safetensors"], "'mine:net', a function of yours"),
        (["--format", "onnx"], "give one run"),
        (["{run}", "--workdir", "{run}", "--format", "onnx"], "give one run"),
    ],
)
def test_what_can_not_be_exported_is_said(
    arguments, message, finished_run, unfinished, tmp_path, capsys
):
    own = shutil.copytree(finished_run("pca"), tmp_path / "own")
    config = json.loads((own / "config.json").read_text())
    config["model"]["name"] = "mine:net"
    (own / "config.json").write_text(json.dumps(config))
    places = {"run": finished_run("pca"), "tmp": tmp_path, "unfinished": unfinished, "own": own}
    given = [argument.format(**places) for argument in arguments]
    if "--output" not in given:
        given += ["--output", str(tmp_path / "out")]
    before = sorted(tmp_path.rglob("*"))
    assert cli.main(["export", *given]) == 1
    printed = " ".join(capsys.readouterr().err.split())
    assert printed.startswith("vocjax: ")
    assert re.search(message, printed), printed
    assert sorted(tmp_path.rglob("*")) == before


def test_a_missing_package_is_named(finished_run, tmp_path, monkeypatch):
    monkeypatch.setattr(formats.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UserError, match="the format onnx needs onnx and onnxruntime: `pip install"):
        export(finished_run("pca"), tmp_path / "out", "onnx")


def test_a_file_that_computes_something_else_is_not_kept(exported):
    facts = {"input": {"shape": ["batch", 4, 4, 3], "dtype": "uint8"}}
    content = Content(lambda images: {"sum": images.sum(axis=(1, 2, 3)) / 255}, {}, facts)
    check_equal(content.function, content, "onnx")
    with pytest.raises(UserError, match="as onnx the network gives another sum"):
        check_equal(lambda images: {"sum": 1.01 * content.function(images)["sum"]}, content, "onnx")


@pytest.mark.parametrize("name", FORMATS)
def test_a_damaged_folder_is_said(name, exported, tmp_path):
    folder = shutil.copytree(exported("pca", name), tmp_path / "damaged")
    with pytest.raises(UserError, match="holds the last checkpoint alone"):
        vocjax.load(folder, "best")
    file = folder / FORMATS[name].file
    file.write_bytes(file.read_bytes()[:100])
    with pytest.raises(UserError, match="can't be read"):
        vocjax.load(folder)
    (folder / "config.json").write_text('{"format": "onnx"}')
    with pytest.raises(UserError, match="is not as `vocjax export` writes it"):
        vocjax.load(folder)


def test_weights_of_another_network_are_refused(exported, tmp_path):
    folder = shutil.copytree(exported("pca", "safetensors"), tmp_path / "other")
    facts = read_facts(folder)
    facts["config"]["model"]["components"] = 2
    (folder / "config.json").write_text(json.dumps(facts))
    with pytest.raises(UserError, match=r"has params/components .*and the network of the config"):
        vocjax.load(folder)


def test_a_function_sees_whole_photos_by_windows(finished_run, photos, tmp_path):
    """It takes images of one size, and its run those of any."""
    run = shutil.copytree(finished_run("segmentation_dice"), tmp_path / "run")
    config = json.loads((run / "config.json").read_text())

    def see(images):
        config["evaluation"]["images"] = images
        (run / "config.json").write_text(json.dumps(config))

    see("windows")
    expected = vocjax.load(run).predict(photos)
    see("whole")
    facts = export(run, tmp_path / "out", "stablehlo")
    assert facts["preprocessing"]["before"]["keep_aspect"] is False
    for one, other in zip(expected, vocjax.load(tmp_path / "out").predict(photos), strict=True):
        assert one == pytest.approx(other, abs=1e-5)
    config["data"]["fit"] = "pad"
    see("fitted")
    before = export(run, tmp_path / "padded")["preprocessing"]["before"]
    assert (before["keep_aspect"], before["padding"]) == (True, 128)
