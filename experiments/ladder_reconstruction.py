"""What brought how much to task 1's transform autoencoder, measured on a held-out part of train.

    vocjax experiments run ladder_reconstruction --workdir runs/ladder --dataset voc2009

Every run differs in one thing from the one before, and sees the images ten times. VOC's validation
images are not looked at: a fifth of the training images, whole photographs at a time, stands in.
"""

import argparse
import sys

from vocjax.runner import Experiment, ladder, main

STEPS = (
    (
        "Decoder's filter alone, Adam",
        "model.encoder_blocks=0",
        "model.refinements=0",
        "optimizer.name=adam",
        "optimizer.learning_rate=0.001",
        "data.augment.zoom=0.0",
        "data.augment.flip=False",
    ),
    ("Both filters", "model.encoder_blocks=2"),
    ("and mirroring", "data.augment.flip=True"),
    ("and random windows", "data.augment.zoom=0.4"),
    ("and Muon", "optimizer.name=muon", "optimizer.learning_rate=0.01"),
    ("and refined codes", "model.refinements=10"),
)


def plan(options: argparse.Namespace) -> list[Experiment]:
    """Return the ladder of runs on the data set that the options name."""
    shared = (
        f"data.dataset={options.dataset}",
        f"data.data_dir={options.objects_dir}",
        "data.held_out=0.2",
        "epochs=10",
    )
    return ladder("transform_autoencoder", shared, STEPS)


if __name__ == "__main__":
    sys.exit(main(__doc__, plan))
