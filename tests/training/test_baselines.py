"""What is known before a run's first step: features in the batches, baselines and codes on disk."""

import json
import shutil
import signal

import jax
import numpy as np
import pytest

from vocjax.data.pipeline import plan
from vocjax.mesh import make_mesh
from vocjax.tasks import make_task
from vocjax.tasks.task import Features
from vocjax.training import baselines
from vocjax.training.interrupts import Interrupted
from vocjax.training.loop import train_and_evaluate
from vocjax.training.records import Records
from vocjax.training.step import as_float

BATCH_SIZE = 4
# Of an image and of a variable, [batch, 2]; which rows a batch has can be seen from it.
MOMENTS = Features(
    "encoder",
    lambda variables, batch: {
        "code": variables["scale"]
        * jax.numpy.stack([batch["image"].mean((1, 2, 3)), batch["image"].std((1, 2, 3))], axis=1)
    },
)
SCALE = {"scale": jax.numpy.float32(3)}


def padded_plan(order, batch_size, mesh, *, first=0):
    """As on several devices: each batch has two rows more, which are no examples."""
    for rows, valid in plan(order, batch_size, mesh, first=first):
        yield np.append(rows, np.int32([0, 0])), np.append(valid, np.float32([0, 0]))


@pytest.mark.parametrize("storage", ["device", "stream"])
@pytest.mark.parametrize("planned", [plan, padded_plan])
def test_batches_hold_the_features_of_their_own_images(
    storage, planned, tiny_config, begun, monkeypatch
):
    monkeypatch.setattr(baselines, "plan", planned)
    mesh = make_mesh()
    train = begun(tiny_config("linear_autoencoder", **{"data.storage": storage})).train
    known = baselines.with_features(train, MOMENTS, SCALE, BATCH_SIZE, mesh)
    assert (known.ids == train.ids).all()
    order = np.random.default_rng(0).permutation(len(train.ids))  # 10 of them
    batches = list(known.batches(planned(order, BATCH_SIZE, mesh)))
    plain = list(train.batches(planned(order, BATCH_SIZE, mesh)))
    assert len(batches) == len(plain) == 3
    for batch, own in zip(batches, plain, strict=True):
        assert batch.keys() == own.keys() | {"code"}
        for name in own:
            np.testing.assert_array_equal(batch[name], own[name])
        expected = MOMENTS.compute(SCALE, as_float(own))["code"]
        np.testing.assert_allclose(batch["code"], expected, rtol=1e-5)
    assert len({tuple(code) for batch in batches for code in np.asarray(batch["code"])}) == 10


def test_features_are_computed_once(tiny_config, begun):
    calls = []

    def count(variables, batch):
        jax.debug.callback(lambda: calls.append(None))
        return MOMENTS.compute(variables, batch)

    mesh = make_mesh()
    train = begun(tiny_config("linear_autoencoder")).train
    counted = MOMENTS._replace(compute=count)
    known = baselines.with_features(train, counted, SCALE, BATCH_SIZE, mesh)
    for _ in range(2):
        list(known.batches(plan(np.arange(10), BATCH_SIZE, mesh)))
    jax.effects_barrier()
    assert len(calls) == 3


def test_a_task_without_features_keeps_its_splits(tiny_config, begun):
    task, _, _, _, train, _ = begun(tiny_config("linear_autoencoder"))
    splits = {"train": train}
    assert baselines.all_with_features(splits, task, SCALE, BATCH_SIZE, make_mesh()) is splits


@pytest.fixture
def counted_fits():
    """`counted_fits(task)`: it with its first and last baseline, and a list of their fits."""

    def count(task):
        fits = []

        def of(name, baseline):
            def fit(batches):
                fits.append(name)
                return baseline.fit(batches)

            return baseline._replace(fit=fit)

        first, *_, last = task.baselines.items()
        few = {name: of(name, baseline) for name, baseline in (first, last)}
        return task._replace(baselines=few), fits

    return count


def test_baselines_are_known_before_training_and_stay_known(
    restless_config, pretrained, begun, counted_fits, monkeypatch, tmp_path
):
    """Also to a run that is resumed where the one that it began from is gone."""
    origin, run = tmp_path / "origin", tmp_path / "run"
    shutil.copytree(pretrained, origin)
    config = restless_config("classifier_frozen", init_from=str(origin))
    task, fits = counted_fits(make_task(config))
    step, seen = Records.step, []

    def stop(self):
        step(self)
        seen.append(sorted(path.name for path in run.iterdir()))
        signal.raise_signal(signal.SIGTERM)

    monkeypatch.setattr(Records, "step", stop)
    with pytest.raises(Interrupted, match="step 1 of 4 is saved"):
        train_and_evaluate(config, run, task)
    monkeypatch.undo()
    (files,) = seen
    assert {baselines.BASELINES, baselines.BEFORE} <= set(files)
    assert fits == list(task.baselines)

    measured = json.loads((run / baselines.BASELINES).read_text())
    shutil.rmtree(origin)
    results = train_and_evaluate(config, run, task)
    assert fits == list(task.baselines)
    assert results["step"] == 4
    assert results["baselines"] == measured == baselines.read(run)[0]
    with np.load(run / baselines.BEFORE) as before, np.load(run / "samples.npz") as samples:
        assert set(before) == {"train/code", "val/code"}
        for name in before:
            assert before[name].shape == ({"t": 10, "v": 8}[name[0]], 8 * 8 * 4)
            np.testing.assert_allclose(before[name], samples[name], rtol=1e-4, atol=1e-6)
            split = name.split("/")[0]
            assert samples[f"before/{split}/tsne"].shape == (len(before[name]), 2)


def test_a_directory_that_was_not_measured_has_nothing(tmp_path):
    assert not baselines.is_measured(tmp_path)
    assert baselines.read(tmp_path) == ({}, {})
