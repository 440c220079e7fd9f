"""The script of the input's figures: what it measures, keeps, and says where grain is missing."""

import itertools
import json
import sys

import numpy as np
from PIL import Image

from experiments import input_speed, input_streams
from experiments.tables.input import input_table
from vocjax.config import load_config
from vocjax.data import voc
from vocjax.data.dataset import open_dataset
from vocjax.mesh import make_mesh, usable_cores


def test_a_record_has_every_figure_and_the_same_call_replaces_it(
    toy_dir, tmp_path, monkeypatch, capsys
):
    output = tmp_path / "new" / "input.json"
    monkeypatch.setattr(input_streams, "ROUNDS", 2)
    monkeypatch.setattr(input_speed, "keep_memory", lambda: None)  # it would last beyond this test
    monkeypatch.setattr(input_speed, "trainer", lambda *_: lambda batch: None)
    monkeypatch.setitem(sys.modules, "grain", None)
    flags = ["--dataset", "toy", "--data_dir", str(toy_dir), "--sizes", "16", "--seconds", "1e-9"]
    monkeypatch.setattr(sys, "argv", ["input_speed", "--output", str(output), *flags])
    for _ in range(2):
        assert input_speed.main() == 0
    (record,) = json.loads(output.read_text())
    assert (record["pixels"], record["threads"]) == (16, usable_cores())
    assert record["ours"]["least"] <= record["ours"]["median"] <= record["ours"]["most"]
    assert "grain" in record["grain"]["missing"] and "missing" in record["grain_process"]
    assert 0 < record["waits"] <= 1
    assert record["provenance"]["device"]["cores"]
    assert "16 px: input " in capsys.readouterr().out
    monkeypatch.setattr(sys, "argv", [*sys.argv, "--data_dir", str(tmp_path), "--dataset", "no"])
    assert input_speed.main() == 1
    assert "no isn't prepared" in capsys.readouterr().err
    for flag, bad in (("--sizes", "0"), ("--steps", "0"), ("--seconds", "-1")):
        monkeypatch.setattr(sys, "argv", ["input_speed", "--output", str(output), flag, bad])
        assert input_speed.main() == 1
        assert f"{flag} " in capsys.readouterr().err
    output.write_text("{")
    monkeypatch.setattr(sys, "argv", ["input_speed", "--output", str(output)])
    assert input_speed.main() == 1
    assert f"{output} has other content" in capsys.readouterr().err


def test_what_grain_is_given_decodes_as_our_stream(toy_dir):
    config = load_config(input_speed.CONFIG, ["--config.data.size=16"])
    config.data.storage = "stream"
    prepared = voc.load("toy", toy_dir)
    data = open_dataset(config, prepared, make_mesh(), ("train",))
    stream, decode = input_streams.streamed(data, 8), input_streams.Decode(config, prepared)
    batches = list(itertools.islice(stream, 2))  # 12 rows: the second one is half full
    stream.close()
    for name in ("image", "mask", "labels"):
        ours = np.concatenate([np.asarray(batch[name]) for batch in batches])[:12]
        np.testing.assert_array_equal(ours, [decode(row)[name] for row in range(12)])


def test_the_wait_is_a_part_of_the_step():
    taken, waited = input_speed.steps_of(lambda batch: None, iter(range(4)), 3)
    assert 0 < waited <= taken


def test_photographs_are_drawn_at_vocs_size_and_learnt_from(tmp_path):
    input_streams.draw(tmp_path, count=4)
    for file in (tmp_path / "images").iterdir():
        with Image.open(file) as picture:
            assert picture.size == (500, 375)
        assert 60e3 < file.stat().st_size < 110e3
    prepared = voc.load(input_streams.DRAWN, tmp_path)
    assert len(prepared.index.ids) == 4
    fields = (f"--config.data.dataset={input_streams.DRAWN}", "--config.data.size=16")
    config = load_config(input_speed.CONFIG, [*fields, "--config.data.storage=stream"])
    stream = input_streams.streamed(open_dataset(config, prepared, make_mesh(), ("train",)), 8)
    batch = next(stream)
    stream.close()
    input_speed.trainer(config, batch)(batch)  # its labels have fewer columns than VOC's


def test_the_table_says_what_is_missing():
    record = {"data": "drawn", "pixels": 64, "threads": 2, "step": 40.0, "step_fed": 38.0}
    record |= {"waits": 0.0123, "grain": {"missing": "no grain"}}
    rate = {"median": 80.0, "least": 79, "most": 90.0}
    record |= {"ours": rate, "grain_process": rate}
    assert input_table([record]).splitlines()[-1] == (
        "| drawn | 64 | 2 | 80 (79 to 90) | no grain | 80 (79 to 90) | 40 | 38 | 1.2% | 2 |"
    )
