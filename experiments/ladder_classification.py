"""What brought how much to task 2's residual network, measured on a held-out part of train.

    vocjax experiments run ladder_classification --workdir runs/ladder --dataset voc2009

Every run differs in one thing from the one before, and sees the images eighty times. VOC's
validation images are not looked at: a quarter of the training images, whole photographs at a time,
stands in. The last run is configs/classifier_residual.py, but for its length.
"""

import argparse
import sys

from vocjax.runner import Experiment, ladder, main

STEPS = (
    (
        "Residual network, Adam",
        "optimizer.name=adam",
        "optimizer.learning_rate=0.002",
        "optimizer.average_decay=0.0",
        "model.norm=none",
        "data.augment.flip=False",
        "data.augment.zoom=0.0",
        "data.augment.colour=0.0",
    ),
    ("and mirroring and colours", "data.augment.flip=True", "data.augment.colour=0.3"),
    ("and random windows", "data.augment.zoom=0.4"),
    ("and batch norm", "model.norm=batch"),
    ("and averaged weights", "optimizer.average_decay=0.99"),
    ("and smaller windows", "data.augment.zoom=0.6"),
    ("and Muon", "optimizer.name=muon", "optimizer.learning_rate=0.01"),
)


def plan(options: argparse.Namespace) -> list[Experiment]:
    """Return the ladder of runs on the data set that the options name."""
    shared = (
        f"data.dataset={options.dataset}",
        f"data.data_dir={options.objects_dir}",
        "data.held_out=0.25",
        "epochs=80",
    )
    return ladder("classifier_residual", shared, STEPS)


if __name__ == "__main__":
    sys.exit(main(__doc__, plan))
