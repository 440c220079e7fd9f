"""Update rules against Keras 3 and Keras 2's formulas; Muon, schedules, decay, clipping."""

import os

os.environ["KERAS_BACKEND"] = "jax"

import flax.linen as nn
import jax
import jax.numpy as jnp
import keras
import numpy as np
import optax
import pytest
from ml_collections import ConfigDict

from vocjax.errors import UserError
from vocjax.training.optimizers import make_optimizer, make_schedule

STEPS = 20
LEARNING_RATES = {"rmsprop": 1e-3, "adam": 1e-3, "sgd": 1e-2}
KERAS = {
    "rmsprop": keras.optimizers.RMSprop,
    "adam": keras.optimizers.Adam,
    "sgd": keras.optimizers.SGD,
}


def make_config(name="sgd", **overrides):
    config = ConfigDict(
        {
            "name": name,
            "learning_rate": LEARNING_RATES.get(name, 1e-3),
            "eps_in_sqrt": False,
            "schedule": "constant",
            "warmup_steps": 0,
            "weight_decay": 0.0,
            "clip_norm": 0.0,
        }
    )
    config.update(overrides)
    return config


def make_gradients(scale, size=50, steps=STEPS):
    """Noise around a mean, so that the moments neither vanish nor settle. [steps, size] float32."""
    noise = np.random.default_rng(0).normal(0.3, 1.0, (steps, size))
    return (scale * noise).astype(np.float32)


def run(config, gradients):
    """Where the parameters stand after all steps, from 0."""
    optimizer = make_optimizer(config, len(gradients))
    params = jnp.zeros(gradients.shape[1:], jnp.float32)
    state = optimizer.init(params)
    update = jax.jit(optimizer.update)
    for gradient in gradients:
        updates, state = update(gradient, state, params)
        params = optax.apply_updates(params, updates)
    return np.asarray(params)


def run_keras(name, gradients):
    optimizer = KERAS[name](LEARNING_RATES[name])
    variable = keras.Variable(np.zeros(gradients.shape[1:], np.float32))
    optimizer.build([variable])
    for gradient in gradients:
        optimizer.apply([jnp.asarray(gradient)], [variable])
    return np.asarray(variable)


def relative_difference(a, b):
    return np.linalg.norm(a - b) / np.linalg.norm(b)


@pytest.mark.parametrize("scale", [1.0, 1e-3, 1e-5])
@pytest.mark.parametrize(
    ("name", "eps_in_sqrt"), [("sgd", False), ("adam", False), ("rmsprop", True)]
)
def test_equals_keras_3(name, eps_in_sqrt, scale):
    gradients = make_gradients(scale)
    ours = run(make_config(name, eps_in_sqrt=eps_in_sqrt), gradients)
    np.testing.assert_allclose(ours, run_keras(name, gradients), rtol=2e-5, atol=1e-8 * scale)


def keras_2_rmsprop(gradients):
    position, average = np.zeros(gradients.shape[1:]), np.zeros(gradients.shape[1:])
    for gradient in gradients.astype(np.float64):
        average = 0.9 * average + 0.1 * gradient**2
        position -= 1e-3 * gradient / (np.sqrt(average) + 1e-7)
    return position


def keras_2_adam(gradients):
    position, first, second = (np.zeros(gradients.shape[1:]) for _ in range(3))
    for t, gradient in enumerate(gradients.astype(np.float64), start=1):
        first = 0.9 * first + 0.1 * gradient
        second = 0.999 * second + 0.001 * gradient**2
        rate = 1e-3 * np.sqrt(1 - 0.999**t) / (1 - 0.9**t)
        position -= rate * first / (np.sqrt(second) + 1e-7)
    return position


@pytest.mark.parametrize("scale", [1.0, 1e-3, 1e-5, 1e-7])
@pytest.mark.parametrize(
    ("name", "formula"), [("rmsprop", keras_2_rmsprop), ("adam", keras_2_adam)]
)
def test_equals_keras_2s_formula(name, formula, scale):
    gradients = make_gradients(scale)
    np.testing.assert_allclose(
        run(make_config(name), gradients), formula(gradients), rtol=2e-5, atol=1e-8
    )


