"""Task 1: losses, errors, baselines, closed forms, codecs and what a run keeps, against NumPy."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import skimage.metrics

from vocjax import losses
from vocjax.data import voc
from vocjax.data.pipeline import resize_image
from vocjax.data.splits import select
from vocjax.errors import UserError
from vocjax.models import dct, linear, pca
from vocjax.tasks import make_task
from vocjax.tasks.reconstruction import denoising, describe, errors
from vocjax.training.loop import train_and_evaluate

STUDY = "autoencoder_256"
MODELS = ("pca", "linear_autoencoder", "autoencoder_256", "transform_autoencoder")


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


@pytest.mark.parametrize("name", ["mse", "mae", "ssim"])
def test_losses_equal_scikit_images(tiny_config, name):
    task = make_task(tiny_config(STUDY, **{"loss.name": name}))
    outputs, batch = draw(5)
    expected = scikit_images(outputs, batch)[name]
    loss = task.loss(outputs, batch)
    assert (loss.shape, loss.dtype) == ((5,), jnp.float32)
    np.testing.assert_allclose(loss, 1 - expected if name == "ssim" else expected, rtol=1e-5)


def test_errors_of_images_and_of_the_set_equal_scikit_images(tiny_config, measured):
    outputs, batch = draw(5)
    # One image is nearly right, so that the two ways to average decibels differ.
    near = batch["image"].at[1:].set(outputs["image"][1:]).at[0].add(0.01)
    outputs, expected = outputs | {"image": near}, scikit_images({"image": near}, batch)
    values = errors(outputs, batch)
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


def test_padding_changes_nothing(tiny_config, measured, padded):
    task = make_task(tiny_config(STUDY))
    outputs, batch = draw(5, size=4)
    np.testing.assert_array_equal(task.loss(*padded(outputs, batch))[:5], task.loss(outputs, batch))
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


def points_of(images):
    return np.asarray(images).reshape(len(images), -1)


@pytest.fixture(scope="module")
def batches(toy_dir):
    """10 training images in three batches, as a fit gets them, and the images [10, 16, 16, 3]."""
    prepared = voc.load("toy", toy_dir)
    rows = select(prepared.index, "Main", "train", ("aeroplane", "dog"))
    pictures = [resize_image(prepared.examples[int(row)]["image"], 16, 3) for row in rows]
    images = np.stack(pictures).astype(np.float32) / 255
    assert len(images) == 10
    cut = [images[i : i + 4] for i in (0, 4, 8)]
    return [{"image": jnp.asarray(x), "valid": jnp.ones(len(x))} for x in cut], images


def test_mean_image_baseline(tiny_config, baseline_measured, batches):
    task, (_, val), (train, images) = make_task(tiny_config(STUDY)), draw(6, seed=3), batches
    error = np.asarray(val["image"]) - images.mean(axis=0)
    values = baseline_measured(task, "mean image", train, [val])
    assert values["mse"] == pytest.approx((error**2).mean(), rel=1e-5)
    assert values["mae"] == pytest.approx(np.abs(error).mean(), rel=1e-5)
    assert next(iter(task.baselines)) == "mean image"


@pytest.mark.parametrize(
    ("width", "components"),
    [(1, 9), (4, 9)],  # a code of 16 or 64 numbers, but 10 images have 9 components
)
def test_linear_baselines_have_the_size_of_the_code(
    tiny_config, baseline_measured, batches, width, components
):
    task = make_task(tiny_config(STUDY, **{"model.encoder": (4, 4, width)}))
    numbers, (_, val), (train, images) = 16 * width, draw(6, seed=3), batches
    names = ["mean image", f"PCA, at most {numbers} components", f"DCT, {numbers} coefficients"]
    assert list(task.baselines) == names
    state = pca.fit(points_of(images), components)
    points = points_of(val["image"])
    expected = ((pca.decode(state, pca.encode(state, points)) - points) ** 2).mean()
    values = baseline_measured(task, names[1], train, [val])
    assert values["mse"] == pytest.approx(float(expected), rel=1e-4)
    state = dct.fit(images, numbers)
    decoded = dct.decode(state, dct.encode(state, val["image"]))
    values = baseline_measured(task, names[2], train, [val])
    assert values["mse"] == pytest.approx(float(losses.mse(decoded, val["image"]).mean()), rel=1e-4)


def test_fewer_images_than_components_limit_only_pca(tiny_config, baseline_measured, batches):
    """Of 10 images PCA has 9 components: it reconstructs them, which 3 do not."""
    task, (train, _) = make_task(tiny_config("linear_autoencoder")), batches
    three = baseline_measured(task, "PCA, at most 3 components", train, train)
    task = make_task(tiny_config("linear_autoencoder", **{"model.components": 20}))
    twenty = baseline_measured(task, "PCA, at most 20 components", train, train)
    assert twenty["mse"] < 1e-9 < 1e-4 < three["mse"]


def test_pca_is_no_baseline_of_itself(tiny_config):
    names = list(make_task(tiny_config("pca")).baselines)
    assert names == ["mean image", "DCT, 3 coefficients"]


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


def fitted_variables(task, batches):
    """Variables as a run begins, moved a little, so that every array takes part."""
    variables = task.init(jax.random.key(0))
    if task.fit is not None:
        variables = task.fit(variables, iter(batches))
    rng = np.random.default_rng(0)
    moved = jax.tree.map(
        lambda x: x + 0.01 * rng.standard_normal(x.shape).astype(np.float32), variables["params"]
    )
    return variables | {"params": moved}


@pytest.mark.parametrize("name", MODELS)
def test_encode_and_decode_are_the_models_own_halves(tiny_config, batches, name):
    task, (train, images) = make_task(tiny_config(name)), batches
    variables, codec = fitted_variables(task, train), task.codec
    batch = {"image": jnp.asarray(images), "valid": jnp.ones(len(images))}
    outputs, _ = jax.jit(lambda b: task.apply(variables, b, False, jax.random.key(0)))(batch)
    codes = jax.jit(codec.encode)(variables, batch["image"])
    assert (codes.shape, codes.dtype) == ((len(images), codec.numbers), jnp.float32)
    np.testing.assert_allclose(codes, outputs["code"].reshape(codes.shape), rtol=1e-5, atol=1e-5)
    decoded = jax.jit(codec.decode)(variables, codes)
    np.testing.assert_allclose(
        decoded.clip(0, 1), outputs["image"].clip(0, 1), rtol=1e-5, atol=1e-5
    )


@pytest.mark.parametrize("solver", ["full", "streaming"])
def test_pcas_solvers_agree_where_every_component_is_kept(tiny_config, batches, solver):
    train, images = batches
    config = tiny_config("pca", **{"model.solver": solver, "model.components": 9})
    task, points = make_task(config), points_of(images)
    variables = task.fit(task.init(jax.random.key(0)), iter(train))
    state, expected = pca.PCAState(**variables["params"]), pca.fit(points, 9)
    np.testing.assert_allclose(state.variance, expected.variance, rtol=1e-3)
    decoded = pca.decode(state, pca.encode(state, points))
    np.testing.assert_allclose(decoded, points, atol=1e-4)


def test_fits_of_what_is_then_trained(tiny_config, batches):
    train, images = batches
    assert make_task(tiny_config(STUDY)).fit is None
    task = make_task(tiny_config("linear_autoencoder"))
    drawn = task.init(jax.random.key(0))
    centred = task.fit(drawn, iter(train))
    assert jax.tree.structure(centred) == jax.tree.structure(drawn)
    mean = centred["params"].pop("mean")
    np.testing.assert_allclose(mean, images.mean(axis=0).ravel(), atol=1e-6)
    drawn["params"].pop("mean")
    jax.tree.map(np.testing.assert_array_equal, centred, drawn)
    task = make_task(tiny_config("transform_autoencoder"))
    drawn = task.init(jax.random.key(0))
    fitted = task.fit(drawn, iter(train))
    jax.tree.map(np.testing.assert_array_equal, fitted["params"], drawn["params"])
    state = dct.fit(jnp.asarray(images), 12)
    np.testing.assert_array_equal(fitted["batch_stats"]["selected"], state.selected)
    np.testing.assert_allclose(fitted["batch_stats"]["mean"], state.mean, atol=1e-5)


def test_pca_tells_the_variance_that_it_explains(tiny_config, batches):
    task, (train, images) = make_task(tiny_config("pca", **{"model.components": 9})), batches
    variables = task.fit(task.init(jax.random.key(0)), iter(train))
    values, arrays = task.inspect(variables, {})
    assert values.keys() == {"explained_variance"}
    assert float(values["explained_variance"]) == pytest.approx(1, rel=1e-4)
    state = pca.fit(points_of(images), 9)
    ratio = pca.explained_variance_ratio(state)
    np.testing.assert_allclose(arrays["explained_variance_ratio"], ratio, rtol=1e-4)
    np.testing.assert_allclose(arrays["PCA"], state.components[:8], atol=1e-4)


def test_a_linear_autoencoder_is_compared_with_pca(tiny_config, batches):
    """Its rows are PCA's first two, mixed, and one that lies 30 degrees beside the third."""
    task, (train, images) = make_task(tiny_config("linear_autoencoder")), batches
    fitted = {name: b.fit(iter(train)) for name, b in task.baselines.items()}
    state = fitted["PCA, at most 3 components"]
    first, second, third = state.components
    outside = pca.fit(points_of(images), 4).components[3]
    tilted = np.cos(np.pi / 6) * third + np.sin(np.pi / 6) * outside
    rows = jnp.stack([first + second, 2 * first - second, tilted])
    variables = task.init(jax.random.key(0))
    params = variables["params"] | {"components": rows}
    values, arrays = task.inspect(variables | {"params": params}, fitted)
    assert values.keys() == {"largest_angle", "largest_cosine"}
    assert float(values["largest_angle"]) == pytest.approx(30, abs=0.01)
    assert float(values["largest_cosine"]) == pytest.approx(1 / np.sqrt(2 * 5), rel=1e-3)
    np.testing.assert_array_equal(arrays["autoencoder"], rows)
    np.testing.assert_array_equal(arrays["PCA"], state.components)
    np.testing.assert_allclose(arrays["cosines"], linear.cosines(rows), atol=1e-6)
    np.testing.assert_allclose(arrays["autoencoder, rotated"][:2], state.components[:2], atol=1e-3)


