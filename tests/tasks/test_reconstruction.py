"""Task 1: losses, metrics, the mean-image baseline and figures, against NumPy."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vocjax import losses
from vocjax.data import voc
from vocjax.data.pipeline import resize_image
from vocjax.data.splits import select
from vocjax.errors import UserError
from vocjax.tasks import figures_of, make_task
from vocjax.tasks.reconstruction import describe
from vocjax.training.loop import train_and_evaluate

STUDY = "autoencoder_256"


def draw(n, seed=0):
    rng = np.random.default_rng(seed)
    image, other = rng.random((2, n, 4, 4, 3), np.float32)
    batch = {"image": jnp.asarray(image), "valid": jnp.ones(n)}
    return {"image": jnp.asarray(other), "code": jnp.asarray(rng.random((n, 2, 2, 5)))}, batch


@pytest.mark.parametrize("name", ["mse", "mae"])
def test_loss_and_metrics_equal_numpys(tiny_config, measured, name):
    task = make_task(tiny_config(STUDY, **{"loss.name": name}))
    outputs, batch = draw(5)
    error = np.float64(outputs["image"]) - np.float64(batch["image"])
    mse, mae = (error**2).mean(axis=(1, 2, 3)), np.abs(error).mean(axis=(1, 2, 3))
    expected = {"mse": mse, "mae": mae, "psnr": -10 * np.log10(mse)}
    loss = task.loss(outputs, batch)
    assert (loss.shape, loss.dtype) == ((5,), jnp.float32)
    np.testing.assert_allclose(loss, expected[name], rtol=1e-5)
    values = measured(task, outputs, batch)
    assert values == pytest.approx({k: v.mean() for k, v in expected.items()}, rel=1e-5)


def test_padding_changes_nothing(tiny_config, measured, padded):
    task = make_task(tiny_config(STUDY))
    outputs, batch = draw(5)
    wider = padded(outputs, batch)
    np.testing.assert_array_equal(task.loss(*wider)[:5], task.loss(outputs, batch))
    assert measured(task, *wider) == pytest.approx(measured(task, outputs, batch), rel=1e-6)


def test_mean_image_baseline(tiny_config, baseline_measured):
    task = make_task(tiny_config(STUDY))
    partial = draw(5, seed=2)[1] | {"valid": jnp.array([1, 1, 1, 0, 0], jnp.float32)}
    train, val = [draw(4, seed=1)[1], partial], draw(6, seed=3)[1]
    mean = np.concatenate([train[0]["image"], partial["image"][:3]]).mean(axis=0)
    error = np.asarray(val["image"]) - mean
    values = baseline_measured(task, "mean image", train, [val])
    assert values["mse"] == pytest.approx((error**2).mean(), rel=1e-5)
    assert values["mae"] == pytest.approx(np.abs(error).mean(), rel=1e-5)


def test_a_run_measures_the_mean_of_its_training_images(tiny_config, finished_run, toy_dir):
    config, prepared = tiny_config("pca"), voc.load("toy", toy_dir)
    images = {}
    for split in ("train", "val"):
        rows = select(prepared.index, "Main", split, config.data.classes)
        pictures = [resize_image(prepared.examples[int(row)]["image"], 16, 3) for row in rows]
        images[split] = np.stack(pictures) / 255.0
    results = json.loads((finished_run("pca") / "results.json").read_text())
    for split in ("train", "val"):
        mse = ((images[split] - images["train"].mean(axis=0)) ** 2).mean()
        assert results["baselines"]["mean image"][split]["mse"] == pytest.approx(mse, rel=1e-4)
        assert results[split]["mse"] < mse  # PCA explains some of it


def test_keep_flattens_codes_and_clips_pictures(tiny_config):
    task = make_task(tiny_config(STUDY))
    outputs, batch = draw(3)
    every, some = task.keep(outputs | {"image": 3 * outputs["image"] - 1}, batch)
    np.testing.assert_array_equal(every["code"], outputs["code"].reshape(3, -1))
    assert every["code"].dtype == jnp.float32
    np.testing.assert_array_equal(some["image"], batch["image"])
    assert (some["reconstruction"].min(), some["reconstruction"].max()) == (0, 1)


def test_only_pca_has_a_closed_form(tiny_config):
    for name in ("autoencoder_256", "linear_autoencoder"):
        assert make_task(tiny_config(name)).fit is None
    task = make_task(tiny_config("pca"))
    images = jax.ShapeDtypeStruct((9, 16, 16, 3), jnp.float32)
    fitted, drawn = jax.eval_shape(task.fit, images), jax.eval_shape(task.init, jax.random.key(0))
    assert fitted == drawn


@pytest.mark.parametrize("channels", [1, 3])
def test_describe_puts_input_and_reconstruction_side_by_side(channels):
    image = np.full((4, 4, channels), 0.2, np.float32)
    outputs = {"image": np.full((4, 4, channels), 1.2, np.float32), "code": np.zeros(3)}
    photo = np.zeros((9, 7, 3), np.uint8)
    numbers, picture = describe(outputs, image, photo, {})
    assert numbers == pytest.approx({"mse": 1, "mae": 1}, rel=1e-6)
    assert (picture.shape, picture.dtype) == ((4, 8, 3), np.uint8)
    assert np.all(picture[:, :4] == 51)
    assert np.all(picture[:, 4:] == 255)


def samples_of(n, numbers):
    rng = np.random.default_rng(0)
    labels = np.full((n, 20), -1, np.int8)
    labels[np.arange(n), np.arange(n) % 2 * 11] = 1
    samples = {"image": rng.random((2, 8, 8, 3)), "reconstruction": rng.random((2, 8, 8, 3))}
    for split in ("train", "val"):
        samples |= {f"{split}/code": rng.random((n, numbers)), f"{split}/labels": labels}
    return samples


@pytest.mark.parametrize(
    ("numbers", "classes", "count"),
    [(4, ("aeroplane", "dog"), 2), (4, (), 2), (1, ("aeroplane", "dog"), 1)],
)
def test_figures(numbers, classes, count):
    drawn = figures_of("reconstruction")(samples_of(6, numbers), {"data": {"classes": classes}})
    titles = ["Reconstructions", "Codes along their first two principal directions"]
    assert list(drawn) == titles[:count]
    assert all(figure.axes for figure in drawn.values())


def test_figures_of_a_run(tiny_config, finished_run):
    with np.load(finished_run(STUDY) / "samples.npz") as file:
        drawn = figures_of("reconstruction")(dict(file), tiny_config(STUDY).to_dict())
    assert len(drawn) == 2


def test_a_loss_is_swapped_by_replacing_it(tiny_config, tmp_path):
    config = tiny_config("linear_autoencoder", epochs=1)

    def doubled(outputs, batch):
        return 2 * losses.mse(outputs["image"], batch["image"])

    results = train_and_evaluate(config, tmp_path, make_task(config)._replace(loss=doubled))
    for split in ("train", "val"):
        assert results[split]["loss"] == pytest.approx(2 * results[split]["mse"], rel=1e-5)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"model.name": "vae"}, "'vae'; reconstruction has pca, linear_autoencoder, autoencoder"),
        ({"model.decoder": (4, 4.5)}, r"model.decoder is \(4, 4.5\); it is a tuple of positive"),
        ({"loss.name": "ssim"}, "loss.name is 'ssim'; it is one of mse, mae"),
        ({"model.decoder": (4,)}, "has 1 widths; an encoder of 3 halves .* takes 2"),
        ({"data.size": 18}, "data.size=18 can't be halved 2 times; .* are 16 or 20"),
        ({"precision": "float16"}, "'float16'; it is one of float32, bfloat16"),
        ({"model.kernel_init": "zeros"}, "no kernel initialiser 'zeros'"),
        ({"task": "detection"}, "'detection'; it is one of reconstruction, classification, segm"),
    ],
)
def test_mistakes_are_named(tiny_config, overrides, message):
    with pytest.raises(UserError, match=message):
        jax.eval_shape(make_task(tiny_config(STUDY, **overrides)).init, jax.random.key(0))
