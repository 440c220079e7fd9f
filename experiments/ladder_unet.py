"""How task 3's wider U-Net is trained, measured on a held-out part of train, by honest masks.

    vocjax experiments run ladder_unet --workdir runs/ladder_unet --dataset voc2009

Every run adds to the one before, and sees the images sixty times. VOC's validation images are not
looked at: a quarter of the training images stands in.
"""

import argparse
import sys

from vocjax.runner import Experiment, ladder, main

STEPS = (
    ("U-Net",),
    (
        "wider, half the resolution",
        "model.stem=stride",
        "model.encoder=(32, 64, 128, 256)",
        "model.decoder=(128, 64, 32)",
    ),
    (
        "and dropout, more augmentation, Dice per image",
        "model.dropout=0.25",
        "data.augment.zoom=0.6",
        "data.augment.colour=0.6",
        "loss.reduction=image",
    ),
)


def plan(options: argparse.Namespace) -> list[Experiment]:
    """Return the ladder of runs on the data set that the options name."""
    home = (f"data.dataset={options.dataset}", f"data.data_dir={options.data_dir}")
    return ladder("segmentation_unet", (*home, "data.held_out=0.25"), STEPS)


if __name__ == "__main__":
    sys.exit(main(__doc__, plan))
