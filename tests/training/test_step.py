"""The train step: equal to a whole fit of Keras, donated, compiled once."""

import functools
import signal

import jax
import jax.numpy as jnp
import keras
import numpy as np
import pytest

from vocjax.data.pipeline import plan
from vocjax.mesh import make_mesh
from vocjax.metrics import streaming
from vocjax.training import loop
from vocjax.training import step as step_module
from vocjax.training.evaluation import summarise
from vocjax.training.interrupts import Interrupted
from vocjax.training.phases import phase_optimizer
from vocjax.training.step import is_finite, make_train_step, mean_loss

STEPS = 20


def batches(config, train):
    return train.batches(plan(np.arange(len(train.ids)), config.batch_size, make_mesh()))


def keras_autoencoder(params):
    conv = functools.partial(keras.layers.Conv2D, kernel_size=3, padding="same", activation="relu")
    layers = [
        conv(4),
        keras.layers.MaxPooling2D(),
        conv(4),
        keras.layers.MaxPooling2D(),
        conv(4),
        conv(4),
        keras.layers.UpSampling2D(interpolation="nearest"),
        conv(4),
        keras.layers.UpSampling2D(interpolation="nearest"),
        conv(3, activation="sigmoid"),
    ]
    model = keras.Sequential([keras.layers.Input((16, 16, 3)), *layers])
    model.set_weights([array for pair in kernels_and_biases(params) for array in pair])
    return model


def kernels_and_biases(params):
    encoder, decoder = params["encoder"], params["decoder"]
    convs = [
        *(encoder[f"ConvBlock_{i}"]["Conv_0"] for i in range(3)),
        *(decoder[f"ConvBlock_{i}"]["Conv_0"] for i in range(2)),
        decoder["Conv_0"],
    ]
    return [(np.asarray(conv["kernel"]), np.asarray(conv["bias"])) for conv in convs]


def keras_weights(model):
    return [np.asarray(weight.value) for weight in model.weights]


def test_equals_a_keras_fit_over_20_steps(tiny_config, begun):
    """With rmsprop; the other update rules are compared in test_optimizers."""
    config = tiny_config(
        "autoencoder_256",
        batch_size=5,
        **{
            "data.classes": (),  # 24 images: batches of 5, 5, 5, 5 and 4
            "optimizer.name": "rmsprop",
            "optimizer.learning_rate": 1e-3,
            "optimizer.eps_in_sqrt": True,
        },
    )
    valid, step, state, train, *_ = begun(config)
    model = keras_autoencoder(state.params)
    start = keras_weights(model)
    images = np.concatenate(
        [np.asarray(b["image"])[np.asarray(b["valid"]) > 0] for b in batches(config, train)]
    )
    images = images.astype(np.float32) / 255
    assert len(images) == 24
    losses = []
    for _ in range(4):
        for batch in batches(config, train):
            state, _ = step(state, batch)
        losses.append(summarise(valid.task, state.sums, {})["loss"])
        state = state._replace(sums=jax.tree.map(jnp.zeros_like, state.sums))
    assert int(state.step) == STEPS

    model.compile(optimizer=keras.optimizers.RMSprop(1e-3), loss="mse")
    history = model.fit(images, images, batch_size=5, epochs=4, shuffle=False, verbose=0)
    np.testing.assert_allclose(losses, history.history["loss"], rtol=1e-5)
    ours = [array for pair in kernels_and_biases(state.params) for array in pair]
    for mine, theirs, first in zip(ours, keras_weights(model), start, strict=True):
        moved = np.linalg.norm(theirs - first)
        assert moved > 1e-3
        assert np.linalg.norm(mine - theirs) < 1e-4 * moved


def test_state_is_donated_and_the_batch_is_not(tiny_config, begun):
    start = begun(tiny_config("linear_autoencoder", **{"data.size": 4}))
    after, _ = start.step(start.state, start.batch)
    assert all(leaf.is_deleted() for leaf in jax.tree.leaves(start.state))
    assert not any(leaf.is_deleted() for leaf in jax.tree.leaves((after, start.batch)))


@pytest.mark.parametrize("storage", ["device", "stream"])
def test_whole_run_compiles_each_step_once(storage, tiny_config, signal_at, caplog, tmp_path):
    def compilations():
        lines = [record.getMessage() for record in caplog.records]
        caplog.clear()
        names = ("step", "measure", "outputs")
        return [sum(line.startswith(f"Compiling jit({n})") for line in lines) for n in names]

    # Three epochs of 4, 4 and 2 images; the autoencoder has three baselines.
    fields = {"epochs": 3, "batch_size": 4, "evaluate_every_epochs": 1}
    small = {"data.size": 4, "data.storage": storage}
    config = tiny_config("linear_autoencoder", **fields, **small)
    signal_at({3: (signal.SIGTERM,)})
    with jax.log_compiles(), pytest.raises(Interrupted):
        loop.train_and_evaluate(config, tmp_path)
    # What is measured: of the model, and of all baselines together.
    assert compilations() == [1, 2, 1]
    with jax.log_compiles():
        loop.train_and_evaluate(config, tmp_path)  # from a restored state
    assert compilations() == [1, 1, 1]


