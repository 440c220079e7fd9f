"""Phases: which parameters learn, when and how fast."""

import signal

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from encoder_arrays import assert_equal, encoder_of
from flax.traverse_util import flatten_dict
from outcome import assert_same_outcome, saved_state

from vocjax.errors import UserError
from vocjax.tasks import make_task
from vocjax.training.interrupts import Interrupted
from vocjax.training.loop import train_and_evaluate
from vocjax.training.phases import (
    frozen_modules,
    join,
    make_phases,
    phase_of_step,
    phase_optimizer,
)

FROZEN = ("encoder/.*", 0.0), ("head/.*", 1.0)
SGD = {"optimizer.name": "sgd", "optimizer.learning_rate": 0.1}


@pytest.fixture(scope="module")
def shapes(tiny_config):
    """The shapes of a classifier's parameters."""
    task = make_task(tiny_config("classifier_256"))
    return jax.eval_shape(task.init, jax.random.key(0))["params"]


@pytest.fixture(scope="module")
def phases_of(tiny_config, shapes):
    """`phases_of(phases, epochs)` of a classifier."""

    def make(phases, epochs=4):
        return make_phases(
            tiny_config("classifier_256", epochs=epochs, **{"optimizer.phases": phases}), shapes
        )

    return make


# What a config says ------------------------------------------------------------------------------


def test_without_phases_everything_learns(phases_of, shapes):
    (phase,) = phases_of(())
    assert (phase.first, phase.end) == (0, 4)
    assert phase.factors == dict.fromkeys(flatten_dict(shapes, sep="/"), 1.0)
    trained, frozen = phase.split(shapes)
    assert (trained, frozen) == (shapes, {})


def test_a_parameter_takes_the_first_regex_that_matches_it_whole(phases_of, shapes):
    groups = (
        ("encoder/ConvBlock_0/.*", 0.0),
        ("encoder", 0.7),  # would match no path whole
        (".*/bias", 0.5),
        ("encoder/.*", 0.25),
        ("head/.*", 2),
    )
    with pytest.raises(UserError, match="'encoder' matches no parameter"):
        phases_of(((0, groups),))
    (phase,) = phases_of(((0, (groups[0], *groups[2:])),))
    assert phase.factors == {
        "encoder/ConvBlock_1/Conv_0/bias": 0.5,
        "encoder/ConvBlock_2/Conv_0/bias": 0.5,
        "encoder/ConvBlock_1/Conv_0/kernel": 0.25,
        "encoder/ConvBlock_2/Conv_0/kernel": 0.25,
        "head/Dense_0/bias": 0.5,
        "head/Dense_0/kernel": 2.0,
    }
    trained, frozen = phase.split(shapes)
    assert flatten_dict(trained, sep="/").keys() == phase.factors.keys()
    assert list(frozen) == ["encoder"]
    assert list(frozen["encoder"]) == ["ConvBlock_0"]
    assert join(trained, frozen) == shapes


def test_phases_follow_each_other(phases_of):
    phases = phases_of(((0, FROZEN), (1, ((".*", 1.0),)), (3, FROZEN)))
    assert [(phase.first, phase.end) for phase in phases] == [(0, 1), (1, 3), (3, 4)]
    # Steps of 5 an epoch: the phase of a checkpoint is the one that made its last step.
    steps = [0, 1, 5, 6, 15, 16, 20]
    assert [phase_of_step(phases, step, 5) for step in steps] == [0, 0, 0, 1, 1, 2, 2]


