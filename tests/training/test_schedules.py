"""Schedules by name against their formulas and Keras, with the warm-up; those of optax."""

import os

os.environ["KERAS_BACKEND"] = "jax"

import jax
import jax.numpy as jnp
import keras
import numpy as np
import optax
import pytest

from vocjax.config import base_config
from vocjax.errors import UserError
from vocjax.training.schedules import beyond, make_schedule


def make_config(schedule="constant", learning_rate=0.4, **fields):
    config = base_config().optimizer
    config.update({"schedule": schedule, "learning_rate": learning_rate, **fields})
    return config


def rates(config, total_steps, epoch_steps=1):
    schedule = make_schedule(config, total_steps, epoch_steps=epoch_steps)
    return jax.jit(jax.vmap(schedule))(jnp.arange(total_steps + 1))


def test_constant_schedule_after_a_warmup():
    config = make_config(warmup_steps=3)
    np.testing.assert_allclose(rates(config, 6), [0.1, 0.2, 0.3, 0.4, 0.4, 0.4, 0.4], rtol=1e-6)


def test_linear_schedule():
    expected = [0.4, 0.3, 0.2, 0.1, 0.0]
    config = make_config("linear")
    np.testing.assert_allclose(rates(config, 4), expected, rtol=1e-6)
    config.warmup_steps = 1
    np.testing.assert_allclose(rates(config, 5), [0.2, *expected], rtol=1e-6)


def test_cosine_schedule():
    expected = [0.2 * (1 + np.cos(np.pi * step / 10)) for step in range(11)]
    config = make_config("cosine")
    np.testing.assert_allclose(rates(config, 10), expected, atol=1e-7)
    after_warmup = rates(make_config("cosine", warmup_steps=2), 12)
    np.testing.assert_allclose(after_warmup[2:], expected, atol=1e-7)


@pytest.mark.parametrize(
    ("name", "arguments", "theirs"),
    [
        (
            "step",
            {"boundaries": (3, 7), "factor": 0.5},
            # Keras changes the rate one step later, after the boundary.
            keras.optimizers.schedules.PiecewiseConstantDecay([2, 6], [0.4, 0.2, 0.1]),
        ),
        ("cosine", {"end": 0.1}, keras.optimizers.schedules.CosineDecay(0.4, 20, alpha=0.1)),
        (
            "poly",
            {"power": 2.0, "end": 0.25},
            keras.optimizers.schedules.PolynomialDecay(0.4, 20, 0.1, power=2.0),
        ),
        (
            "warm_restarts",
            {"first": 3, "growth": 2, "end": 0.1},
            keras.optimizers.schedules.CosineDecayRestarts(0.4, 3, t_mul=2.0, alpha=0.1),
        ),
        (
            "warm_restarts",
            {"first": 6},
            keras.optimizers.schedules.CosineDecayRestarts(0.4, 6, t_mul=1.0),
        ),
    ],
)
def test_equals_kerass_schedule(name, arguments, theirs):
    config = make_config(name, schedule_arguments=tuple(arguments.items()))
    expected = [theirs(step) for step in range(21)]
    np.testing.assert_allclose(rates(config, 20), expected, rtol=1e-5, atol=1e-7)


