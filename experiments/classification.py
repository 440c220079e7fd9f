"""Task 2 in full: classification from the encoder, under the study's protocol and under ours.

    vocjax experiments run classification --workdir runs/classification

runs it on the embedded toy data set. On real data (tasks 1 and 2 want dogs and aeroplanes; where
these are object crops, `--objects_dir` says where they lie):

    vocjax experiments run classification --workdir runs/voc2009_classification --dataset voc2009

Run again, it goes on where it was stopped.
"""

import argparse
import sys

from vocjax.data.classes import VOC
from vocjax.data.splits import LEGACY
from vocjax.runner import Experiment, main

AUTOENCODERS = range(3)  # seeds: classifiers with further ones begin from the same three
SEEDS = range(5)
# How long, and whether with smoothing, is what ladder_photographs.py found.
CAT_OR_DOG = ("data.classes=('cat', 'dog')", "epochs=10", "evaluate_every_epochs=20")
OF_20 = (
    f"data.classes={VOC.names}",
    "loss.name=binary_cross_entropy",
    "loss.label_smoothing=0.0",
    "epochs=20",
    "evaluate_every_epochs=20",
)
HEAD_FIRST = (
    (0, (("encoder/.*", 0.0), ("head/.*", 1.0))),
    (4, (("encoder/.*", 0.1), ("head/.*", 0.3))),
)  # of twelve epochs, as the config has it of thirty
SGD = ("optimizer.name=sgd", "optimizer.learning_rate=0.01")


def plan(options: argparse.Namespace) -> list[Experiment]:
    """Return the task's runs on the data set that the options name."""
    toy = options.dataset == "toy"
    objects = (f"data.dataset={options.dataset}", f"data.data_dir={options.objects_dir}")
    photographs = (f"data.dataset={options.dataset}", f"data.data_dir={options.data_dir}")
    # The toy set has a third of the study's images: smaller batches give as many steps.
    pretrained = ("batch_size=8", "epochs=12") if toy else ()
    trained = (*pretrained, "evaluate_every_epochs=2") if toy else ("evaluate_every_epochs=10",)
    soon = (f"optimizer.phases={HEAD_FIRST}",) if toy else ()
    whole = range(1)  # training all of the study's network takes a quarter of an hour

    def experiment(name: str, config: str, seed: int, *changes: str) -> Experiment:
        directory = f"{name.lower().replace(', ', '_').replace(' ', '_')}_{seed}"
        overrides = (f"name={name}", f"seed={seed}", *changes)
        return Experiment(directory, config, overrides, pictured=seed == 0)

    def autoencoder(size: int, seed: int) -> Experiment:
        changes = (*objects, *pretrained)
        run = experiment(f"AE {size}", f"autoencoder_{size}", seed, *changes)
        return run._replace(pictured=False)

    def classifiers(
        name: str, config: str, seeds: range, *changes: str, size: int = 0
    ) -> list[Experiment]:
        runs = []
        for seed in seeds:
            of_seed = [*objects, *trained, *changes]
            if size:
                source = f"ae_{size}_{seed % len(AUTOENCODERS)}"
                of_seed.append(f"init_from={options.workdir / source}")
            if name.startswith("Legacy"):
                of_seed += [f"data.split={LEGACY}", f"data.split_seed={seed}"]
                of_seed.append("data.several=repeat")
            runs.append(experiment(name, config, seed, *of_seed))
        return runs

    def residual(name: str, home: tuple[str, ...], seeds: range, *changes: str) -> list[Experiment]:
        shortened = ("epochs=60",) if toy else ()
        return [
            experiment(name, "classifier_residual", seed, *home, *changes, *shortened)
            for seed in seeds
        ]

    return [
        *(autoencoder(size, seed) for size in (2048, 256) for seed in AUTOENCODERS),
        *classifiers("AE 256, frozen", "classifier_frozen", SEEDS, size=256),
        *classifiers(
            "AE 2048, frozen",
            "classifier_frozen",
            SEEDS,
            "model.encoder=(256, 128, 64, 32)",
            size=2048,
        ),
        *residual("Residual network", objects, whole),
        *residual("Residual network, cat or dog", photographs, whole, *CAT_OR_DOG),
        *residual("Residual network, 20 classes", photographs, whole, *OF_20),
        *classifiers("Legacy, from AE 2048, rmsprop", "classifier_2048", whole, size=2048),
        *classifiers("Legacy, from AE 256, sgd", "classifier_256", whole, *SGD, size=256),
        *classifiers("Legacy, from AE 256, rmsprop", "classifier_256", whole, size=256),
        *classifiers("AE 2048, fine-tuned", "classifier_2048", whole, size=2048),
        *classifiers("AE 256, fine-tuned", "classifier_256", whole, size=256),
        *classifiers("AE 256, from scratch", "classifier_scratch", whole),
        *classifiers("AE 256, head first", "classifier_head_first", whole, *soon, size=256),
        *classifiers("AE 256, FC, FC, softmax", "classifier_lecture", whole, size=256),
        *classifiers("AE 256, joint", "classifier_joint", whole),
    ]


if __name__ == "__main__":
    sys.exit(main(__doc__, plan))
