"""Task 1: what is fitted to the training images, the codecs, and what a run tells and keeps."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vocjax import losses
from vocjax.config import base_config
from vocjax.data import voc
from vocjax.data.pipeline import resize_image
from vocjax.data.splits import select
from vocjax.models import build, dct, linear, pca
from vocjax.tasks import make_task
from vocjax.tasks.linear_codes import COMPONENTS
from vocjax.tasks.reconstruction import codec_of

STUDY = "autoencoder_256"
MODELS = ("pca", "linear_autoencoder", STUDY, "transform_autoencoder")


def noise():
    """A batch that no training image looks like."""
    image = np.random.default_rng(3).random((6, 16, 16, 3), np.float32)
    return {"image": jnp.asarray(image), "valid": jnp.ones(6)}


def points_of(images):
    return np.asarray(images).reshape(len(images), -1)


def fitted(task, batches):
    """Variables of which the closed form, if there is one, is fitted."""
    variables = task.init(jax.random.key(0))
    return task.fit(variables, iter(batches), None)[0] if task.fit else variables


@pytest.fixture(scope="module")
def batches(toy_dir):
    """10 training images in three batches, as a fit gets them, and the images [10, 16, 16, 3]."""
    prepared = voc.load("toy", toy_dir)
    data = base_config().data
    data.classes = ("aeroplane", "dog")
    rows = select(prepared.index, data, "train")
    pictures = [resize_image(prepared.examples[int(row)]["image"], 16, 3) for row in rows]
    images = np.stack(pictures).astype(np.float32) / 255
    assert len(images) == 10
    cut = [images[i : i + 4] for i in (0, 4, 8)]
    return [{"image": jnp.asarray(x), "valid": jnp.ones(len(x))} for x in cut], images


def test_mean_image_baseline(tiny_config, baseline_measured, batches):
    task, val, (train, images) = make_task(tiny_config(STUDY)), noise(), batches
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
    numbers, val, (train, images) = 16 * width, noise(), batches
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
        rows = select(prepared.index, config.data, split)
        pictures = [resize_image(prepared.examples[int(row)]["image"], 16, 3) for row in rows]
        images[split] = np.stack(pictures) / 255.0
    results = json.loads((finished_run("pca") / "results.json").read_text())
    for split in ("train", "val"):
        mse = ((images[split] - images["train"].mean(axis=0)) ** 2).mean()
        assert results["baselines"]["mean image"][split]["mse"] == pytest.approx(mse, rel=1e-4)
        assert results[split]["mse"] < mse  # PCA explains some of it


def fitted_variables(task, batches):
    """Variables as a run begins, moved a little, so that every array takes part."""
    variables = fitted(task, batches)
    rng = np.random.default_rng(0)
    moved = jax.tree.map(
        lambda x: x + 0.01 * rng.standard_normal(x.shape).astype(np.float32), variables["params"]
    )
    return variables | {"params": moved}


@pytest.mark.parametrize("name", MODELS)
def test_encode_and_decode_are_the_models_own_halves(tiny_config, batches, name):
    task, (train, images) = make_task(tiny_config(name)), batches
    config = tiny_config(name)
    variables, codec = fitted_variables(task, train), codec_of(build.autoencoder(config), config)
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
    variables = fitted(task, train)
    state, expected = pca.PCAState(**variables["params"]), pca.fit(points, 9)
    np.testing.assert_allclose(state.variance, expected.variance, rtol=1e-3)
    decoded = pca.decode(state, pca.encode(state, points))
    np.testing.assert_allclose(decoded, points, atol=1e-4)


def test_fits_of_what_is_then_trained(tiny_config, batches):
    train, images = batches
    task = make_task(tiny_config("linear_autoencoder"))
    drawn = task.init(jax.random.key(0))
    centred = fitted(task, train)
    assert jax.tree.structure(centred) == jax.tree.structure(drawn)
    mean = centred["params"].pop("mean")
    np.testing.assert_allclose(mean, images.mean(axis=0).ravel(), atol=1e-6)
    drawn["params"].pop("mean")
    jax.tree.map(np.testing.assert_array_equal, centred, drawn)
    task = make_task(tiny_config("transform_autoencoder"))
    drawn = task.init(jax.random.key(0))
    begun = fitted(task, train)
    jax.tree.map(np.testing.assert_array_equal, begun["params"], drawn["params"])
    state = dct.fit(jnp.asarray(images), 12)
    np.testing.assert_array_equal(begun["batch_stats"]["selected"], state.selected)
    np.testing.assert_allclose(begun["batch_stats"]["mean"], state.mean, atol=1e-5)


def test_pca_tells_the_variance_that_it_explains(tiny_config, batches):
    task, (train, images) = make_task(tiny_config("pca", **{"model.components": 9})), batches
    variables = fitted(task, train)
    values, arrays = task.inspect(variables, {}), COMPONENTS["pca"](variables, {})
    assert values.keys() == {"explained_variance"}
    assert float(values["explained_variance"]) == pytest.approx(1, rel=1e-4)
    state = pca.fit(points_of(images), 9)
    ratio = pca.explained_variance_ratio(state)
    np.testing.assert_allclose(arrays["explained_variance_ratio"], ratio, rtol=1e-4)
    np.testing.assert_allclose(arrays["PCA"], state.components[:8], atol=1e-4)


def test_a_linear_autoencoder_is_compared_with_pca(tiny_config, batches):
    """Its rows are PCA's first two, mixed, and one that lies 30 degrees beside the third."""
    task, (train, images) = make_task(tiny_config("linear_autoencoder")), batches
    fits = {name: b.fit(iter(train)) for name, b in task.baselines.items()}
    state = fits["PCA, at most 3 components"]
    first, second, third = state.components
    outside = pca.fit(points_of(images), 4).components[3]
    tilted = np.cos(np.pi / 6) * third + np.sin(np.pi / 6) * outside
    rows = jnp.stack([first + second, 2 * first - second, tilted])
    variables = task.init(jax.random.key(0))
    params = variables["params"] | {"components": rows}
    variables = variables | {"params": params}
    values = task.inspect(variables, fits)
    arrays = COMPONENTS["linear_autoencoder"](variables, fits)
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
    workdir, config = finished_run(name), tiny_config(name)
    numbers = codec_of(build.autoencoder(config), config).numbers
    results = json.loads((workdir / "results.json").read_text())
    lines = (workdir / "metrics.jsonl").read_text().splitlines()
    names = {
        "pca": {"explained_variance"},
        "linear_autoencoder": {"largest_angle", "largest_cosine"},
    }.get(name, set())
    assert results["code"] == numbers
    assert set(results.get("model", {})) == names
    for record in map(json.loads, lines):
        assert set(record.get("model", {})) == names
        assert all(np.isfinite(list(record.get("model", {}).values())))
    if names and lines:
        assert json.loads(lines[-1])["model"] == pytest.approx(results["model"])
    with np.load(workdir / "samples.npz") as file:
        samples = dict(file)
    for split, n in (("train", 10), ("val", 8)):
        assert samples[f"{split}/code"].shape == (n, numbers)
        assert samples[f"{split}/thumbnail"].shape == (n, 16, 16, 3)
        for error in ("mse", "mae", "psnr", "ssim"):
            assert samples[f"{split}/{error}"].shape == (n,)
            mean = samples[f"{split}/{error}"].mean()
            assert results[split][error] == pytest.approx(mean, rel=1e-5)
        assert samples[f"{split}/tsne"].shape == samples[f"{split}/principal"].shape == (n, 2)
