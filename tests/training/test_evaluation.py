"""The one evaluation pass: metrics, kept arrays and baselines of a split."""

import json
import shutil
import signal

import jax
import numpy as np
import pytest

from vocjax import losses
from vocjax.mesh import make_mesh
from vocjax.runs import writer
from vocjax.runs.reader import BASELINES, BEFORE
from vocjax.tasks import make_task
from vocjax.training.evaluation import SHOWN, evaluate_split, whole_batches
from vocjax.training.interrupts import Interrupted
from vocjax.training.loop import train_and_evaluate
from vocjax.training.records import Records
from vocjax.training.step import variables_of

BATCH_SIZE = 4


@pytest.fixture(scope="module")
def untrained(tiny_config, begun):
    """`untrained(batch_size)`: an autoencoder before its first step."""
    return lambda batch_size: begun(
        tiny_config("autoencoder_256", batch_size=batch_size, **{"data.classes": ()})
    )


def measured(start):
    return evaluate_split(start.evaluator, start.train, variables_of(start.state), None, True)


def test_every_image_keeps_its_own_values_whatever_the_batches(untrained):
    start = untrained(7)
    found, n = measured(start), 24
    (whole,) = whole_batches(start.train, n, make_mesh())
    outputs, _ = start.task.apply(variables_of(start.state), whole, False, jax.random.key(0))
    mse = losses.mse(outputs["image"], whole["image"])
    np.testing.assert_allclose(found.kept["mse"], mse, rtol=1e-5)
    assert found.metrics["loss"] == pytest.approx(float(mse.mean()), rel=1e-5)
    code = outputs["code"].reshape(n, -1)
    np.testing.assert_allclose(found.kept["code"], code, rtol=1e-4, atol=1e-6)
    assert found.kept["code"].dtype == np.float32
    assert found.kept["thumbnail"].shape == (n, 16, 16, 3)
    np.testing.assert_allclose(found.kept["thumbnail"] / 255, whole["image"], atol=2e-3)

    shown = found.shown["shown"]
    assert (len(shown), shown[0], shown[-1]) == (SHOWN, 0, n - 1)
    np.testing.assert_allclose(found.shown["image"], whole["image"][shown], atol=1e-3)
    assert found.shown["image"].dtype == found.shown["reconstruction"].dtype == np.float16

    other = measured(untrained(5))
    assert found.metrics == pytest.approx(other.metrics, rel=1e-5)
    np.testing.assert_allclose(found.kept["mse"], other.kept["mse"], rtol=1e-5)


def test_without_artifacts_only_metrics_come_back(untrained):
    start = untrained(7)
    found = evaluate_split(start.evaluator, start.train, variables_of(start.state))
    assert (found.kept, found.shown) == ({}, {})
    assert found.metrics == measured(start).metrics


# Baselines ---------------------------------------------------------------------------------------


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
    restless_config, pretrained, counted_fits, monkeypatch, tmp_path
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
    assert {BASELINES, BEFORE} <= set(files)
    assert fits == list(task.baselines)

    known = json.loads((run / BASELINES).read_text())
    shutil.rmtree(origin)
    results = train_and_evaluate(config, run, task)
    assert fits == list(task.baselines)
    assert results["step"] == 4
    assert results["baselines"] == known == writer.read_baselines(run)[0]
    with np.load(run / BEFORE) as before, np.load(run / "samples.npz") as samples:
        assert set(before) == {"train/code", "val/code"}
        for split, n in (("train", 10), ("val", 8)):
            code = before[f"{split}/code"]
            assert code.shape == (n, 8 * 8 * 4)
            np.testing.assert_allclose(code, samples[f"{split}/code"], rtol=1e-4, atol=1e-6)
            assert samples[f"before/{split}/tsne"].shape == (n, 2)


def test_a_directory_that_was_not_measured_has_nothing(tmp_path):
    assert not writer.has_baselines(tmp_path)
    assert writer.read_baselines(tmp_path) == ({}, {})
