"""The README's table of features agrees with its sources, and its own column with the tree."""

import json
import re
from pathlib import Path

import pytest

from vocjax import cli
from vocjax.config import flat, load_config, shipped
from vocjax.models.build import SEGMENTATION

ROOT = Path(__file__).parents[1]
SOURCES = (ROOT / "experiments/FEATURES.md").read_text()
CELLS = ("yes", "no", "part", "none")


def rows_of(text):
    """The cells of a table's rows, without its head."""
    lines = [line for line in text.splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[1:]]


SECTIONS = [rows_of(section) for section in SOURCES.split("\n## ")[1:]]
README = rows_of((ROOT / "README.md").read_text().split("## Beside others\n")[1].split("\n## ")[0])
OURS = {feature: cell for feature, cell, *_ in README}


def test_the_table_has_the_cells_of_its_sources():
    assert [feature for feature, *_ in README] == [feature for feature, *_ in SECTIONS[0]]
    for column, section in enumerate(SECTIONS, start=1):
        assert [[row[0], row[column]] for row in README] == [row[:2] for row in section]


def test_each_cell_of_others_has_a_public_source():
    addresses = dict(re.findall(r"^\[([\w-]+)\]: (https://\S+)$", SOURCES, re.MULTILINE))
    used = set()
    for section in SECTIONS[1:]:
        for _, cell, found, source in section:
            assert (cell in CELLS or cell.isdigit()) and found
            links = re.findall(r"\[([\w-]+)\]", source)
            assert links
            used |= set(links)
    assert used == set(addresses)


@pytest.mark.parametrize("feature", OURS)
def test_what_our_column_names_is_there(feature, finished_run, capsys):
    named = re.fullmatch("`(.*)`", OURS[feature])
    fields = {field for name in shipped("configs") for field in flat(load_config(name).to_dict())}
    if named is None:
        assert OURS[feature] in (*CELLS, str(len(SEGMENTATION)))
    elif named[1].startswith("vocjax "):
        with pytest.raises(SystemExit, match="0"):
            cli.main([named[1].removeprefix("vocjax "), "--help"])
        assert "usage: " in capsys.readouterr().out
    elif named[1].endswith(".json"):
        written = json.loads((finished_run("linear_autoencoder") / named[1]).read_text())
        assert written.get("baselines") or written["dataset"]["fingerprint"]
    else:
        assert named[1] in fields or (ROOT / named[1]).is_file()


def test_what_we_lack_is_still_lacking():
    """Kept figures from an accelerator change the table."""
    kept = (ROOT / "experiments/results").glob("*.json")
    platforms = {p for file in kept for p in re.findall(r'"platform": "(\w+)"', file.read_text())}
    assert (platforms == {"cpu"}) == ("all kept figures come from CPUs" in SOURCES)