DRAWS = {
    "dropout": ("segmentation_dice", {"model.dropout": 0.2, "model.encoder": (4, 4)}),
    "augmentation": ("linear_autoencoder", {"data.augment.flip": True, "data.size": 4}),
}


@pytest.mark.parametrize("draw", DRAWS)
def test_draws_change_with_the_step_and_with_nothing_else(draw, tiny_config, begun):
    name, fields = DRAWS[draw]
    small = {"model.decoder": (4,)} if "model.encoder" in fields else {}
    start = begun(tiny_config(name, **fields, **small))

    def loss_at(number):
        copy = jax.tree.map(jnp.copy, start.state)
        return float(start.step(copy._replace(step=jnp.asarray(number, jnp.int32)), start.batch)[1])

    assert loss_at(0) == loss_at(0)
    assert len({loss_at(0), loss_at(1), loss_at(2)}) == 3


def test_padding_of_a_batch_changes_nothing(random_config, begun):
    """Two images in a batch of 5 and of 12; the draws of an image don't depend on the padding."""
    after = []
    for batch_size in (5, 12):
        config = random_config(batch_size=batch_size)
        _, step, state, train, *_ = begun(config)
        rows = np.arange(batch_size, dtype=np.int32) % 12
        batch = next(train.batches(iter([(rows, np.float32(rows < 2))])))
        state, loss = step(state, batch)
        after.append((loss, state.batch_stats, state.opt_state, state.sums))
    for a, b in zip(*map(jax.tree.leaves, after), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-8)


def test_mean_loss_leaves_out_examples_without_weight():
    losses = jnp.array([1.0, 3.0, 8.0, jnp.nan, jnp.inf])
    targets = {"weight": jnp.array([1.0, 1.0, 1.0, 0.0, 0.0])}
    assert streaming.value(mean_loss(losses, targets)) == 4


def test_targets_and_loss_are_computed_once_a_step(random_config, begun):
    calls = []

    def noted(name, function):
        return lambda *arguments: calls.append(name) or function(*arguments)

    config = random_config()
    start = begun(config)
    task = start.task._replace(
        targets=noted("targets", start.task.targets), loss=noted("loss", start.task.loss)
    )
    phase = start.valid.phases[0]
    step = make_train_step(task, phase_optimizer(config, phase, 1), phase, config, make_mesh())
    jax.eval_shape(step, start.state, start.batch)
    assert calls == ["targets", "loss"]


def test_bfloat16_is_what_is_computed_in_and_float32_what_is_kept(random_config, begun):
    """How near its values are to those of float32, the tests of the networks ask."""
    for precision in ("float32", "bfloat16"):
        start = begun(random_config(precision=precision))
        arguments = start.state, start.batch
        traced = str(start.step.trace(*arguments).jaxpr)
        assert ("bf16" in traced) == (precision == "bfloat16")
        state, loss = jax.eval_shape(start.step, *arguments)
        kept = (state.params, state.batch_stats, state.opt_state, state.sums, loss)
        assert {str(x.dtype) for x in jax.tree.leaves(kept)} == {"float32", "int32"}


@pytest.mark.parametrize(
    ("values", "finite"),
    [([1.0, -3e38], True), ([1.0, np.inf], False), ([np.nan, 0.0], False)],
)
def test_is_finite(values, finite):
    tree = {"ours": jnp.zeros((2, 2)), "theirs": [jnp.array(values)]}
    assert bool(is_finite(tree)) is finite


def test_the_compilers_options_change_no_more_than_rounding(random_config, begun, monkeypatch):
    """Of the second step, in which norms have biases, and so what is pooled is rounded."""
    sgd = {"optimizer.name": "sgd", "optimizer.learning_rate": 0.1, "batch_size": 9}
    config, found = random_config(**{"model.encoder": (8, 8)}, **sgd), []
    for options in (step_module.train_step_options(), {}):
        monkeypatch.setattr(step_module, "train_step_options", lambda options=options: options)
        start = begun(config)
        state, _ = start.step(start.state, start.batch)
        found.append(start.step(state, start.batch)[0].params)
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, rtol=1e-5, atol=1e-7), *found)
