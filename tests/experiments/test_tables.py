"""Tables of the documents, of small records: what they say where something is missing."""

import json

from reporting.example_runs import run_of

from experiments import collect
from experiments.tables.backbones import backbones_table
from experiments.tables.segmentation import segmentation_table


def test_a_table_of_backbones_tells_what_is_not_measured_from_what_there_is_not():
    records = [
        {
            "backbone": "vgg16",
            "pixels": 224,
            "size": {"parameters": 138_357_544, "multiply_adds": 15_470_615_552},
            "torchvision": {"error": 1.123e-06, "version": "0.29"},
            "keras": {"error": 0.0, "version": "3.12"},
            "speed": {"batch": 8, "forward": 3.14159, "training": 0.5},
        },
        {"backbone": "xception", "pixels": 299, "size": None, "keras": None, "speed": None},
    ]
    _, _, first, second = backbones_table(records).splitlines()
    assert first == "| vgg16 | 224 | 138,357,544 | 15.47 | 1.1e-06 | 0 | 3.1 | 0.5 |"
    no = "not measured"
    assert second == f"| xception | 299 | {no} | {no} |  | {no} | {no} | {no} |"


def test_a_variant_of_a_studys_run_has_a_row_of_its_own():
    fields = {
        "model.target": "foreground",
        "model.name": "mirror",
        "model.norm": "batch",
        "loss.name": "soft_dice",
        "optimizer.name": "adam",
        "epochs": 10,
    }

    def run(name, masks, dice, dropout):
        values = {"soft_dice_per_image": dice}
        results = {"train": values, "val": values}
        results["baselines"] = {"all foreground": {"val": {"soft_dice_per_image": dice / 2}}}
        changes = {"data.masks": masks, "model.dropout": dropout}
        return run_of("segmentation", name, results, **fields, **changes)

    runs = [
        run("Run 5", "nearest", 0.25, 0.5),
        run("variant", "nearest", 0.5, 0.2),
        run("variant", "legacy", 0.75, 0.2),
    ]
    _, _, *rows = segmentation_table(runs).splitlines()
    cells = [row.strip("| ").split(" | ") for row in rows]
    assert [row[0] for row in cells[:3]] == ["Run 5", "variant", "all foreground"]
    assert "0.64, 0.49 |  |" in rows[0]  # the study's figures, and no run by its protocol
    assert "0.750" in rows[1] and "0.500" in rows[1]
    assert "0.375" in rows[2]


def test_what_is_added_to_a_kept_file_keeps_the_differences_of_other_runs(tmp_path, monkeypatch):
    pairs = {"toy": [{"names": ["a", "b"], "low": 0}, {"names": ["c", "d"], "low": 0}]}
    others = [json.dumps({"directory": "a"}), json.dumps({"paired": pairs})]
    monkeypatch.setattr(collect, "read_runs", lambda _: [])
    assert json.loads(collect.collect(tmp_path, others)) == [{"directory": "a"}, {"paired": pairs}]
