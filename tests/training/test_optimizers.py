"""Update rules against Keras 3 and Keras 2's formulas; optax, Muon, decay, clipping."""

import os

os.environ["KERAS_BACKEND"] = "jax"

import flax.linen as nn
import jax
import jax.numpy as jnp
import keras
import numpy as np
import optax
import optax.contrib
import pytest

from vocjax.config import base_config
from vocjax.errors import UserError
from vocjax.training.optimizers import check_updates, decayed, make_optimizer

STEPS = 20
LEARNING_RATES = {"rmsprop": 1e-3, "adam": 1e-3, "sgd": 1e-2}
KERAS = {
    "rmsprop": keras.optimizers.RMSprop,
    "adam": keras.optimizers.Adam,
    "sgd": keras.optimizers.SGD,
}


def make_config(name="sgd", **overrides):
    config = base_config().optimizer
    config.name, config.learning_rate = name, LEARNING_RATES.get(name, 1e-3)
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


def run_keras(name, gradients, **arguments):
    optimizer = KERAS[name](LEARNING_RATES[name], **arguments)
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


@pytest.mark.parametrize(
    ("name", "ours", "theirs"),
    [
        ("sgd", {"momentum": 0.8}, {"momentum": 0.8}),
        ("sgd", {"momentum": 0.8, "nesterov": True}, {"momentum": 0.8, "nesterov": True}),
        ("rmsprop", {"decay": 0.7, "momentum": 0.5}, {"rho": 0.7, "momentum": 0.5}),
        (
            "adam",
            {"b1": 0.8, "b2": 0.95, "eps": 1e-3},
            {"beta_1": 0.8, "beta_2": 0.95, "epsilon": 1e-3},
        ),
    ],
)
def test_arguments_are_those_of_keras_3(name, ours, theirs):
    gradients = make_gradients(1e-2)
    config = make_config(name, arguments=tuple(ours.items()), eps_in_sqrt=name == "rmsprop")
    mine = run(config, gradients)
    np.testing.assert_allclose(mine, run_keras(name, gradients, **theirs), rtol=2e-5, atol=1e-8)
    assert relative_difference(mine, run(make_config(name), gradients)) > 0.05


@pytest.mark.parametrize("scale", [1.0, 1e-5])
def test_adam_as_the_slides_print_it(scale):
    gradients = make_gradients(scale)
    position, first, second = (np.zeros(gradients.shape[1:]) for _ in range(3))
    for t, gradient in enumerate(gradients.astype(np.float64), start=1):
        first = 0.9 * first + 0.1 * gradient
        second = 0.999 * second + 0.001 * gradient**2
        root = np.sqrt(second / (1 - 0.999**t) + 1e-7)
        position -= 1e-3 * first / (1 - 0.9**t) / root
    printed = run(make_config("adam", eps_in_sqrt=True), gradients)
    np.testing.assert_allclose(printed, position, rtol=2e-5, atol=1e-9)
    if scale < 1:
        assert relative_difference(printed, run(make_config("adam"), gradients)) > 0.5


PARAMS = {"kernel": jnp.full((3, 2), 2.0), "bias": jnp.full((2,), 2.0)}


def steps_of(optimizer, params=PARAMS):
    """Where parameters stand after three steps whose gradients depend on them."""
    state, update = optimizer.init(params), jax.jit(optimizer.update)
    for step in range(3):
        grads = jax.tree.map(lambda p, step=step: jnp.sin(p + step), params)
        updates, state = update(grads, state, params)
        params = optax.apply_updates(params, updates)
    return params


KERNELS = {"kernel": True, "bias": False}
COSINE = optax.cosine_decay_schedule(0.1, 10)


@pytest.mark.parametrize(
    ("name", "fields", "theirs"),
    [
        ("lion", {"arguments": (("b1", 0.8),)}, optax.lion(COSINE, b1=0.8, weight_decay=0.0)),
        ("adamw", {}, optax.adam(COSINE)),  # its own default of the decay is not 0
        ("adamw", {"weight_decay": 0.3}, optax.adamw(COSINE, weight_decay=0.3, mask=KERNELS)),
        (
            "lamb",
            {"weight_decay": 0.3, "weight_decay_on": "all"},
            optax.lamb(COSINE, weight_decay=0.3),
        ),
        ("optax.adam", {}, optax.adam(COSINE)),  # not ours
        ("ademamix", {}, optax.contrib.ademamix(COSINE)),
        ("rprop", {"schedule": "constant"}, optax.rprop(0.1)),  # which takes a number
    ],
)
def test_optimizers_of_optax(name, fields, theirs):
    config = make_config(name, learning_rate=0.1, **({"schedule": "cosine"} | fields))
    ours, expected = steps_of(make_optimizer(config, 10)), steps_of(theirs)
    jax.tree.map(np.testing.assert_array_equal, ours, expected)


