"""Imported ImageNet weights that have a head, on VOC's photographs: do they see what is there?

    python experiments/imagenet.py --output runs/imagenet.json --dataset voc2009 \
        --weights weights/squeezenet
    python experiments/imagenet.py --output runs/imagenet.json --dataset voc2009 \
        --weights weights/tiny_darknet --labels tiny_darknet_labels.txt

Of the validation images that show a class of VOC, how many have a first class of ImageNet that is
one of this class's? Images are squashed to 224 pixels. Without `--labels` the head has ImageNet's
usual order. Every call adds a record to the file; kept as experiments/results/imagenet.json it
makes a table.
"""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

from vocjax.config import study_classifier
from vocjax.data import voc
from vocjax.data.classes import VOC
from vocjax.data.dataset import open_dataset
from vocjax.errors import UserError
from vocjax.files import to_json, write_text
from vocjax.mesh import make_mesh
from vocjax.pretrained.classify import classifier_of, read_labels
from vocjax.runs.provenance import environment
from vocjax.training.evaluation import whole_batches

# ImageNet's classes of a VOC class, by name and by place in the usual order. Dogs are 118 breeds.
NAMES = {
    "cat": ("tabby", "tiger cat", "Persian cat", "Siamese cat", "Egyptian cat"),
    "aeroplane": ("airliner", "warplane"),
}
PLACES = {"cat": range(281, 286), "dog": range(151, 269), "aeroplane": (404, 895)}


def places_of(labels: list[str] | None) -> dict[str, list[int]]:
    """Return the places in the head that stand for each VOC class, as far as they are known."""
    if labels is None:
        return {name: list(places) for name, places in PLACES.items()}
    found = {name: [labels.index(x) for x in of if x in labels] for name, of in NAMES.items()}
    return {name: places for name, places in found.items() if places}


def measure(weights: Path, labels: Path | None, dataset: str, data_dir: Path) -> dict[str, Any]:
    """Return how many validation images show each class, and how many of them are seen as it."""
    classify = classifier_of(weights)
    config = study_classifier()
    config.data.dataset, config.data.data_dir = dataset, str(data_dir)
    config.data.classes, config.data.size = tuple(PLACES), 224
    mesh = make_mesh()
    examples = open_dataset(config, voc.load(dataset, data_dir), mesh, ("val",)).splits["val"]
    batches = whole_batches(examples, config.batch_size, mesh)
    pairs = [(classify(np.asarray(b["image"])).argmax(axis=1), b["labels"]) for b in batches]
    first, states = (np.concatenate(arrays) for arrays in zip(*pairs, strict=True))
    seen = {}
    for name, places in places_of(read_labels(labels) if labels else None).items():
        there = states[:, VOC.names.index(name)] == 1
        right = int(np.isin(first[there], places).sum())
        elsewhere = int(np.isin(first[~there], places).sum())
        counts = {"images": int(there.sum()), "right": right}
        seen[name] = counts | {"others": int((~there).sum()), "wrong": elsewhere}
    made = environment() | {"dataset": {"name": dataset, "data_dir": str(data_dir)}}
    return {"weights": weights.name, "seen": seen, "provenance": made}


def main() -> int:
    """Parse the flags; 0 when done, 1 for a mistake."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--output", type=Path, required=True, metavar="FILE")
    parser.add_argument("--weights", type=Path, required=True, metavar="DIR")
    parser.add_argument("--labels", type=Path, metavar="FILE", help="a class's name a line")
    parser.add_argument("--dataset", required=True, help="voc2007 to voc2012")
    parser.add_argument("--data_dir", type=Path, default=Path("data"), help="default: data")
    options = parser.parse_args()
    try:
        found = measure(options.weights, options.labels, options.dataset, options.data_dir)
        known = json.loads(options.output.read_text()) if options.output.exists() else []
        lines = [to_json(record) for record in [*known, found]]
        write_text(options.output, "[\n" + ",\n".join(lines) + "\n]\n")
    except (UserError, OSError, ValueError) as error:
        print(f"imagenet: {error}", file=sys.stderr)
        return 1
    for name, of in found["seen"].items():
        right, wrong = of["right"] / max(of["images"], 1), of["wrong"] / max(of["others"], 1)
        print(f"{name}: seen in {right:.1%} of {of['images']}, and in {wrong:.1%} of the others")
    return 0


if __name__ == "__main__":
    sys.exit(main())
