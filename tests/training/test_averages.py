"""The moving average of the weights, and that a run which keeps one is measured with it."""

import shutil

import jax
import numpy as np
import pytest
from flax.traverse_util import flatten_dict
from outcome import saved_state

import vocjax
from vocjax.config import to_json
from vocjax.evaluate import evaluate
from vocjax.mesh import make_mesh
from vocjax.runs.restore import load_run
from vocjax.training.loop import train_and_evaluate
from vocjax.training.step import variables_of


@pytest.fixture(scope="module")
def fast_config(tiny_config):
    """A small model, with steps large enough to tell the average from the last parameters."""

    def load(decay):
        return tiny_config(
            "linear_autoencoder",
            **{
                "data.size": 4,
                "optimizer.name": "adam",
                "optimizer.schedule": "constant",
                "optimizer.learning_rate": 0.02,
                "optimizer.average_decay": decay,
            },
        )

    return load


def flat(tree):
    return flatten_dict(jax.device_get(tree), sep="/")


def test_average_equals_a_loops_in_numpy(fast_config, begun):
    decay = 0.3  # reached after three steps
    start = begun(fast_config(decay))
    state = start.state
    expected = {path: np.float64(x) for path, x in flat(state.params).items()}
    for step in range(6):
        state, _ = start.step(state, start.batch)
        keep = min(decay, (1 + step) / (10 + step))
        for path, x in flat(state.params).items():
            expected[path] = keep * expected[path] + (1 - keep) * x
    average = flat(state.average)
    assert average.keys() == expected.keys()
    for path, x in expected.items():
        np.testing.assert_allclose(average[path], x, rtol=1e-5, atol=1e-7, err_msg=path)
        assert np.abs(x - flat(state.params)[path]).max() > 1e-3
    assert variables_of(state)["params"] is state.average


def test_without_a_decay_nothing_is_kept(fast_config, begun):
    start = begun(fast_config(0.0))
    after, _ = jax.eval_shape(start.step, start.state, start.batch)
    assert start.state.average == after.average == {}
    assert variables_of(start.state)["params"] is start.state.params


def test_the_average_is_saved_measured_and_loaded(fast_config, tmp_path):
    run, raw = tmp_path / "run", tmp_path / "raw"
    results = train_and_evaluate(fast_config(0.9), run)
    saved = saved_state(run)
    average, params = (
        {path.split("/", 1)[1]: x for path, x in saved.items() if path.startswith(f"{part}/")}
        for part in ("average", "params")
    )
    model = vocjax.load(run)
    for variables in (load_run(run, make_mesh()).variables, model.variables):
        loaded = flat(variables["params"])
        assert loaded.keys() == average.keys() == params.keys()
        for path, x in average.items():
            np.testing.assert_array_equal(loaded[path], x, err_msg=path)
    measured = evaluate(run)["metrics"]
    assert measured == pytest.approx(results["val"], rel=1e-6)

    # A config without the average makes it the parameters themselves, with other values.
    shutil.copytree(run, raw)
    (raw / "config.json").write_text(to_json(fast_config(0.0)))
    loaded = flat(load_run(raw, make_mesh()).variables["params"])
    for path, x in params.items():
        np.testing.assert_array_equal(loaded[path], x, err_msg=path)
    assert evaluate(raw)["metrics"]["loss"] != pytest.approx(measured["loss"], rel=1e-3)
    image = np.random.default_rng(0).random((1, 4, 4, 3), np.float32)
    ours, theirs = (vocjax.load(workdir).outputs(image)["image"] for workdir in (run, raw))
    assert np.abs(ours - theirs).max() > 1e-3
