"""Trained runs on image files of every kind."""

import json
import shutil

import numpy as np
import pytest
from PIL import Image

from vocjax.data import voc
from vocjax.evaluate import evaluate
from vocjax.predict import Model, load_model, predict

STUDY = {
    "reconstruction": "autoencoder_256",
    "classification": "classifier_256",
    "segmentation": "segmentation_dice",
}
ORIENTATION, TURNED = 0x0112, 6  # EXIF: shown turned by a quarter
SIZES = {"wide.jpg": (67, 31), "grey.png": (23, 45), "clear.png": (41, 30), "turned.jpg": (30, 52)}


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """Files of odd sizes: RGB, grey, with transparency, and turned by its EXIF entry."""
    folder = tmp_path_factory.mktemp("photos")
    rng = np.random.default_rng(0)

    def picture(name, channels):
        width, height = SIZES[name]
        return Image.fromarray(rng.integers(0, 256, (height, width, channels), np.uint8).squeeze())

    picture("wide.jpg", 3).save(folder / "wide.jpg")
    picture("grey.png", 1).save(folder / "grey.png")
    picture("clear.png", 4).save(folder / "clear.png")
    exif = Image.Exif()
    exif[ORIENTATION] = TURNED
    picture("turned.jpg", 3).transpose(Image.Transpose.ROTATE_90).save(
        folder / "turned.jpg", exif=exif
    )
    with Image.open(folder / "turned.jpg") as file:
        assert file.size == SIZES["turned.jpg"][::-1]
    return [folder / name for name in SIZES]


def said(output):
    return json.loads((output / "predictions.json").read_text())


@pytest.mark.parametrize("task", STUDY)
def test_every_kind_of_image_is_read(finished_run, photos, tmp_path, task):
    output = tmp_path / "new" / "folder"
    assert predict(finished_run(STUDY[task]), photos, output) == (photos, [], 0, [])
    assert list(said(output)) == [str(photo) for photo in photos]
    pictures = sorted(path.name for path in output.glob("*.png"))
    endings = ("", "_mask") if task == "segmentation" else ("",)
    assert pictures == sorted(f"{p.stem}{ending}.png" for p in photos for ending in endings)
    for numbers in said(output).values():
        assert np.all(np.isfinite(list(numbers.values())))
    for photo in photos:
        with Image.open(output / f"{photo.stem}.png") as picture:
            assert picture.mode == "RGB"
            own = SIZES[photo.name]
            if task == "segmentation":  # the legend is below
                assert picture.width >= own[0] and picture.height >= own[1]
            else:
                assert picture.size == ((32, 16) if task == "reconstruction" else own)


def test_what_is_said_of_an_image_does_not_depend_on_the_others(finished_run, photos, tmp_path):
    run = finished_run(STUDY["classification"])
    many = [*photos, *[photos[0].parent / f"{i}.png" for i in range(6)]]  # more than a batch
    for i, path in enumerate(many[len(photos) :]):
        Image.new("RGB", (9, 9 + i), (40 * i, 20, 90)).save(path)
    predict(run, many, tmp_path / "many")
    predict(run, many[-1:], tmp_path / "one")
    assert len(said(tmp_path / "many")) == 10
    alone, among_others = (said(tmp_path / name)[str(many[-1])] for name in ("one", "many"))
    assert alone == pytest.approx(among_others, rel=1e-5)


def test_an_image_counts_as_it_is_shown_in_rgb(finished_run, photos, tmp_path):
    plain = []
    for photo in photos:
        with Image.open(photo) as file:
            pixels = np.asarray(file)
        if photo.name == "grey.png":
            pixels = np.repeat(pixels[..., None], 3, axis=2)
        if photo.name == "clear.png":  # over white
            colours, alpha = np.split(pixels / 255, [3], axis=2)
            pixels = np.round((1 - alpha + alpha * colours) * 255).astype(np.uint8)
        if photo.name == "turned.jpg":
            pixels = np.rot90(pixels, -1)
        plain.append(tmp_path / f"{photo.stem}.png")
        Image.fromarray(np.ascontiguousarray(pixels)).save(plain[-1])
    predict(finished_run(STUDY["classification"]), photos, tmp_path / "photos")
    predict(finished_run(STUDY["classification"]), plain, tmp_path / "plain")
    assert list(said(tmp_path / "photos").values()) == list(said(tmp_path / "plain").values())


