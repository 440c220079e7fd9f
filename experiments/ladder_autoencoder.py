"""What brought how much to task 1's convolutional autoencoder, on a held-out part of train.

    vocjax experiments run ladder_autoencoder --workdir runs/ladder_autoencoder --dataset voc2009

Every run differs in one thing from the one before, and sees the images ten times. VOC's validation
images are not looked at: a fifth of the training images, whole photographs at a time, stands in.
"""

import argparse
import sys

from vocjax.runner import Experiment, ladder, main

STEPS = (
    (
        "Patches, and the study's relu and sigmoid",
        "model.start=drawn",
        "model.trunk=activated",
        "model.activation=relu",
        "model.residual=0",
        "optimizer.schedule=constant",
        "optimizer.warmup_steps=0",
        "data.augment.flip=False",
        "data.augment.zoom=0.0",
    ),
    ("The same layers, linear", "model.trunk=linear"),
    ("and a start as PCA of patches", "model.start=pca"),
    ("and residual blocks with gelu", "model.residual=1", "model.activation=gelu"),
    (
        "and a rate that rises and falls",
        "optimizer.schedule=cosine",
        "optimizer.warmup_steps=50",
    ),
    ("and mirroring, and random windows", "data.augment.flip=True", "data.augment.zoom=0.3"),
)


def plan(options: argparse.Namespace) -> list[Experiment]:
    """Return the ladder of runs on the data set that the options name."""
    shared = (
        f"data.dataset={options.dataset}",
        f"data.data_dir={options.objects_dir}",
        "data.held_out=0.2",
        "epochs=10",
    )
    return ladder("autoencoder_convolutional", shared, STEPS)


if __name__ == "__main__":
    sys.exit(main(__doc__, plan))