def test_an_optimizer_of_optax_without_a_decay_gets_ours():
    fields = {"learning_rate": 0.1, "schedule": "cosine", "weight_decay": 0.3}
    ours = steps_of(make_optimizer(make_config("adabelief", **fields), 10))
    plain = optax.adabelief(COSINE)
    params, state = PARAMS, plain.init(PARAMS)
    for step in range(3):
        grads = jax.tree.map(lambda p, step=step: jnp.sin(p + step), params)
        updates, state = plain.update(grads, state, params)
        decay = {"kernel": COSINE(step) * 0.3 * params["kernel"], "bias": 0.0}
        params = jax.tree.map(lambda p, u, d: p + u - d, params, updates, decay)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5), ours, params)


def test_what_the_weight_decay_touches():
    fields = {"weight_decay": 0.1}
    assert decayed(make_config(), PARAMS) == 0
    assert decayed(make_config(**fields), PARAMS) == 6
    assert decayed(make_config(**fields, weight_decay_on="all"), PARAMS) == 8
    moved = steps_of(make_optimizer(make_config(**fields, weight_decay_on="all"), 10))
    theirs = steps_of(optax.chain(optax.add_decayed_weights(0.1), optax.sgd(1e-2)))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6), moved, theirs)


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
        ({"name": "lookahead"}, "'lookahead'.* no optimizer of optax but a part, or a wrapper"),
        ({"name": "scale_by_adam"}, "'scale_by_adam'.* no optimizer of optax"),
        ({"name": "schedule_free_sgd"}, "'schedule_free_sgd'.* not those to evaluate"),
        ({"name": "dpsgd"}, "lacks 'l2_norm_clip', 'noise_multiplier', 'seed'; dpsgd takes"),
        ({"name": "galore"}, "'galore' keeps arrays without numbers .* a checkpoint can't hold"),
        ({"name": "lbfgs"}, r"'lbfgs' can't be used like this: TypeError: .*value_fn.*\. Change"),
        ({"name": "rprop", "warmup_steps": 1}, "'rprop' with a learning rate that changes can't"),
        ({"arguments": ("momentum", 0.9)}, "arguments is .*it is a tuple of pairs"),
        ({"arguments": (("momentum", 0.9),) * 2}, "arguments is .*each name once"),
        ({"arguments": (("momentun", 0.9),)}, "'momentun'; sgd takes momentum=0.0, nesterov=False"),
        ({"arguments": (("momentum", 1.0),)}, "arguments: momentum is 1.0; .*less than 1"),
        ({"arguments": (("momentum", "a"),)}, "momentum is 'a'; it must be a number"),
        ({"arguments": (("momentum", 0.9), ("nesterov", "no"))}, "nesterov is 'no'; .*True or Fa"),
        ({"name": "adam", "arguments": (("eps", -1.0),)}, "eps is -1.0; it must be at least 0"),
        ({"name": "rmsprop", "arguments": (("eps", -1),)}, "eps is -1; it must be at least 0"),
        ({"name": "adam", "arguments": (("eps", float("nan")),)}, "eps is nan; it must be a num"),
        ({"name": "adam", "arguments": (("eps", "1e-3"),)}, "eps is '1e-3'; it must be a number"),
        ({"name": "muon", "arguments": (("ns_steps", 0),)}, "ns_steps is 0; .*at least 1"),
        ({"name": "muon", "arguments": (("ns_steps", 1.5),)}, "ns_steps is 1.5; .*whole number"),
        ({"name": "lion", "arguments": (("b1", 5.0),)}, "b1 is 5.0; .*less than 1"),
        ({"name": "lion", "arguments": (("b1", "x"),)}, "b1 is 'x'; it must be a number"),
        ({"name": "lion", "arguments": (("mu_dtype", "int8"),)}, "mu_dtype is 'int8'; .*float32"),
        (
            {"name": "optax.adam", "arguments": (("eps_root", -1.0),)},
            "'optax.adam' with eps_root=-1.0 gives updates that are not finite",
        ),
        ({"name": "optax.adam", "arguments": (("nesterov", "no"),)}, "nesterov is 'no'; .*True"),
        ({"arguments": (("nesterov", True),)}, "nesterov, which needs a momentum"),
        ({"name": "lion", "arguments": (("b3", 0.9),)}, "'b3'; lion takes b1=0.9, b2=0.99, mu_dt"),
        ({"name": "lion", "arguments": (("mask", 1),)}, "a field: set optimizer.weight_decay_on"),
        ({"name": "adam", "arguments": (("eps_in_sqrt", 1),)}, "set optimizer.eps_in_sqrt"),
        ({"weight_decay_on": "norms"}, "weight_decay_on is 'norms'; it is one of kernels, all"),
        ({"learning_rate": 0.0}, "learning_rate is 0.0; .*above 0"),
        ({"learning_rate": float("nan")}, "learning_rate is nan"),
        ({"warmup_steps": -1}, "warmup_steps is -1"),
        ({"warmup_steps": 10}, "warmup_steps is 10 in a run, or a phase of it, of 10 steps"),
        ({"weight_decay": -0.1}, "weight_decay is -0.1"),
        ({"clip_norm": -1.0}, "clip_norm is -1.0"),
        ({"eps_in_sqrt": True}, "eps_in_sqrt is True.*'sgd'; only rmsprop and adam"),
    ],
)
def test_a_mistake_in_the_config_is_told(overrides, message):
    with pytest.raises(UserError, match=message):
        check_updates(config := make_config(**overrides), make_optimizer(config, 10), PARAMS)
