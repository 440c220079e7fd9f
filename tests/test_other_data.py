"""A trained run measured on other data, from the command line: classes are matched by name."""

import json
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

import vocjax
from vocjax import cli
from vocjax.data.classes import Classes
from vocjax.exported.formats import FORMATS
from vocjax.tasks import make_task
from vocjax.tasks.matched import matched
from vocjax.tasks.pixel_classes import pixel_classes

CLASSES = ("zebra", "dog", "aeroplane")


@pytest.fixture(scope="module")
def zoo(tmp_path_factory):
    """A data_dir with `zoo`: a folder of noise for each class, and `masked`: noise with masks."""
    home = tmp_path_factory.mktemp("zoo")
    rng = np.random.default_rng(0)
    for number in range(12):
        name = CLASSES[number % 3]
        split, stem = ("val", "train")[number < 3], f"{number:02}"
        image = Image.fromarray(rng.integers(0, 256, (20, 24, 3), np.uint8))
        mask = np.zeros((20, 24), np.uint8)
        mask[number : number + 6, 4:16] = 1 + number % 3
        mask[0] = 255
        files = {
            home / "folders" / split / name / f"{stem}.png": image,
            home / "images" / split / f"{stem}.png": image,
            home / "masks" / split / f"{stem}.png": Image.fromarray(mask),
        }
        for path, picture in files.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            picture.save(path)
    prepare = ["data", "prepare", "--data_dir", home / "data", "--classes", ",".join(CLASSES)]
    masked = ["--images", home / "images", "--masks", home / "masks"]
    for flags in (["--dataset", "masked", *masked], ["--dataset", "zoo", "--folders"]):
        flags = [*flags, home / "folders"] if flags[-1] == "--folders" else flags
        assert cli.main([str(flag) for flag in (*prepare, *flags)]) == 0
    return home


def measured(capsys, *arguments):
    """(exit code, stdout, stderr) of `vocjax evaluate`."""
    capsys.readouterr()
    code = cli.main(["evaluate", *map(str, arguments)])
    return code, *capsys.readouterr()


