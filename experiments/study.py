"""The whole study in one go: data in, three tasks, one report out.

    vocjax experiments run study --workdir runs/study

runs it on the embedded toy data set, shortened to minutes on two CPU cores. On the real data it
runs at the study's own epochs and batch size:

    vocjax data prepare --dataset voc2009 --devkit VOCdevkit --data_dir data
    vocjax experiments run study --workdir runs/voc2009 --dataset voc2009

Run again, it goes on where it was stopped.
"""

import argparse
import sys

from vocjax.runner import Experiment, main

RUNS = (
    "pca",
    "linear_autoencoder",
    "autoencoder_256",
    "classifier_256",
    "segmentation_dice",
)
# The study's code has 256 numbers; the toy set is too small for as many components.
VOC = {"pca": ("model.components=256",)}
# The toy set has a third of the study's images: smaller batches give as many steps.
TOY = {
    "autoencoder_256": ("batch_size=8", "epochs=12"),
    "classifier_256": ("batch_size=8", "epochs=12"),
    "segmentation_dice": ("batch_size=8",),
}


def plan(options: argparse.Namespace) -> list[Experiment]:
    """Return the study's runs on the data set that the options name."""

    def experiment(name: str) -> Experiment:
        home = options.data_dir if name == "segmentation_dice" else options.objects_dir
        changes = [f"data.dataset={options.dataset}", f"data.data_dir={home}"]
        changes += (TOY if options.dataset == "toy" else VOC).get(name, ())
        if name == "classifier_256":
            changes.append(f"init_from={options.workdir / 'autoencoder_256'}")
        return Experiment(name, name, tuple(changes))

    return [experiment(name) for name in RUNS]


if __name__ == "__main__":
    sys.exit(main(__doc__, plan))
