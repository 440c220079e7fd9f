"""Task 1: losses, errors, noise and what is kept of an image; mistakes in a config."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import skimage.metrics
from ml_collections import ConfigDict

from vocjax import losses
from vocjax.errors import UserError
from vocjax.tasks import make_task
from vocjax.tasks.reconstruction import denoising, describe, errors

STUDY = "autoencoder_256"


def draw(n, seed=0, size=16):
    rng = np.random.default_rng(seed)
    image, other = rng.random((2, n, size, size, 3), np.float32)
    batch = {"image": jnp.asarray(image), "valid": jnp.ones(n)}
    return {"image": jnp.asarray(other), "code": jnp.asarray(rng.random((n, 2, 2, 5)))}, batch


def scikit_images(outputs, batch):
    """{name: [n]} of each image by itself, float64."""
    pairs = list(zip(np.float64(outputs["image"]), np.float64(batch["image"]), strict=True))
    gaussian = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False}
    measures = {
        "mse": skimage.metrics.mean_squared_error,
        "mae": lambda p, t: np.abs(p - t).mean(),
        "psnr": lambda p, t: skimage.metrics.peak_signal_noise_ratio(t, p, data_range=1),
        "ssim": lambda p, t: skimage.metrics.structural_similarity(
            p, t, data_range=1, channel_axis=-1, **gaussian
        ),
    }
    return {
        name: np.array([measure(*pair) for pair in pairs]) for name, measure in measures.items()
    }


def test_errors_of_images_and_of_the_set_equal_scikit_images(tiny_config, measured):
    outputs, batch = draw(5)
    # One image is nearly right, so that the two ways to average decibels differ.
    near = batch["image"].at[1:].set(outputs["image"][1:]).at[0].add(0.01)
    outputs, expected = outputs | {"image": near}, scikit_images({"image": near}, batch)
    values = errors(outputs, batch["image"])
    assert values.keys() == expected.keys()
    for name, each in expected.items():
        np.testing.assert_allclose(values[name], each, rtol=1e-4, err_msg=name)
    summary = measured(make_task(tiny_config(STUDY)), outputs, batch)
    means = {name: each.mean() for name, each in expected.items()}
    of_set = -10 * np.log10(means["mse"])
    assert summary == pytest.approx(means | {"psnr_of_set": of_set}, rel=1e-4)
    assert means["psnr"] > of_set + 5


def test_images_smaller_than_the_window_have_no_ssim(tiny_config, measured):
    task = make_task(tiny_config(STUDY, **{"data.size": 8}))
    outputs, batch = draw(3, size=10)
    assert measured(task, outputs, batch).keys() == {"mse", "mae", "psnr", "psnr_of_set"}
    assert "ssim" in measured(task, *draw(3, size=11))


def test_an_exact_reconstruction_has_an_infinite_psnr(tiny_config, measured):
    _, batch = draw(2)
    values = measured(make_task(tiny_config(STUDY)), {"image": batch["image"]}, batch)
    assert (values["mse"], values["psnr_of_set"], values["ssim"]) == (0, np.inf, 1)


def test_padding_changes_nothing(tiny_config, measured, padded, loss_of):
    task = make_task(tiny_config(STUDY))
    outputs, batch = draw(5, size=4)
    np.testing.assert_array_equal(
        loss_of(task, *padded(outputs, batch))[:5], loss_of(task, outputs, batch)
    )
    for outputs, batch in (draw(5, size=4), draw(5, size=12)):  # without and with SSIM
        wider = padded(outputs, batch)
        assert measured(task, *wider) == pytest.approx(measured(task, outputs, batch), rel=1e-6)


def test_noise_is_added_in_training_only_and_the_target_stays_clean():
    def identity(variables, batch, train, key):
        return {"image": batch["image"]}, {}

    noisy, (_, batch) = denoising(identity, 0.2), draw(50)
    keys = jax.random.split(jax.random.key(0))
    clean = np.asarray(batch["image"])
    one, other = (noisy({}, batch, True, key)[0]["image"] for key in keys)
    noise = one - clean
    assert float(noise.mean()) == pytest.approx(0, abs=0.005)
    assert float(noise.std()) == pytest.approx(0.2, rel=0.02)
    assert np.any(one != other)
    np.testing.assert_array_equal(noisy({}, batch, True, keys[0])[0]["image"], one)
    np.testing.assert_array_equal(noisy({}, batch, False, keys[0])[0]["image"], clean)
    np.testing.assert_array_equal(batch["image"], clean)  # what the loss is measured against


def test_a_config_asks_for_noise(tiny_config):
    plain, noisy = (make_task(tiny_config(STUDY, **{"loss.noise": n})) for n in (0.0, 0.5))
    variables, (_, batch) = plain.init(jax.random.key(0)), draw(3)

    def image(task, train):
        run = jax.jit(lambda b: task.apply(variables, b, train, jax.random.key(1))[0]["image"])
        return run(batch)

    np.testing.assert_array_equal(image(noisy, False), image(plain, False))
    assert np.abs(image(noisy, True) - image(plain, True)).max() > 1e-3


def test_keep_flattens_codes_and_clips_pictures(tiny_config, measures):
    task = make_task(tiny_config(STUDY))
    outputs, batch = draw(3)
    far = outputs | {"image": 3 * outputs["image"] - 1}
    _, _, every, some = measures(task, far, batch)
    np.testing.assert_array_equal(every["code"], outputs["code"].reshape(3, -1))
    assert every["code"].dtype == jnp.float32
    np.testing.assert_allclose(every["mse"], losses.mse(far["image"], batch["image"]))
    np.testing.assert_array_equal(some["image"], batch["image"])
    assert (some["reconstruction"].min(), some["reconstruction"].max()) == (0, 1)


def test_thumbnails_are_the_images_small(tiny_config, measures):
    """40 pixels at most; a smaller image as it is."""
    task, (outputs, batch) = make_task(tiny_config(STUDY)), draw(2)
    same = measures(task, outputs, batch).kept["thumbnail"]
    np.testing.assert_array_equal(same, np.rint(255 * batch["image"]))
    assert same.dtype == jnp.uint8
    left, right = np.split(np.full((2, 80, 80, 3), 0.2, np.float32), 2, axis=2)
    large = {"image": jnp.concatenate([left, right + 0.6], axis=2), "valid": jnp.ones(2)}
    thumbnails = measures(task, outputs | {"image": large["image"]}, large).kept["thumbnail"]
    assert thumbnails.shape == (2, 40, 40, 3)
    assert np.all(thumbnails[:, :, :16] == 51)
    assert np.all(thumbnails[:, :, 24:] == 204)


@pytest.mark.parametrize("channels", [1, 3])
def test_describe_puts_input_and_reconstruction_side_by_side(channels):
    image = np.full((4, 4, channels), 0.2, np.float32)
    outputs = {"image": np.full((4, 4, channels), 1.2, np.float32), "code": np.zeros(3)}
    photo = np.zeros((9, 7, 3), np.uint8)
    numbers, pictures = describe(outputs, image, photo, ConfigDict(), {})
    picture = np.asarray(pictures[""])
    assert numbers == pytest.approx({"mse": 1, "mae": 1}, rel=1e-6)
    assert (picture.shape, picture.dtype) == ((4, 8, 3), np.uint8)
    assert np.all(picture[:, :4] == 51)
    assert np.all(picture[:, 4:] == 255)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (
            {"model.name": "vae"},
            "'vae'; it is one of pca, linear_autoencoder, autoencoder, transform_autoencoder",
        ),
        ({"model.decoder": (4, 4.5)}, r"model.decoder is \(4, 4.5\); it is a tuple of positive"),
        ({"loss.name": "psnr"}, "loss.name is 'psnr'; it is one of mse, mae, ssim"),
        ({"loss.name": "ssim", "data.size": 8}, "data.size is 8; the loss ssim needs 11 pixels"),
        ({"loss.noise": -0.1}, "loss.noise is -0.1; it must be at least 0"),
        ({"model.decoder": (4,)}, "has 1 widths; the encoder halves .* takes 2"),
        ({"data.size": 18}, "data.size=18 can't be halved 2 times; .* are 16 or 20"),
        ({"precision": "float16"}, "'float16'; it is one of float32, bfloat16"),
        ({"model.kernel_init": "zeros"}, "model.kernel_init is 'zeros'; it is one of"),
        ({"task": "detection"}, "'detection'; it is one of reconstruction, classification, segm"),
    ],
)
def test_mistakes_are_named(tiny_config, overrides, message):
    with pytest.raises(UserError, match=message):
        make_task(tiny_config(STUDY, **overrides))


@pytest.mark.parametrize(
    ("name", "overrides", "message"),
    [
        ("pca", {"model.components": 0}, "model.components is 0; it must be at least 1"),
        ("pca", {"model.solver": "lanczos"}, "'lanczos'; it is one of full, streaming"),
        ("pca", {"epochs": 3}, "epochs is 3; PCA has a closed form: set it to 0"),
        ("linear_autoencoder", {"model.components": -1}, "model.components is -1; it must be"),
        ("transform_autoencoder", {"model.patch": 3}, "data.size=16 is no multiple of model.patch"),
        ("transform_autoencoder", {"model.width": 0}, "model.width is 0; it must be at least 1"),
        ("transform_autoencoder", {"model.decoder_blocks": -1}, "is -1; it must be at least 0"),
        ("transform_autoencoder", {"model.refinements": -1}, "is -1; it must be at least 0"),
    ],
)
def test_mistakes_of_other_models_are_named(tiny_config, name, overrides, message):
    with pytest.raises(UserError, match=message):
        make_task(tiny_config(name, **overrides))


@pytest.mark.parametrize(
    ("name", "field", "message"),
    [
        ("pca", "model.tied", "the config has model.tied, which pca does not know; .* solver"),
        ("linear_autoencoder", "model.solver", "model.solver, which linear_auto.* tied"),
        (
            STUDY,
            "model.activaton",
            "model.activaton, which autoencoder does not know",
        ),
        ("segmentation_dice", "model.depth", "model.depth, which mirror does not know"),
        (STUDY, "loss.weight", "config has loss.weight, which no loss of this task reads"),
    ],
)
def test_fields_that_nothing_reads_are_named(tiny_config, name, field, message):
    config = tiny_config(name)
    section, key = field.split(".")
    config[section][key] = 1
    with pytest.raises(UserError, match=message):
        make_task(config)


@pytest.mark.parametrize(
    ("name", "missing"),
    [("pca", "components"), ("linear_autoencoder", "tied"), (STUDY, "decoder")],
)
def test_a_field_that_is_missing_is_named(tiny_config, name, missing):
    config = tiny_config(name)
    del config.model[missing]
    with pytest.raises(UserError, match=f"lacks the field '{missing}'"):
        make_task(config)
