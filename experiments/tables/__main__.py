"""The tables of README.md and of experiments/, from the figures that collect.py kept.

    python -m experiments.tables

writes each into the document that has a place for it, two lines `<!-- table: NAME -->` and
`<!-- end -->`; a test compares the two. And the picture of task 1's trade-off:

    python -m experiments.tables --trade_off experiments/results/trade_off.webp

And that of the benchmark:

    python -m experiments.tables --speed experiments/results/speed.webp

And the picture of task 3's decoders, from the folders of their runs:

    python -m experiments.tables --decoders experiments/results/decoders.webp runs/decoders
"""

import argparse
import re
import sys
from collections.abc import Mapping
from pathlib import Path

from experiments.ladder_photographs import QUESTIONS
from experiments.tables import representation
from experiments.tables.aims import aims_table
from experiments.tables.backbones import backbones_table
from experiments.tables.classification import classification_table, differences_table
from experiments.tables.decoders import decoders_table, side_by_side
from experiments.tables.findings import findings
from experiments.tables.input import input_table
from experiments.tables.kept import RESULTS, has, read_differences, read_kept, read_records
from experiments.tables.reliability import reliability
from experiments.tables.scale import scale_tables
from experiments.tables.segmentation import (
    class_table,
    segmentation_table,
    target_of,
)
from experiments.tables.speed import speed_tables
from experiments.tables.speed_picture import speed_picture
from experiments.tables.story import story_table
from experiments.tables.together import together_table
from experiments.tables.transfer import imagenet_table, transfer_table
from vocjax.errors import UserError
from vocjax.reporting.contests import held_out
from vocjax.reporting.figures import encode_webp
from vocjax.reporting.reconstruction import comparison
from vocjax.runs.reader import read_runs

DOCUMENTS = (
    RESULTS.parents[1] / "README.md",
    RESULTS.parent / "README.md",
    RESULTS.parent / "FINDINGS.md",
)
PLACE = re.compile(r"<!-- table: (.*?) -->\n.*?<!-- end -->\n", re.DOTALL)


def tables() -> dict[str, str]:
    """Return every table by name: what it is of, and the data set."""
    found = {"study": representation.study_table(read_kept("study"))}
    for data, runs in read_kept("representation").items():
        found[f"representation, {data}"] = representation.representation_table(runs)
        if data == "toy":
            found["variants, toy"] = representation.family_table(runs)
    for data, runs in read_kept("classification").items():
        found[f"classification, {data}"] = classification_table(runs)
        found[f"paired differences, {data}"] = differences_table(
            read_differences("classification", data)
        )
    for data, runs in read_kept("segmentation").items():
        found[f"foreground, {data}"] = segmentation_table(runs)
        if any(target_of(run) == "softmax" for run in runs):
            found[f"classes of pixels, {data}"] = class_table(runs)
    if decoders := read_kept("decoders"):
        found["decoders"] = decoders_table(decoders)
        for data in decoders:
            gains = differences_table(read_differences("decoders", data))
            found[f"decoders, differences, {data}"] = gains
    for task in ("reconstruction", "autoencoder", "classification", "segmentation", "unet"):
        for data, runs in read_kept(f"ladder_{task}").items():
            found[f"ladder of {task}, {data}"] = representation.ladder_table(runs)
    for data, runs in read_kept("ladder_photographs").items():
        for question, changes in QUESTIONS.items():
            asked = [run for run in runs if has(run, changes)]
            found[f"ladder of {question}, {data}"] = representation.ladder_table(asked)
    for data, runs in read_kept("story").items():
        found[f"story, {data}"] = story_table(runs)
        found[f"story, differences, {data}"] = differences_table(read_differences("story", data))
    recipes = read_kept("recipe")
    for data, runs in recipes.items():
        found[f"ladder of the recipe, {data}"] = class_table([r for r in runs if held_out(r)])
    for data, runs in read_kept("transfer").items():
        images, pixels = (read_kept(s).get(data, []) for s in ("classification", "segmentation"))
        found[f"transfer, {data}"] = transfer_table(runs, images)
        best = [run for run in recipes.get(data, []) if not held_out(run)]
        found[f"transfer to pixels, {data}"] = class_table([*best, *runs, *pixels])
    found["aims"] = aims_table()
    if records := read_records("backbones"):
        found["backbones"] = backbones_table(records)
    if records := read_records("imagenet"):
        found["ImageNet's heads"] = imagenet_table(records)
    if records := read_records("reliability"):
        found["reliability"] = reliability(records)
    if records := read_records("input"):
        found["input"] = input_table(records)
    if records := read_records("seeds_together"):
        found["seeds together"] = together_table(records)
    if records := read_records("benchmark"):
        found |= speed_tables(records)
    if records := read_records("scale"):
        found |= scale_tables(records)
    return found | findings()


def filled(text: str, found: Mapping[str, str]) -> str:
    """Return a document with the tables in their places; `KeyError` for a place without one."""
    return PLACE.sub(
        lambda place: f"<!-- table: {place[1]} -->\n\n{found[place[1]]}\n<!-- end -->\n", text
    )


def main() -> int:
    """Parse the flags; 0 when done, 1 for a mistake."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--trade_off", type=Path, metavar="FILE", help="draw the trade-off, WebP")
    parser.add_argument("--speed", type=Path, metavar="FILE", help="draw the benchmark, WebP")
    what = "draw the masks of the decoders, WebP, that the folders of runs have"
    names = ("FILE", "DIR")
    parser.add_argument("--decoders", type=Path, nargs="+", metavar=names, help=what)
    options = parser.parse_args()
    if options.decoders is not None:
        file, *folders = options.decoders
        try:
            figure = side_by_side([read_runs([folder]) for folder in folders])
        except UserError as error:
            print(f"tables: {error}", file=sys.stderr)
            return 1
        file.write_bytes(encode_webp(figure))
        return 0
    if options.trade_off is not None:
        *_, runs = read_kept("representation").values()
        (figure,) = comparison(runs).values()
        options.trade_off.write_bytes(encode_webp(figure))
        return 0
    if options.speed is not None:
        options.speed.write_bytes(encode_webp(speed_picture(read_records("benchmark"))))
        return 0
    found, texts = tables(), {path: path.read_text() for path in DOCUMENTS}
    placed = {name for text in texts.values() for name in PLACE.findall(text)}
    if placed != set(found):
        for name in sorted(placed - set(found)):
            print(f"tables: no kept file has the table {name!r}", file=sys.stderr)
        for name in sorted(set(found) - placed):
            print(f"tables: no document has a place for {name!r}", file=sys.stderr)
        return 1
    for path, text in texts.items():
        path.write_text(filled(text, found))
    return 0


if __name__ == "__main__":
    sys.exit(main())
