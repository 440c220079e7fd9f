"""Task 3's decoders on one encoder: FCN-32s, FCN-16s, FCN-8s, U-Net and DeepLab, from scratch.

    vocjax experiments run decoders --workdir runs/decoders

runs it on the embedded toy data set, and with `--dataset voc2009` on real data. The encoder halves
five times, to a stride of 32 (DeepLab's last two halvings are dilation instead, with the same
parameters). Images of 96 pixels, loss, optimizer and epochs are the same for all. Object or
background is decided, and scored against the original masks.

Run again, it goes on where it was stopped.
"""

import argparse
import sys

from vocjax.runner import Experiment, main

SHARED = (
    "epochs=20",
    "batch_size=8",
    "evaluate_every_epochs=10",
    "data.size=96",
    "data.channels=3",
    "data.augment.flip=True",
    "data.augment.zoom=0.5",
    "data.augment.colour=0.3",
    "model.target=foreground",
    "model.encoder=(16, 32, 64, 96, 128)",
    "model.stem=stride",
    "model.norm=batch",
    "model.norm_statistics=debiased",
    "model.kernel_init=he_normal",
    "loss.name=soft_dice + cross_entropy",
    "optimizer.name=muon",
    "optimizer.learning_rate=0.01",
    "optimizer.schedule=cosine",
    "optimizer.warmup_steps=50",
    "optimizer.weight_decay=0.05",
    "optimizer.clip_norm=1.0",
    "optimizer.average_decay=0.99",
)
PYRAMID = ("model.output_stride=8", "model.features=32", "model.rates=(2, 4, 6)")
# Name, config, and what is the decoder's own.
DECODERS = (
    ("FCN-32s", "segmentation_fcn", ("model.skips=0",)),
    ("FCN-16s", "segmentation_fcn", ("model.skips=1",)),
    ("FCN-8s", "segmentation_fcn", ("model.skips=2",)),
    ("U-Net", "segmentation_unet", ("model.decoder=(64, 32, 16, 16)",)),
    ("DeepLab", "segmentation_deeplab", PYRAMID),
)


def plan(options: argparse.Namespace) -> list[Experiment]:
    """Return a run of each decoder on the data set that the options name."""
    home = (f"data.dataset={options.dataset}", f"data.data_dir={options.data_dir}")
    return [
        Experiment(name.lower().replace("-", "_"), config, (f"name={name}", *home, *SHARED, *own))
        for name, config, own in DECODERS
    ]


if __name__ == "__main__":
    sys.exit(main(__doc__, plan))
