"""How exactly the devices compute: what is asked for, what holds, and what a run records."""

import json
import os

import jax
import pytest

from vocjax import mesh, runner, sweep
from vocjax.errors import UserError
from vocjax.plans.experiment import Experiment


@pytest.fixture
def flags(monkeypatch):
    """XLA_FLAGS without determinism, put back afterwards."""
    monkeypatch.setenv("XLA_FLAGS", "--xla_gpu_autotune_level=0")


@pytest.mark.usefixtures("flags")
def test_determinism_joins_the_flags_of_xla_once():
    assert not mesh.is_deterministic()
    for _ in range(2):
        mesh.ask_for_determinism()
        assert os.environ["XLA_FLAGS"] == f"--xla_gpu_autotune_level=0 {mesh.DETERMINISTIC}"
    assert mesh.is_deterministic()


@pytest.mark.usefixtures("flags")
def test_determinism_comes_too_late_for_gpus_that_compute(monkeypatch):
    jax.devices()
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    with pytest.raises(UserError, match=r"JAX has begun with its GPUs already\. .*XLA_FLAGS="):
        mesh.ask_for_determinism()
    assert not mesh.is_deterministic()


@pytest.mark.usefixtures("flags")
@pytest.mark.parametrize("planned", [runner, sweep])
def test_plans_and_sweeps_ask_for_determinism_before_their_checks_use_jax(
    planned, monkeypatch, tmp_path
):
    asked = []
    monkeypatch.setattr(planned, "validate", lambda _: asked.append(mesh.is_deterministic()))
    if planned is runner:
        runner.checked(Experiment("run", "autoencoder_256", ("deterministic=True",)))
    else:
        held_out = ["--config.data.held_out=0.2"]
        sweep.grid("autoencoder_256", {"deterministic": ["True"]}, held_out, tmp_path)
    assert asked == [True]


@pytest.mark.usefixtures("flags")
def test_a_run_computes_as_its_config_says_and_records_it(quick_run, tmp_path, capsys):
    seen = set()

    def spied(task):
        def apply(*arguments):
            seen.add(jax.config.jax_default_matmul_precision)
            return task.apply(*arguments)

        return task._replace(apply=apply)

    fields = {"optimizer.weight_decay": 0.1, "optimizer.accumulate": 2}
    exact = {"deterministic": True, "matmul_precision": "highest", "batch_size": 3}
    quick_run(tmp_path, change=spied, epochs=1, **exact, **fields)
    assert seen == {None, "highest"}  # None where the config is checked
    made = json.loads((tmp_path / "run.json").read_text())
    device = made["starts"][0]["device"]
    assert (device["deterministic"], device["matmul_precision"]) == (True, "highest")
    kernels = 2 * (4 * 4 * 3) * 3
    assert made["decayed_parameters"] == kernels
    said = capsys.readouterr().err
    assert f"weight decay 0.1 touches {kernels:,} of {made['parameters']:,} parameters" in said
    assert (
        "gradients of 2 batches, or of those that an epoch has left: 2 updates in 4 steps" in said
    )
    with pytest.raises(UserError, match="matmul_precision is 'exact'; it is one of default, high"):
        quick_run(tmp_path / "other", matmul_precision="exact")
    assert not (tmp_path / "other").exists()