def test_only_linear_models_are_inspected(tiny_config):
    assert make_task(tiny_config(STUDY)).inspect is None
    assert make_task(tiny_config("transform_autoencoder")).inspect is None


@pytest.mark.parametrize("name", ["pca", "linear_autoencoder", STUDY])
def test_what_a_run_tells_and_keeps(tiny_config, finished_run, name):
    workdir, task = finished_run(name), make_task(tiny_config(name))
    results = json.loads((workdir / "results.json").read_text())
    lines = (workdir / "metrics.jsonl").read_text().splitlines()
    told = {
        "pca": {"explained_variance"},
        "linear_autoencoder": {"largest_angle", "largest_cosine"},
    }.get(name, set())
    assert results["code"] == task.codec.numbers
    assert set(results.get("model", {})) == told
    for record in map(json.loads, lines):
        assert set(record.get("model", {})) == told
        assert all(np.isfinite(list(record.get("model", {}).values())))
    if told and lines:
        assert json.loads(lines[-1])["model"] == pytest.approx(results["model"])
    with np.load(workdir / "samples.npz") as file:
        samples = dict(file)
    for split, n in (("train", 10), ("val", 8)):
        assert samples[f"{split}/code"].shape == (n, task.codec.numbers)
        assert samples[f"{split}/thumbnail"].shape == (n, 16, 16, 3)
        for error in ("mse", "mae", "psnr", "ssim"):
            assert samples[f"{split}/{error}"].shape == (n,)
            mean = samples[f"{split}/{error}"].mean()
            assert results[split][error] == pytest.approx(mean, rel=1e-5)
        assert samples[f"{split}/tsne"].shape == samples[f"{split}/principal"].shape == (n, 2)