@pytest.mark.parametrize(
    ("phases", "message"),
    [
        (((0, (("head/.*", 1.0),)),), r"covers neither encoder/ConvBlock_0/Conv_0/\w+ nor encoder"),
        (((0, FROZEN), (1, FROZEN[:1])), r"covers neither head/Dense_0/bias nor head/Dense_0/ker"),
        (((0, ()),), r"covers neither encoder/.*every parameter needs a regex"),
        (((0, (("tail/.*", 0.0), (".*", 1.0))),), r"'tail/\.\*' matches no parameter; .*encoder/C"),
        (((0, (("head/.*", -0.5), (".*", 1.0))),), "a factor in optimizer.phases is -0.5; it must"),
        (
            ((0, (("head/.*", float("nan")), (".*", 1.0))),),
            "a factor in optimizer.phases is nan; it must",
        ),
        (
            ((0, ((".*", 1.0), ("head/.*", 0.0))),),
            r"all that 'head/\.\*' matches is taken by",
        ),
        (
            ((0, (("head/.*", float("inf")), (".*", 1.0))),),
            "a factor in optimizer.phases is inf; it must",
        ),
        (((0, (("head/(", 1.0), (".*", 1.0))),), r"'head/\(' is no regex: .*unterminated"),
        (((0, ((".*", 0.0),)),), "freezes every parameter; at least one must learn"),
        (((0, FROZEN), (1, ((".*", 0),))), "freezes every parameter"),
        (((1, FROZEN),), r"begin at the epochs 1; the first begins at 0"),
        (((0, FROZEN), (2, FROZEN), (1, FROZEN)), r"begin at the epochs 0, 2, 1; .*each later"),
        (((0, FROZEN), (0, FROZEN)), r"begin at the epochs 0, 0; .*each later"),
        (((0, FROZEN), (4, FROZEN)), r"begin at the epochs 0, 4; .*all before epochs=4"),
        (((0, FROZEN), (-1, FROZEN)), r"begin at the epochs 0, -1; "),
        ((0,), "phases is .*it is a tuple of .first epoch"),
        ((0, FROZEN), "phases is .*it is a tuple of .first epoch"),  # one pair of brackets short
        (((0, (("head/.*",),)),), "phases is .*it is a tuple of .first epoch"),
        (((0, (("head/.*", "slow"),)),), "phases is .*it is a tuple of .first epoch"),
        (((0, FROZEN), ("two", FROZEN)), "phases is .*it is a tuple of .first epoch"),
        (((0, FROZEN), (0.5, FROZEN)), "phases is .*it is a tuple of .first epoch"),
    ],
)
def test_mistakes_are_named(phases_of, phases, message):
    with pytest.raises(UserError, match=message):
        phases_of(phases)


def test_each_layer_learns_slower_than_the_next_one(tiny_config, shapes):
    def factors(layer_decay, phases=()):
        fields = {"optimizer.layer_decay": layer_decay, "optimizer.phases": phases}
        phase, *_ = make_phases(tiny_config("classifier_256", epochs=4, **fields), shapes)
        return {path: factor for path, factor in phase.factors.items() if "bias" in path}

    decay = (r"encoder/ConvBlock_(\d+)/.*", 0.5)
    blocks = [f"encoder/ConvBlock_{i}/Conv_0/bias" for i in range(3)]
    expected = dict(zip(blocks, (0.125, 0.25, 0.5), strict=True)) | {"head/Dense_0/bias": 1.0}
    assert factors(decay) == expected
    halves = ((0, ((".*_0/bias", 0.5), (".*", 1.0))),)
    assert factors(decay, halves) == {path: factor / 2 for path, factor in expected.items()}
    assert set(factors(decay, ((0, FROZEN),))) == {"head/Dense_0/bias"}
    for wrong, message in (
        ((0.5,), "layer_decay is .*it is .regex, factor."),
        (("(encoder)/.*", 0.5), "layer_decay is .*numbers of layers"),
        (("encoder/(", 0.5), "layer_decay is .*it is"),
        (("encoder/.*", 0.5), r"'encoder/\.\*' finds 1 layers"),
        ((r"block(\d+)/.*", 0.5), "finds 0 layers, .*; the parameters are encoder/ConvBlock_0"),
        ((decay[0], 0.0), "has the factor 0.0; it must be above 0"),
        ((decay[0], "half"), "layer_decay is .*it is .regex, factor."),
        ((decay[0], 1.5), "factor 1.5; it must be above 0, and at most 1"),
    ):
        with pytest.raises(UserError, match=message):
            factors(wrong)


def test_modules_in_which_everything_is_frozen(phases_of, shapes):
    def frozen(*groups):
        (phase,) = phases_of(((0, groups),))
        return frozen_modules(phase, shapes)

    blocks = {f"encoder/ConvBlock_{i}" for i in range(3)}
    every = {"encoder"} | blocks | {f"{block}/Conv_0" for block in blocks}
    assert frozen(*FROZEN) == every
    assert frozen((".*", 1.0)) == set()
    assert frozen((".*ConvBlock_1/.*", 0.0), (".*", 1.0)) == {
        "encoder/ConvBlock_1",
        "encoder/ConvBlock_1/Conv_0",
    }
    # A bias that learns keeps its module, and those around it, in training mode.
    left = frozen(("encoder/ConvBlock_2/Conv_0/bias", 0.1), *FROZEN)
    assert left == every - {"encoder", "encoder/ConvBlock_2", "encoder/ConvBlock_2/Conv_0"}


# Two phases --------------------------------------------------------------------------------------


