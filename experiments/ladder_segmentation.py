"""How task 3's U-Net is trained, measured on a held-out part of train, by the study's protocol.

    vocjax experiments run ladder_segmentation --workdir runs/ladder --dataset voc2009

Every run differs in one thing from the one before, and sees the images thirty times. VOC's
validation images are not looked at: a quarter of the training images stands in.
"""

import argparse
import sys

from vocjax.runner import Experiment, ladder, main

STEPS = (
    ("U-Net, soft Dice and cross-entropy",),
    ("soft Dice alone", "loss.name=soft_dice"),
    ("and dropout", "model.dropout=0.2"),
)


def plan(options: argparse.Namespace) -> list[Experiment]:
    """Return the ladder of runs on the data set that the options name."""
    shared = (
        f"data.dataset={options.dataset}",
        f"data.data_dir={options.data_dir}",
        "data.masks=legacy",
        "data.held_out=0.25",
        "epochs=30",
    )
    return ladder("segmentation_unet", shared, STEPS)


if __name__ == "__main__":
    sys.exit(main(__doc__, plan))