def test_keep_flattens_codes_and_clips_pictures(tiny_config):
    task = make_task(tiny_config(STUDY))
    outputs, batch = draw(3)
    far = outputs | {"image": 3 * outputs["image"] - 1}
    every, some = task.keep(far, batch)
    np.testing.assert_array_equal(every["code"], outputs["code"].reshape(3, -1))
    assert every["code"].dtype == jnp.float32
    np.testing.assert_allclose(every["mse"], losses.mse(far["image"], batch["image"]))
    np.testing.assert_array_equal(some["image"], batch["image"])
    assert (some["reconstruction"].min(), some["reconstruction"].max()) == (0, 1)


def test_thumbnails_are_the_images_small(tiny_config):
    """40 pixels at most; a smaller image as it is."""
    task, (outputs, batch) = make_task(tiny_config(STUDY)), draw(2)
    same = task.keep(outputs, batch)[0]["thumbnail"]
    np.testing.assert_array_equal(same, np.rint(255 * batch["image"]))
    assert same.dtype == jnp.uint8
    left, right = np.split(np.full((2, 80, 80, 3), 0.2, np.float32), 2, axis=2)
    large = {"image": jnp.concatenate([left, right + 0.6], axis=2), "valid": jnp.ones(2)}
    thumbnails = task.keep(outputs | {"image": large["image"]}, large)[0]["thumbnail"]
    assert thumbnails.shape == (2, 40, 40, 3)
    assert np.all(thumbnails[:, :, :16] == 51)
    assert np.all(thumbnails[:, :, 24:] == 204)


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
        (
            {"model.name": "vae"},
            "'vae'; reconstruction has pca, linear_autoencoder, autoencoder, transform_autoencoder",
        ),
        ({"model.decoder": (4, 4.5)}, r"model.decoder is \(4, 4.5\); it is a tuple of positive"),
        ({"loss.name": "psnr"}, "loss.name is 'psnr'; it is one of mse, mae, ssim"),
        ({"loss.name": "ssim", "data.size": 8}, "data.size is 8; the loss ssim needs 11 pixels"),
        ({"loss.noise": -0.1}, "loss.noise is -0.1; it must be at least 0, 0 for none"),
        ({"model.decoder": (4,)}, "has 1 widths; an encoder of 3 halves .* takes 2"),
        ({"data.size": 18}, "data.size=18 can't be halved 2 times; .* are 16 or 20"),
        ({"precision": "float16"}, "'float16'; it is one of float32, bfloat16"),
        ({"model.kernel_init": "zeros"}, "no kernel initialiser 'zeros'"),
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
        (STUDY, "loss.weight", "loss has no field weight; it has name and noise"),
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