def test_poly_has_the_power_of_deeplab():
    expected = 0.4 * (1 - np.arange(11) / 10) ** 0.9
    np.testing.assert_allclose(rates(make_config("poly"), 10), expected, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize(
    ("name", "in_steps", "in_epochs"),
    [
        ("step", {"boundaries": (4, 10)}, {"boundaries": (1, 2.5)}),
        ("warm_restarts", {"first": 4, "growth": 2}, {"first": 1, "growth": 2}),
        ("exponential_decay", {"transition_steps": 6}, {"transition_steps": 1.5}),
        (
            "piecewise_constant_schedule",
            {"boundaries_and_scales": ((4, 0.5), (8, 0.1))},
            {"boundaries_and_scales": ((1, 0.5), (2, 0.1))},
        ),
    ],
)
def test_lengths_count_steps_or_epochs(name, in_steps, in_epochs):
    others = {"decay_rate": 0.5} if name == "exponential_decay" else {}

    def found(arguments, unit):
        pairs = tuple((arguments | others).items())
        config = make_config(name, schedule_arguments=pairs, schedule_unit=unit, warmup_steps=2)
        return rates(config, 16, epoch_steps=4)

    steps, epochs = found(in_steps, "steps"), found(in_epochs, "epochs")
    np.testing.assert_array_equal(steps, epochs)
    assert len(set(steps[2:].tolist())) > 2


def test_a_schedule_of_optax_has_the_rate_and_the_steps_of_the_run():
    theirs = optax.cosine_onecycle_schedule(8, 0.4, pct_start=0.5)
    pairs = (("pct_start", 0.5),)
    config = make_config("cosine_onecycle_schedule", schedule_arguments=pairs, warmup_steps=2)
    np.testing.assert_allclose(rates(config, 10)[2:], [theirs(s) for s in range(9)], rtol=1e-6)
    powers = (("power", 2.0), ("end_value", 0.0), ("transition_steps", 4))
    config = make_config("polynomial_schedule", schedule_arguments=powers)
    np.testing.assert_allclose(rates(config, 8)[::2], [0.4, 0.1, 0, 0, 0], atol=1e-7)


@pytest.mark.parametrize(
    ("schedule", "pairs", "message"),
    [
        ("cosin", (), "'cosin'.*constant, step, linear, cosine, poly.*Did you mean 'cosine'"),
        ("join_schedules", (), "'join_schedules'; it is one of"),
        ("poly", ("power", 2.0), "schedule_arguments is .*a tuple of pairs"),
        ("poly", (("powr", 2.0),), "'powr'; poly takes power=0.9, end=0.0. Did you mean 'power'"),
        ("poly", (("peak", 2.0),), "'peak', which is a field: set optimizer.learning_rate"),
        ("poly", (("power", "a"),), "power is 'a'; it must be a number"),
        ("step", (), "lacks 'boundaries'; step takes boundaries, factor=0.1"),
        ("step", (("boundaries", (3, 2)),), r"boundaries=\(3, 2\); it is a tuple of rising"),
        ("step", (("boundaries", ("a",)),), "boundaries is 'a'; it must be a number"),
        ("step", (("boundaries", ()),), r"boundaries=\(\); it is a tuple of rising numbers, one"),
        ("warm_restarts", (("first", 0),), "first is 0; it must be above 0"),
        ("warm_restarts", (("first", "a"),), "first is 'a'; it must be a number"),
        ("warm_restarts", (("first", 2), ("growth", 1.5)), "growth is 1.5; it must be a whole"),
        ("warm_restarts", (("first", 2), ("growth", "2")), "growth is '2'; it must be a number"),
        ("cosine", (("end", -1.0),), "end is -1.0; it must be at least 0"),
        ("exponential_decay", (), "lacks 'decay_rate'; optax.exponential_decay takes trans"),
        (
            "piecewise_constant_schedule",
            (("boundaries_and_scales", (1, 2)),),
            r"it is a tuple of \(step, factor\)",
        ),
    ],
)
def test_a_mistake_in_a_schedule_is_told(schedule, pairs, message):
    with pytest.raises(UserError, match=message):
        make_schedule(make_config(schedule, schedule_arguments=pairs), 10)
    with pytest.raises(UserError, match="schedule_unit is 'weeks'; it is one of steps, epochs"):
        make_schedule(make_config(schedule_unit="weeks"), 10)


def test_lengths_are_told_in_the_unit_of_the_user():
    def told(name, *pairs):
        config = make_config(name, schedule_arguments=pairs, schedule_unit="epochs")
        with pytest.raises(UserError) as error:
            make_schedule(config, 40, epoch_steps=10)
        return str(error.value)

    assert "boundaries=(0.01, 2), and 0.01 of an epoch" in told("step", ("boundaries", (0.01, 2)))
    said = told("step", ("boundaries", (0.51, 0.52)))
    assert "boundaries=(0.51, 0.52); it is a tuple of rising numbers, 0.1 apart at least" in said
    assert "first=0.04, and 0.04 of an epoch of 10" in told("warm_restarts", ("first", 0.04))


@pytest.mark.parametrize(
    ("unit", "boundaries", "said"),
    [
        ("steps", (10, 19), []),
        ("steps", (10, 100), ["schedule boundaries at 100 steps lie after the end (20 updates, 4"]),
        ("epochs", (2, 4), ["schedule boundaries at 4 epochs lie after the end (20 updates, 4 ep"]),
    ],
)
def test_boundaries_beyond_the_end_are_told(unit, boundaries, said):
    ours = make_config("step", schedule_arguments=(("boundaries", boundaries),), schedule_unit=unit)
    pairs = (("boundaries_and_scales", tuple((at, 0.5) for at in boundaries)),)
    theirs = make_config(
        "piecewise_constant_schedule", schedule_arguments=pairs, schedule_unit=unit
    )
    for config in (ours, theirs):
        lines = beyond(config, 20, 5)
        assert [line[: len(s)] for line, s in zip(lines, said, strict=True)] == said
