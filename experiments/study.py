"""The whole study in one go, and beside each step what works: data in, three tasks, a report out.

    vocjax experiments run study --workdir runs/study

runs it on the embedded toy data set, shortened to minutes on two CPU cores. On the real data it
runs at the study's own epochs and batch size:

    vocjax data prepare --dataset voc2009 --devkit VOCdevkit --data_dir data
    vocjax experiments run study --workdir runs/voc2009 --dataset voc2009

A short table has the study's figures, its recipe's here and ours; the report has all of them. Run
again, it goes on where it was stopped.
"""

import argparse
import sys

from vocjax.runner import Experiment, main

# Each run, and the run whose encoder it begins with.
STUDY = {
    "pca": "",
    "linear_autoencoder": "",
    "autoencoder_256": "",
    "classifier_256": "autoencoder_256",
    "segmentation_dice": "",
}
OURS = {
    "autoencoder_convolutional": "",
    "classifier_residual": "",
    "segmentation_residual": "classifier_residual",
}
BESIDE = dict(zip(OURS, ("autoencoder_256", "classifier_256", "segmentation_dice"), strict=True))
# The study's code has 256 numbers; the toy set is too small for as many components.
VOC = {"pca": ("model.components=256",)}
# The toy set has a third of the study's images: smaller batches give as many steps. Evaluations
# take as long as epochs.
TOY = {
    "autoencoder_256": ("batch_size=8", "epochs=9", "evaluate_every_epochs=3"),
    "classifier_256": ("batch_size=8", "epochs=8", "evaluate_every_epochs=4"),
    "segmentation_dice": ("batch_size=8", "epochs=6", "evaluate_every_epochs=3"),
    "autoencoder_convolutional": ("epochs=10", "evaluate_every_epochs=5"),
    "classifier_residual": ("batch_size=16", "epochs=60", "evaluate_every_epochs=60"),
    "segmentation_residual": ("epochs=24", "evaluate_every_epochs=24"),
}


def plan(options: argparse.Namespace) -> list[Experiment]:
    """Return the study's runs and ours on the data set that the options name."""

    def experiment(name: str, origin: str) -> Experiment:
        home = options.data_dir if name.startswith("segmentation") else options.objects_dir
        changes = [f"data.dataset={options.dataset}", f"data.data_dir={home}"]
        changes += (TOY if options.dataset == "toy" else VOC).get(name, ())
        if origin:
            changes.append(f"init_from={options.workdir / origin}")
        return Experiment(name, name, tuple(changes), beside=BESIDE.get(name, ""))

    return [experiment(name, origin) for name, origin in (STUDY | OURS).items()]


if __name__ == "__main__":
    sys.exit(main(__doc__, plan))