def test_epsilon_inside_the_root_is_another_rmsprop():
    # The first average is .1 g^2 = 1e-7 for g = 1e-3: an epsilon of 1e-7 beside it doubles it.
    first = make_gradients(0.0, steps=1) + np.float32(1e-3)
    inside, outside = run_keras("rmsprop", first), run(make_config("rmsprop"), first)
    np.testing.assert_allclose(inside / outside, 1 / np.sqrt(2), rtol=5e-4)
    gradients = make_gradients(1e-3)
    inside, outside = run_keras("rmsprop", gradients), run(make_config("rmsprop"), gradients)
    assert 0.2 < relative_difference(inside, outside) < 0.3


def test_glorot_uniform_has_keras_bounds():
    shape = (3, 3, 16, 24)
    limit = np.sqrt(6 / (3 * 3 * 16 + 3 * 3 * 24))
    ours = nn.initializers.glorot_uniform()(jax.random.key(0), shape)
    theirs = keras.initializers.GlorotUniform(seed=0)(shape)
    for kernel in (np.asarray(ours), np.asarray(theirs)):
        assert 0.995 * limit < np.abs(kernel).max() <= limit
        np.testing.assert_allclose(kernel.std(), limit / np.sqrt(3), rtol=0.03)


def first_direction(name, grads):
    """What the first step at a learning rate of 1 goes against."""
    optimizer = make_optimizer(make_config(name, learning_rate=1.0), 10)
    params = jax.tree.map(jnp.zeros_like, grads)
    updates, _ = jax.jit(optimizer.update)(grads, optimizer.init(params), params)
    return jax.tree.map(lambda u: -np.asarray(u), updates)


@pytest.mark.parametrize("shape", [(6, 6), (5, 12), (3, 3, 2, 7), (2, 4, 3, 5)])
def test_muon_goes_as_far_in_every_direction_of_a_kernel(shape):
    """The gradient's singular vectors, with values near 1 however small the gradient's own are."""
    rng = np.random.default_rng(0)
    matrix = rng.standard_normal((int(np.prod(shape[:-1])), shape[-1]))
    left, _, right = np.linalg.svd(matrix, full_matrices=False)
    values = np.geomspace(1, 0.02, len(right))
    gradient = (left * values) @ right
    moved = first_direction("muon", jnp.asarray(gradient.reshape(shape), jnp.float32))
    turned = left.T @ moved.reshape(matrix.shape) @ right.T
    # Five steps of Jordan's polynomial leave them between .7 and 1.2.
    assert np.all(np.abs(np.diag(turned) - 1) < 0.35)
    np.testing.assert_allclose(turned - np.diag(np.diag(turned)), 0, atol=1e-3)


def test_muon_does_not_see_the_size_of_a_gradient():
    gradient = jnp.asarray(np.random.default_rng(0).standard_normal((4, 6)), jnp.float32)
    small = first_direction("muon", 1e-4 * gradient)
    np.testing.assert_allclose(small, first_direction("muon", gradient), atol=1e-3)


def test_muon_leaves_what_is_no_kernel_to_adam():
    rng = np.random.default_rng(0)
    grads = {
        "kernel": jnp.asarray(rng.standard_normal((3, 3, 2, 4)), jnp.float32),
        "bias": jnp.asarray(rng.standard_normal(4), jnp.float32),
        "scale": jnp.asarray(rng.standard_normal(()), jnp.float32),
    }
    muon, adam = first_direction("muon", grads), first_direction("adam", grads)
    np.testing.assert_array_equal(muon["bias"], adam["bias"])
    np.testing.assert_array_equal(muon["scale"], adam["scale"])
    assert relative_difference(muon["kernel"], adam["kernel"]) > 0.1


def rates(config, total_steps):
    schedule = make_schedule(config, total_steps)
    return jax.jit(jax.vmap(schedule))(jnp.arange(total_steps + 1))


def test_constant_schedule_after_a_warmup():
    config = make_config(learning_rate=0.4, warmup_steps=3)
    np.testing.assert_allclose(rates(config, 6), [0.1, 0.2, 0.3, 0.4, 0.4, 0.4, 0.4], rtol=1e-6)