def test_sixteen_bits_count_as_eight(finished_run, photos, tmp_path):
    deep, flat = tmp_path / "deep.png", photos[1]
    with Image.open(flat) as file:
        Image.fromarray(np.asarray(file).astype(np.uint16) * 257).save(deep)
    predict(finished_run(STUDY["classification"]), [deep, flat], tmp_path / "said")
    of_deep, of_flat = said(tmp_path / "said").values()
    assert of_deep == pytest.approx(of_flat, rel=1e-5)


def test_numbers_are_named(finished_run, photos, tmp_path):
    numbers = {}
    for task, name in STUDY.items():
        predict(finished_run(name), photos[:1], tmp_path / task)
        (numbers[task],) = said(tmp_path / task).values()
    assert numbers["reconstruction"].keys() == {"mse", "mae"}
    assert numbers["classification"].keys() == {"aeroplane", "dog"}
    assert numbers["segmentation"].keys() == {"background", "foreground"}
    assert all(0 <= value <= 1 for of in numbers.values() for value in of.values())


def test_probabilities_are_those_of_the_data_set(finished_run, toy_dir, tmp_path):
    run, prepared = finished_run(STUDY["classification"]), voc.load("toy", toy_dir)
    with np.load(run / "samples.npz") as samples:
        ids, kept = samples["val/ids"].tolist(), samples["val/probability"]
    files = [tmp_path / f"{id_}.png" for id_ in ids]
    for id_, file in zip(ids, files, strict=True):
        row = prepared.index.ids.tolist().index(id_)
        Image.fromarray(prepared.examples[row]["image"]).save(file)
    predict(run, files, tmp_path / "said")
    predicted = [[of["aeroplane"], of["dog"]] for of in said(tmp_path / "said").values()]
    np.testing.assert_allclose(predicted, kept, rtol=1e-5)


def test_the_best_checkpoints_threshold_is_what_evaluate_chose(
    finished_run, photos, tmp_path, capsys
):
    run = tmp_path / "run"
    shutil.copytree(finished_run(STUDY["segmentation"]), run)
    predict(run, photos[:1], tmp_path / "before", "best")
    assert "the best checkpoint's threshold is not known, .5 decides" in capsys.readouterr().err
    chosen = evaluate(run, "val", "best")["threshold"]
    predict(run, photos[:1], tmp_path / "after", "best")
    assert "threshold" not in capsys.readouterr().err
    assert load_model(run, "best").results["threshold"] == chosen


def test_a_mask_has_the_photos_size_and_the_numbers_its_shares(finished_run, photos, tmp_path):
    predict(finished_run(STUDY["segmentation"]), photos, tmp_path / "said")
    for photo in photos:
        with Image.open(tmp_path / "said" / f"{photo.stem}_mask.png") as mask:
            assert (mask.mode, mask.size) == ("P", SIZES[photo.name])
            share = np.asarray(mask).astype(bool).mean()
        assert said(tmp_path / "said")[str(photo)]["foreground"] == pytest.approx(share)


def test_large_photos_are_not_in_memory_together(finished_run, tmp_path, monkeypatch):
    files = [tmp_path / f"{i}.png" for i in range(6)]
    for file in files:
        Image.new("RGB", (40, 30)).save(file)
    monkeypatch.setattr("vocjax.predict.NUMBERS_AT_ONCE", 2 * 40 * 30 * 3)
    held = []
    describe = Model.describe
    monkeypatch.setattr(
        Model, "describe", lambda self, photos: held.append(len(photos)) or describe(self, photos)
    )
    predict(finished_run(STUDY["segmentation"]), files, tmp_path / "said")
    assert sum(held) == 6
    assert max(held) <= 3