def test_a_classifier_on_other_data(finished_run, zoo, capsys, tmp_path):
    run, table = finished_run("classifier_256"), tmp_path / "tables" / "zoo.json"
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    flags = ["--workdir", run, "--dataset", "zoo", "--data_dir", zoo / "data", "--output", table]
    code, out, err = measured(capsys, *flags)
    assert (code, err) == (0, "")
    assert out.startswith("6 val images of zoo, step 4\nclasses in common: aeroplane, dog\n")
    assert "classes of the run that the data lack: none\n" in out
    assert "classes of the data that the run lacks: zebra\n" in out
    assert before == {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    names = ("aeroplane", "dog")
    images = {n: sorted((zoo / "folders/val" / n).glob("*.png")) for n in names}
    truth = np.array([[name == of for of in names] for name in names for _ in images[name]])
    found = vocjax.load(run).predict([path for name in names for path in images[name]])
    p = np.array([[of[name] for name in names] for of in found])
    result = json.loads(table.read_text())
    loss = -np.where(truth, np.log(p), np.log(1 - p)).mean()
    assert result["metrics"]["log_loss"] == pytest.approx(loss, rel=1e-4)
    accuracy = ((p > 0.5) == truth).mean()
    assert result["metrics"]["elementwise_accuracy"] == pytest.approx(accuracy)
    known = json.loads((run / "results.json").read_text())["by_class"]
    assert {name: of["images"] for name, of in result["by_class"].items()} == {
        name: of["images"] for name, of in known.items()
    }
    made = result["provenance"]
    assert (result["checkpoint"], result["dataset"]["name"]) == ("last", "zoo")
    assert len(result["dataset"]["fingerprint"]) == 64
    assert made["measured"]["versions"]["jax"] == jax.__version__
    assert made["trained"]["dataset"]["name"] == "toy"


def test_a_segmentation_on_other_data_keeps_its_threshold(finished_run, zoo, capsys, tmp_path):
    run, table, masks = tmp_path / "run", tmp_path / "t.json", tmp_path / "masks"
    shutil.copytree(finished_run("segmentation_dice"), run)
    results = json.loads((run / "results.json").read_text())
    (run / "results.json").write_text(json.dumps(results | {"threshold": 0.51}))
    flags = ["--workdir", run, "--dataset", "masked", "--data_dir", zoo / "data"]
    code, out, err = measured(capsys, *flags, "--output", table)
    assert (code, err) == (0, "")
    assert "note: the threshold of masks is the one that the run chose on its train\n" in out
    result = json.loads(table.read_text())
    assert result["threshold"] == 0.51
    files = sorted((zoo / "images/val").glob("*.png"))
    predict = ["predict", "--workdir", run, *files, "--output", masks]
    assert cli.main([str(argument) for argument in predict]) == 0
    both = either = 0
    for path in files:
        truth = np.asarray(Image.open(zoo / "masks/val" / path.name))
        found = np.asarray(Image.open(masks / f"{path.stem}_mask.png")) > 0
        known, thing = truth != 255, (truth > 0) & (truth != 255)
        both, either = both + (found & thing).sum(), either + ((found | thing) & known).sum()
    assert result["images"] == len(files)
    assert result["metrics"]["iou_of_set_full_size"] == pytest.approx(both / either, abs=1e-6)


def test_an_autoencoder_on_other_data_and_another_image_set(finished_run, zoo, capsys, tmp_path):
    run, table = finished_run("linear_autoencoder"), tmp_path / "t.json"
    flags = ["--workdir", run, "--output", table]
    code, out, _ = measured(capsys, *flags, "--image_set", "Segmentation", "--split", "train")
    assert (code, out.splitlines()[0]) == (0, "6 train images of toy, step 4")
    assert "6 of the photographs were training images of the run: this is no test" in out
    assert measured(capsys, *flags, "--dataset", "zoo", "--data_dir", zoo / "data")[0] == 0
    files = [p for name in CLASSES[1:] for p in sorted((zoo / "folders/val" / name).glob("*"))]
    errors = [found["mse"] for found in vocjax.load(run).predict(files)]
    result = json.loads(table.read_text())
    assert result["metrics"]["mse"] == pytest.approx(np.mean(errors), rel=1e-4)
    # The very data of the run, under the flags of other data, have its own figures.
    assert measured(capsys, *flags, "--dataset", "toy")[0] == 0
    own = json.loads((run / "results.json").read_text())["val"]
    assert json.loads(table.read_text())["metrics"] == pytest.approx(own, rel=1e-5)


@pytest.mark.parametrize("classes", [("dog", "cat", "zebra"), ("sofa", "dog")])
def test_softmax_decides_between_background_and_common_classes(tiny_config, classes):
    config = tiny_config("segmentation_classes")
    task = make_task(config)
    data = config.data.copy_and_resolve_references()
    data.dataset = "other"
    other, changed, match = matched(config, task, data, Classes(classes))
    variables = task.init(jax.random.key(0))
    batch = {"image": jnp.ones((2, 16, 16, 3)), "valid": jnp.ones(2)}
    whole, part = (
        of.apply(variables, batch, False, jax.random.key(1))[0] for of in (task, changed)
    )
    names = pixel_classes(config).names
    common = [name for name in names if name in classes]
    assert match.common == tuple(common)
    order = common if "zebra" in classes else list(classes)
    columns = [0, *(names.index(name) for name in order)]
    np.testing.assert_array_equal(part["logits"], whole["logits"][..., columns])
    assert other.data.classes == (tuple(common) if "zebra" in classes else ())


def test_data_that_do_not_fit_are_refused(finished_run, zoo, capsys, tmp_path):
    run = finished_run("classifier_256")
    flags = ["--workdir", run, "--data_dir", zoo / "data"]
    for more, message in (
        (["--dataset", "zoo2"], "zoo2 isn't prepared"),
        (["--dataset", "zoo", "--image_set", "Test"], "--image_set is 'Test'; it is one of"),
        (["--dataset", "zoo", "--output", run / "t.json"], "t.json lies in the run directory"),
        (["--dataset", "zoo", "--output", tmp_path], "is a folder; give the name of a file"),
    ):
        code, out, err = measured(capsys, *flags, *more)
        assert (code, out, err.count("\n")) == (1, "", 1)
        assert message in err


def test_classes_in_common_are_needed(tiny_config):
    config = tiny_config("classifier_256")
    task, data = make_task(config), config.data
    for names, message in ((("cat",), "no class is common: the run has"), (("dog",), "dog alone")):
        with pytest.raises(vocjax.errors.UserError, match=message):
            matched(config, task, data, Classes(names))


@pytest.fixture(scope="module")
def exported(finished_run, made_once):
    """`exported(run, format)` is the folder of an exported run; to be read, not written."""

    def make(run, name):
        def fill(folder):
            flags = ["--format", name, "--output", str(folder)]
            assert cli.main(["export", str(finished_run(run)), *flags]) == 0

        return made_once(f"to_measure_{run}_{name}", fill)

    return make


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("run", ["linear_autoencoder", "classifier_256", "segmentation_classes"])
def test_an_exported_model_has_the_figures_of_its_run(
    run, name, exported, finished_run, zoo, capsys, tmp_path
):
    dataset = "masked" if run == "segmentation_classes" else "zoo"
    flags, said = ["--dataset", dataset, "--data_dir", zoo / "data", "--output"], []
    for place, table in ((finished_run(run), "run.json"), (exported(run, name), "exported.json")):
        code, out, err = measured(capsys, "--workdir", place, *flags, tmp_path / table)
        assert (code, err) == (0, "")
        said.append([line for line in out.splitlines() if line.startswith(("class", "note", "6 "))])
    assert said[0] == said[1]
    ours, theirs = (json.loads((tmp_path / f"{n}.json").read_text()) for n in ("run", "exported"))
    assert theirs["metrics"] == pytest.approx(ours["metrics"], rel=1e-3, abs=1e-5)
    assert theirs["checkpoint"] == "last" and theirs["dataset"] == ours["dataset"]
    trained = theirs["provenance"]["trained"]
    assert trained["dataset"] == ours["provenance"]["trained"]["dataset"]


def test_an_exported_function_says_what_it_sees_otherwise(exported, zoo, capsys, tmp_path):
    folder = tmp_path / "folder"
    shutil.copytree(exported("segmentation_dice", "stablehlo"), folder)
    facts = json.loads((folder / "config.json").read_text())
    facts["config"]["evaluation"]["images"] = "whole"
    facts["config"]["data"]["longest"] = 24
    facts["checkpoint"] = "best"
    (folder / "config.json").write_text(json.dumps(facts))
    flags = ["--dataset", "masked", "--data_dir", zoo / "data", "--output", tmp_path / "t.json"]
    code, out, err = measured(capsys, "--workdir", folder, *flags)
    assert (code, err) == (0, "")
    assert "note: images are seen in windows: an exported function takes one size\n" in out
    assert json.loads((tmp_path / "t.json").read_text())["checkpoint"] == "best"


def test_an_exported_model_needs_data_and_knows_which_images_it_was_trained_on(
    exported, toy_dir, capsys, tmp_path
):
    folder = exported("linear_autoencoder", "safetensors")
    for more in ((), ("--data_dir", toy_dir), ("--image_set", "Main")):
        code, out, err = measured(capsys, "--workdir", folder, *more)
        assert (code, out, err.count("\n")) == (1, "", 1)
        assert "is an exported model, which knows no data of its own: add --dataset NAME" in err
    flags = ["--workdir", folder, "--dataset", "toy", "--data_dir", toy_dir]
    code, out, _ = measured(capsys, *flags, "--split", "train")
    assert code == 0 and "10 of the photographs were training images of the run" in out
    code, out, err = measured(capsys, *flags, "--output", folder / "t.json")
    assert (code, out) == (1, "") and "t.json lies in the run directory" in err
