"""Batch norm's statistics, against Keras's own and against NumPy's moments of what a norm saw."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from vocjax.errors import UserError
from vocjax.mesh import make_mesh
from vocjax.models.backbones.darknet import DarknetNorm
from vocjax.tasks.task import Final
from vocjax.training import norms
from vocjax.training.loop import train_and_evaluate
from vocjax.training.phases import in_evaluation_mode
from vocjax.training.validate import validate

NORMED = {"model.norm": "batch", "model.encoder": (4, 4), "model.decoder": (4,)}


class Two(nn.Module):
    """Flax's batch norm and Darknet's, one after the other."""

    @nn.compact
    def __call__(self, x, train):
        x = nn.BatchNorm(momentum=0.9, name="first")(x, use_running_average=not train)
        return DarknetNorm(name="second")(2 * x + 1, train=train, valid=None)


@pytest.fixture(scope="module")
def model():
    images = np.random.default_rng(0).normal(3, 2, (5, 6, 4, 4, 3)).astype(np.float32)
    variables = Two().init(jax.random.key(0), images[0], train=False)
    return jnp.asarray(images), variables


def moved(variables, images, frozen=frozenset()):
    """The debiased statistics after each batch of images."""
    stats, weights = variables["batch_stats"], norms.zero_weights(variables["batch_stats"])
    for batch in images:
        momenta = {}
        with in_evaluation_mode(frozen), norms.watched(momenta):
            given = variables | {"batch_stats": stats}
            _, new = Two().apply(given, batch, train=True, mutable=["batch_stats"])
        stats, weights = norms.debiased(stats, new["batch_stats"], weights, momenta)
        yield stats


def test_debiased_statistics_are_an_average_of_batches_alone(model):
    images, variables = model
    means = np.asarray(images).mean(axis=(1, 2, 3))
    for t, stats in enumerate(moved(variables, images), start=1):
        shares = 0.1 * 0.9 ** np.arange(t)[::-1]
        expected = (shares[:, None] * means[:t]).sum(axis=0) / shares.sum()
        np.testing.assert_allclose(stats["first"]["mean"], expected, rtol=1e-5)
    np.testing.assert_allclose(stats["second"]["mean"], 1, atol=1e-4)  # of 2 x + 1, x normalised
    np.testing.assert_allclose(stats["second"]["var"], 4, rtol=1e-3)


def test_a_frozen_norm_keeps_its_statistics(model):
    images, variables = model
    *_, stats = moved(variables, images, frozenset({"first"}))
    jax.tree.map(np.testing.assert_array_equal, stats["first"], variables["batch_stats"]["first"])
    assert np.all(stats["second"]["mean"] != 0)


def test_a_run_ends_with_the_statistics_that_its_config_names(tiny_config, bare, tmp_path):
    """A network that stays as it was drawn, since it hardly learns, sees the same in each run."""
    still = {"optimizer.learning_rate": 1e-30, "optimizer.name": "sgd", "epochs": 3}
    found = {}
    for name in norms.STATISTICS:
        config = tiny_config(
            "autoencoder_256", **NORMED, **still, **{"model.norm_statistics": name}
        )
        task = bare(config)

        def finish(trained, name=name):
            found[name] = trained.variables["batch_stats"]
            return Final()

        train_and_evaluate(config, tmp_path / name, task._replace(finish=finish))
    began = task.init(jax.random.key(0))["batch_stats"]
    left = 0.99**6  # of the beginning, after six steps

    distances = []

    def check(keras, debiased, precise, first):
        np.testing.assert_allclose(
            keras, left * first + (1 - left) * debiased, rtol=1e-4, atol=1e-6
        )
        distances.append((abs(precise - keras).sum(), abs(precise - debiased).sum()))

    jax.tree.map(check, *found.values(), began)
    from_keras, from_debiased = np.sum(distances, axis=0)
    assert from_debiased < from_keras / 5  # of the same images, in other batches


def test_precise_statistics_are_those_of_the_whole_split(tiny_config, bare, tmp_path):
    config = tiny_config("autoencoder_256", **NORMED)
    task = bare(config)
    rng = np.random.default_rng(1)
    images = rng.random((8, 16, 16, 3)).astype(np.float32)
    valid = np.float32([1] * 8), np.float32([1, 1, 0, 0, 0, 0, 0, 0])
    variables = task.init(jax.random.key(0))
    batches = [
        {"image": jnp.asarray(images), "valid": jnp.asarray(valid[0])},
        {"image": jnp.asarray(images[::-1]), "valid": jnp.asarray(valid[1])},
    ]
    precise = norms.make_precise(task, frozenset(), make_mesh())
    stats = precise(variables, iter(batches))
    found = stats["encoder"]["ConvBlock_0"]["BatchNorm_0"]
    # What the first norm sees does not depend on statistics.
    kernel = variables["params"]["encoder"]["ConvBlock_0"]["Conv_0"]
    whole = np.concatenate([images, images[::-1][:2]])
    seen = jax.nn.relu(
        jax.lax.conv_general_dilated(
            whole, kernel["kernel"], (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
        )
        + kernel["bias"]
    )
    np.testing.assert_allclose(found["mean"], np.mean(seen, (0, 1, 2)), rtol=1e-4)
    np.testing.assert_allclose(found["var"], np.var(seen, (0, 1, 2)), rtol=1e-3)


def test_unknown_statistics_are_refused(tiny_config):
    with pytest.raises(UserError, match=r"model.norm_statistics is 'torch'; .* debiased, precise"):
        validate(tiny_config("segmentation_norm", **{"model.norm_statistics": "torch"}))
