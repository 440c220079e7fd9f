"""The measures of scale on tiny sizes, what a failing row says, and the tables."""

import json
import sys

import pytest

from experiments import scale, scale_worker
from experiments.tables.scale import efficiency, moved_on_paper, scale_tables
from vocjax.errors import UserError

TINY = (
    *("data.size=8", "batch_size=2", "model.encoder=(4,4)", "model.decoder=(4,)"),
    *("optimizer.name=sgd", "optimizer.arguments=(('momentum',.9),)"),  # Muon compiles for longer
    *("data.augment.zoom=0", "data.augment.colour=0"),
)


@pytest.fixture
def tiny(tmp_path):
    """A spec of the smallest U-Net, with what is changed in it."""

    def spec(*changes, **fields):
        overrides = [f"--config.{change}" for change in (*TINY, *changes)]
        return {"config": scale.CONFIG, "folder": str(tmp_path), "overrides": overrides} | fields

    return spec


def test_copies_are_prepared_as_images_and_streamed(tiny):
    spec = tiny("data.storage=stream", "data.classes=()", copies=3, images=2, steps=2)
    found = scale_worker.prepared(spec)
    assert found["images"] == 2 * 2 * 3
    assert min(found["disk"], found["prepare_seconds"], found["prepare_peak"]) > 0
    found = scale_worker.streamed(spec)
    assert found["train_images"] == 2 * 3
    assert min(found["open_seconds"], found["read"], found["trained"], found["peak"]) > 0


def test_a_step_has_seconds_memory_and_operations(tiny):
    small, large = (scale_worker.stepped(tiny(f"batch_size={batch}", steps=1)) for batch in (2, 4))
    assert min(small["seconds"], small["processor_seconds"], small["peak"]) > 0
    assert large["arrays"] > small["arrays"] > 0
    # Kernels that are folded from others are a few operations, whatever the batch is.
    assert 1.9 < large["operations"] / small["operations"] <= 2


def test_one_device_is_what_others_are_compared_with(tiny):
    spec = tiny(devices=1, steps=2)
    found = scale_worker.on_devices(spec)
    assert found["difference"] == 0 and found["moved"] == {}
    assert found["held"]["params"] == found["parameters"] > 0
    assert found["held"]["opt_state"] >= found["parameters"]  # the momentum


def test_collectives_of_a_program_are_counted_by_kind():
    program = """
  %all-reduce.1 = (f32[3,4]{1,0}, f32[]) all-reduce(%a, %b), channel_id=1
  %x = f32[8]{0} all-gather(%c), dimensions={0}
  ROOT %y = bf16[2,2]{1,0} all-reduce(%d), to_apply=%add
  %z = f32[99]{0} add(%all-reduce.1, %x)
"""
    counted = {"all-reduce": 4 * (12 + 1) + 2 * 4, "all-gather": 4 * 8}
    assert scale_worker.collectives(program) == counted


def test_a_row_that_fails_is_named(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(sys, "executable", "false")
    monkeypatch.setattr(scale, "environment", dict)
    output = tmp_path / "scale.json"
    monkeypatch.setattr(sys, "argv", ["scale", "--output", str(output), "--only", "step"])
    assert scale.main() == 1
    assert "the row of pixels 64, batch 8 can't be measured" in capsys.readouterr().err
    assert not output.exists()


def test_every_row_is_kept_and_makes_a_line(tmp_path, monkeypatch, capsys):
    bytes_ = {
        "disk": 2**21,
        "prepare_peak": 2**27,
        "read_peak": 2**26,
        "peak": 2**28,
        "arrays": 2**20,
    }
    of_data = {"images": 240, "prepare_seconds": 1.0, "open_seconds": 0.5, "read": 9, "trained": 8}
    of_step = {"seconds": 0.5, "processor_seconds": 0.4, "operations": 156 * 10**9}
    of_devices = {"loss": 1.0, "difference": 1e-7, "moved": {}, "parameters": 3 * 10**8}
    held = {"held": {"params": 2048, "opt_state": 4}}
    found = bytes_ | of_data | of_step | of_devices | held
    monkeypatch.setattr(scale, "call", lambda spec: found)
    output = tmp_path / "runs" / "scale.json"
    monkeypatch.setattr(sys, "argv", ["scale", "--output", str(output)])
    assert scale.main() == 0
    records = json.loads(output.read_text())
    lines = capsys.readouterr().out.splitlines()
    assert len(records) == len(lines) == 3 + 4 + 3 + 7
    assert all(record["provenance"]["versions"]["jax"] for record in records)
    shown = {name: table.splitlines() for name, table in scale_tables(records).items()}
    rows = {name: len(table) - 2 for name, table in shown.items()}
    assert rows == {
        "scale, data": 3,
        "scale, resolution": 4,
        "scale, batch": 4,
        "scale, devices": 7,
        "scale, on paper": 7,
    }
    assert shown["scale, data"][4] == "| 100x | 240 | 2.0 | 1.0 | 128 | 0.50 | 9 | 64 | 8 | 256 |"
    assert shown["scale, batch"][-1] == "| 64 | 64 | 0.5 | 0.4 | 128.0 | 1 | 256 |"
    # A step alone takes 1 ms, and 4.5e8 bytes of eight devices' shards 1.5 ms at 3e11 a second.
    *_, eight = shown["scale, on paper"]
    assert eight == f"| 8 | sharded | {3 * 7 / 8 * 3e8 / 1024:.0f} | 1.000 | 27.6% | 3.9% |"


def test_on_paper_one_device_moves_nothing_and_half_the_time_is_half():
    assert moved_on_paper(100, 1, True) == 0
    assert moved_on_paper(100, 2, False) == 100
    assert moved_on_paper(100, 4, True) == 225
    assert efficiency(1.0, 10, 10.0) == 0.5
    assert efficiency(1.0, 0, 10.0) == 1


def test_a_process_that_fails_is_a_users_error(tiny, monkeypatch):
    monkeypatch.setattr(sys, "executable", "false")
    with pytest.raises(UserError, match="devices 2, split True can't be measured"):
        scale.call(tiny(measure="devices", devices=2, split=True, changes=()))