def test_linear_schedule():
    expected = [0.4, 0.3, 0.2, 0.1, 0.0]
    config = make_config(learning_rate=0.4, schedule="linear")
    np.testing.assert_allclose(rates(config, 4), expected, rtol=1e-6)
    config.warmup_steps = 1
    np.testing.assert_allclose(rates(config, 5), [0.2, *expected], rtol=1e-6)


def test_cosine_schedule():
    expected = [0.2 * (1 + np.cos(np.pi * step / 10)) for step in range(11)]
    config = make_config(learning_rate=0.4, schedule="cosine")
    np.testing.assert_allclose(rates(config, 10), expected, atol=1e-7)
    after_warmup = rates(make_config(learning_rate=0.4, schedule="cosine", warmup_steps=2), 12)
    np.testing.assert_allclose(after_warmup[2:], expected, atol=1e-7)


def test_the_schedule_moves_the_optimizer():
    config = make_config(learning_rate=1.0, schedule="linear", warmup_steps=1)
    position = run(config, np.ones((5, 2), np.float32))
    np.testing.assert_allclose(position, -(0.5 + 1 + 0.75 + 0.5 + 0.25), rtol=1e-6)


@pytest.mark.parametrize("name", ["sgd", "adam", "rmsprop", "muon"])
def test_weight_decay_is_decoupled_and_spares_all_but_kernels(name):
    params = {"kernel": jnp.full((3, 2), 2.0), "bias": jnp.full((2,), 2.0)}
    grads = jax.tree.map(lambda p: 0.01 * p, params)

    def first_updates(weight_decay):
        config = make_config(name, learning_rate=0.1, weight_decay=weight_decay)
        optimizer = make_optimizer(config, 10)
        return jax.jit(optimizer.update)(grads, optimizer.init(params), params)[0]

    plain, decayed = first_updates(0.0), first_updates(0.3)
    np.testing.assert_array_equal(decayed["bias"], plain["bias"])
    np.testing.assert_allclose(decayed["kernel"] - plain["kernel"], -0.1 * 0.3 * 2.0, rtol=1e-5)


def test_clipping_bounds_the_norm_of_all_gradients_together():
    params = {"a": jnp.zeros(()), "b": jnp.zeros((1, 1))}
    grads = {"a": jnp.asarray(3.0), "b": jnp.asarray([[4.0]])}

    def first_updates(clip_norm):
        optimizer = make_optimizer(make_config(learning_rate=0.5, clip_norm=clip_norm), 10)
        updates, _ = jax.jit(optimizer.update)(grads, optimizer.init(params), params)
        return float(updates["a"]), float(updates["b"][0, 0])

    np.testing.assert_allclose(first_updates(1.0), (-0.3, -0.4), rtol=1e-6)
    assert first_updates(6.0) == first_updates(0.0) == (-1.5, -2.0)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"name": "adma"}, "'adma'.*rmsprop, adam, sgd, muon.*Did you mean 'adam'"),
        ({"name": "lion"}, "'lion'.*rmsprop, adam, sgd"),
        ({"schedule": "cosin"}, "'cosin'.*constant, cosine, linear.*Did you mean 'cosine'"),
        ({"learning_rate": 0.0}, "learning_rate=0.0.*above 0"),
        ({"learning_rate": float("nan")}, "learning_rate=nan"),
        ({"warmup_steps": -1}, "warmup_steps=-1"),
        ({"warmup_steps": 10}, "warmup_steps=10 in a run, or a phase of it, of 10 steps"),
        ({"weight_decay": -0.1}, "weight_decay=-0.1"),
        ({"clip_norm": -1.0}, "clip_norm=-1.0"),
        ({"name": "adam", "eps_in_sqrt": True}, "eps_in_sqrt=True.*'adam'.*'rmsprop' only"),
    ],
)
def test_a_mistake_in_the_config_is_told(overrides, message):
    with pytest.raises(UserError, match=message):
        make_optimizer(make_config(**overrides), 10)
