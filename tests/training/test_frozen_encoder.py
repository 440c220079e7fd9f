"""A frozen encoder stays as it is, and saves the work that it does not need."""

import collections
import json
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from encoder_arrays import assert_equal, encoder_of
from flax.traverse_util import flatten_dict
from outcome import saved_state

from vocjax.tasks import make_task
from vocjax.training.loop import train_and_evaluate
from vocjax.training.phases import frozen_modules, in_evaluation_mode
from vocjax.training.step import as_float


@pytest.fixture(scope="module")
def frozen_run(restless_config, tmp_path_factory):
    workdir = tmp_path_factory.mktemp("frozen") / "run"
    config = restless_config("classifier_frozen")
    # The baselines would take half of the time.
    train_and_evaluate(config, workdir, make_task(config)._replace(baselines={}))
    return workdir


def test_a_frozen_encoder_stays_bit_for_bit(frozen_run, pretrained):
    ours, theirs = saved_state(frozen_run), saved_state(pretrained)
    assert int(ours["step"]) == 4
    for collection, arrays in (("params", 8), ("batch_stats", 4)):
        encoder = encoder_of(ours, collection)
        assert len(encoder) == arrays
        assert_equal(encoder, encoder_of(theirs, collection))
    assert all(np.any(x != 0) for x in encoder_of(theirs, "batch_stats").values())


def test_a_frozen_encoder_has_no_optimizer_state(frozen_run):
    saved = saved_state(frozen_run)
    held = [x for path, x in saved.items() if path.startswith("opt_state")]
    head = [x for path, x in saved.items() if path.startswith("params/head/")]
    assert head
    assert sum(x.size for x in held if x.ndim) == sum(x.size for x in head)  # RMSprop's squares


def counted(config):
    """Return a config's task and the list of its encoder's runs: for features, or in `train`."""
    task, runs = make_task(config)._replace(baselines={}), []

    def apply(variables, batch, train, key):
        if "code" not in batch:
            jax.debug.callback(lambda: runs.append(train))
        return task.apply(variables, batch, train, key)

    def of(frozen):
        def compute(variables, batch):
            jax.debug.callback(lambda: runs.append("features"))
            return task.features.of(frozen)(variables, batch)

        return compute if task.features.of(frozen) else None

    return task._replace(apply=apply, features=task.features._replace(of=of)), runs


@pytest.mark.parametrize("augmented", [False, True])
def test_codes_are_computed_once_and_the_log_counts_what_is_frozen(
    restless_config, augmented, capsys, tmp_path
):
    """For each split before training, and to train on, unless the images change."""
    flip = {"data.augment.flip": augmented}
    config = restless_config("classifier_frozen", epochs=1, **flip)
    task, runs = counted(config)
    train_and_evaluate(config, tmp_path, task)
    jax.effects_barrier()
    # The 2 batches of train and the one of val: before training, and to train and measure on.
    expected = {"features": 3, True: 2, False: 1 + 3} if augmented else {"features": 3 + 3}
    assert collections.Counter(runs) == expected
    encoder = 3 * 3 * (3 + 4) * 4 + 2 * 4 + 2 * 2 * 4  # kernels, biases, batch norm
    head = 8 * 8 * 4 * 2 + 2
    said = f"epochs 1 to 1: {head} parameters learn, {encoder} are frozen"
    assert said in capsys.readouterr().err


def test_a_probe_without_steps_sees_each_image_once(tiny_config, tmp_path):
    config = tiny_config("classifier_pretrained", **{"model.head_init": "logistic"})
    task, runs = counted(config)
    train_and_evaluate(config, tmp_path, task)
    jax.effects_barrier()
    assert collections.Counter(runs) == {"features": 2 + 1}


def flops(begun_run, **known):
    lowered = begun_run.step.lower(begun_run.state, begun_run.batch | known)
    return lowered.compile().cost_analysis()["flops"]


def test_a_frozen_encoder_is_less_work(restless_config, begun):
    """Its forward pass is left, and where the codes are known not even that."""
    augmented = {"data.augment.flip": True}
    fine_tuned = begun(restless_config("classifier_256", **augmented))
    frozen = begun(restless_config("classifier_frozen", **augmented))
    plain = begun(restless_config("classifier_frozen"))
    codes = {"code": jnp.zeros((8, 8, 8, 4))}
    uncached = flops(frozen)
    assert uncached < 0.6 * flops(fine_tuned)
    assert flops(plain, **codes) < 0.05 * uncached
    for known, convolves in (({}, True), (codes, False)):
        text = plain.step.lower(plain.state, plain.batch | known).as_text()
        assert ("stablehlo.convolution" in text) == convolves


def test_known_codes_train_the_same_head(frozen_run, restless_config, begun, tmp_path):
    config = restless_config("classifier_frozen")
    task = make_task(config)._replace(features=None, baselines={})
    results = train_and_evaluate(config, tmp_path, task)
    ours, theirs = saved_state(tmp_path), saved_state(frozen_run)
    start = jax.device_get(begun(config).state.params["head"]["Dense_0"])
    for name in ("kernel", "bias"):
        path = f"params/head/Dense_0/{name}"
        np.testing.assert_allclose(ours[path], theirs[path], rtol=0, atol=1e-5)
        assert np.abs(ours[path] - start[name]).max() > 1e-3
    known = json.loads((frozen_run / "results.json").read_text())
    assert results["val"]["loss"] == pytest.approx(known["val"]["loss"], abs=1e-5)


@pytest.mark.parametrize("frozen", [True, False])
def test_a_frozen_encoder_acts_in_evaluation_mode(restless_config, begun, frozen):
    config = restless_config("classifier_frozen" if frozen else "classifier_256")
    start = begun(config)
    task, state = start.task, start.state
    modules = frozen_modules(start.valid.phases[0], state.params)

    @jax.jit
    def outputs(variables, batch):
        key = jax.random.key(3)
        with in_evaluation_mode(modules):
            training, batch_stats = task.apply(variables, batch, True, key)
        return training["code"], batch_stats, task.apply(variables, batch, False, key)[0]["code"]

    variables = {"params": state.params, "batch_stats": state.batch_stats}
    code, batch_stats, evaluated = outputs(variables, as_float(start.batch))
    stands = jax.tree.map(np.array_equal, batch_stats, variables["batch_stats"])
    assert np.array_equal(code, evaluated) == frozen
    assert set(jax.tree.leaves(stands)) == {frozen}


@pytest.mark.parametrize("frozen", ["encoder/ConvBlock_0/.*", "encoder/ConvBlock_1/BatchNorm_0/.*"])
def test_part_of_an_encoder_can_be_frozen(restless_config, begun, frozen):
    """A batch norm by itself, too: its statistics then stand still."""
    phases = ((0, ((frozen, 0.0), (".*", 1.0))),)
    start = begun(restless_config("classifier_256", **{"optimizer.phases": phases}))
    before = jax.device_get(start.state)
    after = jax.device_get(start.step(start.state, start.batch)[0])
    for collection in ("params", "batch_stats"):
        old, new = (flatten_dict(getattr(s, collection), sep="/") for s in (before, after))
        for path, array in old.items():
            assert np.array_equal(new[path], array) == bool(re.fullmatch(frozen, path)), path
