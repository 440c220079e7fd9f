"""What is kept of a whole split, and what the parameters tell beside the metrics."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vocjax import losses
from vocjax.data import voc
from vocjax.mesh import make_mesh
from vocjax.tasks import make_task
from vocjax.training.evaluation import SHOWN, keep_samples, make_inspect
from vocjax.training.setup import open_data, whole_batches


@pytest.fixture(scope="module")
def kept(tiny_config):
    """`kept(batch_size)`: task, variables, data and samples of an untrained autoencoder."""
    config = tiny_config("autoencoder_256", **{"data.classes": ()})
    mesh, task = make_mesh(), make_task(config)
    data = open_data(config, voc.load("toy", Path(config.data.data_dir)), mesh)
    variables = jax.jit(task.init)(jax.random.key(0))

    def keep(batch_size):
        return keep_samples(task, variables, data.splits, data.labels, batch_size, mesh)

    return task, variables, data, keep


def test_every_image_keeps_its_own_values_whatever_the_batches(kept):
    task, variables, data, keep = kept
    samples = keep(7)
    for split, n in (("train", 24), ("val", 16)):
        (whole,) = whole_batches(data.splits[split], n, make_mesh())
        outputs, _ = task.apply(variables, whole, False, jax.random.key(0))
        np.testing.assert_array_equal(samples[f"{split}/ids"], data.splits[split].ids)
        np.testing.assert_array_equal(samples[f"{split}/labels"], data.labels[split])
        mse = losses.mse(outputs["image"], whole["image"])
        np.testing.assert_allclose(samples[f"{split}/mse"], mse, rtol=1e-5)
        np.testing.assert_allclose(
            samples[f"{split}/code"], outputs["code"].reshape(n, -1), rtol=1e-4, atol=1e-6
        )
        assert samples[f"{split}/thumbnail"].shape == (n, 16, 16, 3)
        np.testing.assert_allclose(samples[f"{split}/thumbnail"] / 255, whole["image"], atol=2e-3)


def test_pictures_are_those_of_a_few_validation_images_in_half_precision(kept):
    _, _, data, keep = kept
    samples = keep(5)
    shown = samples["shown"]
    assert len(shown) == SHOWN
    assert (shown[0], shown[-1]) == (0, 15)
    (val,) = whole_batches(data.splits["val"], 16, make_mesh())
    np.testing.assert_allclose(samples["image"], val["image"][shown], atol=1e-3)
    assert samples["image"].dtype == samples["reconstruction"].dtype == np.float16
    assert samples["val/code"].dtype == np.float32


def test_inspection_names_its_values_and_arrays(kept):
    task, variables, _, _ = kept

    def look(variables, fitted):
        bias = variables["params"]["decoder"]["Conv_0"]["bias"]
        return {"bias": bias.sum() + fitted["baseline"]}, {"kernels": jnp.ones((2, 3))}

    inspect = make_inspect(task._replace(inspect=look))
    values, arrays = inspect(variables, {"baseline": jnp.float32(2.5)})
    assert values == {"model": {"bias": 2.5}}  # plain numbers, for JSON
    assert type(values["model"]["bias"]) is float
    assert list(arrays) == ["model/kernels"]
    np.testing.assert_array_equal(arrays["model/kernels"], np.ones((2, 3)))


def test_a_task_that_inspects_nothing_has_no_values(kept):
    task, variables, _, _ = kept
    assert make_inspect(task._replace(inspect=None))(variables, {}) == ({}, {})
