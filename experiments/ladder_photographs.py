"""How task 2's residual network wants to be trained on photographs, by a held-out part of train.

    vocjax experiments run ladder_photographs --workdir runs/photographs --dataset voc2009

Cat or dog, and 20 classes, with what ladder_classification.py chose for dog and aeroplane, but for
fewer epochs and without label smoothing: on these photographs it is soon too sure. VOC's validation
images are not looked at: a quarter of the training photographs stands in. classification.py has
what had the least log-loss.
"""

import argparse
import sys

from vocjax.data.classes import VOC
from vocjax.runner import Experiment, main

QUESTIONS = {
    "Cat or dog": ("data.classes=('cat', 'dog')",),
    "20 classes": (f"data.classes={VOC.names}", "loss.name=binary_cross_entropy"),
}
STEPS = {
    "10 epochs": ("epochs=10",),
    "20 epochs": ("epochs=20",),
    "20 epochs, no label smoothing": ("epochs=20", "loss.label_smoothing=0.0"),
}


def plan(options: argparse.Namespace) -> list[Experiment]:
    """Return the two questions' ladders on the data set that the options name."""
    shared = (
        f"data.dataset={options.dataset}",
        f"data.data_dir={options.data_dir}",
        "data.held_out=0.25",
        "evaluate_every_epochs=20",
    )
    return [
        Experiment(
            f"{question}, {name}".lower().replace(", ", "_").replace(" ", "_"),
            "classifier_residual",
            (f"name={question}, {name}", *shared, *asked, *changes),
        )
        for question, asked in QUESTIONS.items()
        for name, changes in STEPS.items()
    ]


if __name__ == "__main__":
    sys.exit(main(__doc__, plan))