def test_a_groups_rate_is_its_factor_times_the_runs(tiny_config, begun):
    def update(phases):
        small = {"model.encoder": (4, 4), "optimizer.phases": phases}
        start = begun(tiny_config("classifier_256", **SGD, **small))
        before = jax.device_get(start.state.params)
        after = jax.device_get(start.step(start.state, start.batch)[0].params)
        return jax.tree.map(np.subtract, after, before)

    plain = flatten_dict(update(()), sep="/")
    factors = {"encoder/ConvBlock_0/": 0.25, "encoder/": 4.0, "head/": 0.5}
    groups = tuple((f"{prefix}.*", factor) for prefix, factor in factors.items())
    scaled = flatten_dict(update(((0, groups),)), sep="/")
    for path, step in plain.items():
        factor = next(f for prefix, f in factors.items() if path.startswith(prefix))
        assert np.abs(step).max() > 1e-6
        np.testing.assert_allclose(scaled[path], factor * step, rtol=1e-3, atol=1e-7)


def test_each_phase_has_a_schedule_of_its_own(tiny_config, shapes):
    schedule = {"optimizer.schedule": "linear", "optimizer.warmup_steps": 1}
    phases = ((0, FROZEN), (2, (("encoder/.*", 0.5), ("head/.*", 1.0))))
    config = tiny_config(
        "classifier_256", epochs=6, **SGD, **schedule, **{"optimizer.phases": phases}
    )
    ones = jax.tree.map(lambda x: jnp.ones(x.shape), shapes)

    def rates(phase):
        optimizer, (trained, _) = phase_optimizer(config, phase, 2), phase.split(ones)
        state, sizes = optimizer.init(trained), []
        for _ in range(3):
            updates, state = optimizer.update(trained, state, trained)
            flat = flatten_dict(updates, sep="/")
            sizes.append({path.split("/")[0]: -float(x.ravel()[0]) for path, x in flat.items()})
        return sizes

    first, second = map(rates, make_phases(config, shapes))
    # Half of it in the warm-up, then down to 0 at the end: after 4 steps, and after 8.
    assert first == [pytest.approx({"head": x}) for x in (0.05, 0.1, 0.1 * 2 / 3)]
    assert second == [
        pytest.approx({"head": x, "encoder": x / 2}) for x in (0.05, 0.1, 0.1 * 6 / 7)
    ]


@pytest.fixture(scope="module")
def two_phases(restless_config):
    """Head, then all, two steps each; the best checkpoint is that between them."""
    changes = {
        "optimizer.name": "adam",
        "optimizer.learning_rate": 1e-2,
        "optimizer.average_decay": 0.9,
        "best.mode": "max",
    }
    config = restless_config("classifier_head_first", **changes)
    assert [first for first, _ in config.optimizer.phases] == [0, 1]
    return config


@pytest.fixture(scope="module")
def whole_run(two_phases, bare, tmp_path_factory):
    workdir = tmp_path_factory.mktemp("two_phases") / "run"
    train_and_evaluate(two_phases, workdir, bare(two_phases))
    return workdir


def test_the_encoder_stands_still_and_then_learns(whole_run, pretrained):
    border, end = saved_state(whole_run, 2), saved_state(whole_run)
    assert (int(border["step"]), int(end["step"])) == (2, 4)
    for collection in ("params", "batch_stats"):
        begun, stood, moved = (
            encoder_of(s, collection) for s in (saved_state(pretrained), border, end)
        )
        assert_equal(stood, begun)
        if collection == "params":  # the average of what stands still is that itself
            assert_equal(encoder_of(border, "average"), begun)
        assert not any(np.array_equal(moved[path], x) for path, x in stood.items())


def params_of(saved):
    return {path.removeprefix("params/") for path in saved if path.startswith("params/")}


def size_of(saved, paths):
    return sum(saved[f"params/{path}"].size for path in paths)


def held(saved):
    """How many numbers an optimizer keeps of the parameters."""
    return sum(x.size for path, x in saved.items() if path.startswith("opt_state") and x.shape)


def test_each_phase_begins_with_a_fresh_optimizer(whole_run):
    border, end = saved_state(whole_run, 2), saved_state(whole_run)
    for saved in (border, end):
        counts = [x for path, x in saved.items() if path.startswith("opt_state") and not x.shape]
        assert counts
        assert all(int(count) == 2 for count in counts)  # steps of this phase
    learning = {path for path in params_of(end) if not path.startswith("encoder")}
    assert held(border) * size_of(end, params_of(end)) == held(end) * size_of(end, learning)


def test_a_run_stopped_in_any_phase_and_at_the_border_resumes_bit_for_bit(
    two_phases, whole_run, bare, signal_at, tmp_path
):
    signal_at(dict.fromkeys((1, 2, 3), (signal.SIGTERM,)))
    for stop in (1, 2, 3):
        with pytest.raises(Interrupted, match=f"step {stop} of 4 is saved"):
            train_and_evaluate(two_phases, tmp_path, bare(two_phases))
    train_and_evaluate(two_phases, tmp_path, bare(two_phases))
    assert_same_outcome(tmp_path, whole_run)
