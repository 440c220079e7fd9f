"""What brought how much to task 3's U-Net of 21 classes, measured on a held-out part of train.

    python experiments/ladder_segmentation.py --workdir runs/ladder --dataset voc2009

Every run differs in one thing from the one before, and sees the images twenty times. VOC's
validation images are not looked at: a quarter of the training images stands in. The last run is
configs/segmentation_classes.py, but for its length.
"""

import argparse
import sys

from vocjax.campaign import Experiment, ladder, main

STEPS = (
    (
        "U-Net, cross-entropy, Adam",
        "batch_size=32",
        "optimizer.name=adam",
        "optimizer.learning_rate=0.001",
        "optimizer.average_decay=0.0",
        "loss.name=cross_entropy",
        "model.norm=none",
        "data.augment.flip=False",
        "data.augment.zoom=0.0",
        "data.augment.colour=0.0",
    ),
    ("and batches of 8", "batch_size=8"),
    ("and batch norm", "model.norm=batch"),
    ("and Dice of the classes", "loss.name=cross_entropy + soft_dice"),
    ("and Muon", "optimizer.name=muon", "optimizer.learning_rate=0.01"),
    ("and averaged weights", "optimizer.average_decay=0.99"),
    (
        "and mirroring, colours and windows",
        "data.augment.flip=True",
        "data.augment.colour=0.3",
        "data.augment.zoom=0.5",
    ),
)


def plan(options: argparse.Namespace) -> list[Experiment]:
    """Return the ladder of runs on the data set that the options name."""
    shared = (
        f"data.dataset={options.dataset}",
        f"data.data_dir={options.data_dir}",
        "data.held_out=0.25",
        "epochs=20",
    )
    return ladder("segmentation_classes", shared, STEPS)


if __name__ == "__main__":
    sys.exit(main(__doc__, plan))
