"""Transfer: a pretrained backbone frozen, fine-tuned, and both in turn, against from scratch.

    python experiments/transfer.py --workdir runs/transfer --dataset voc2009

begins with imported weights of MobileNetV2 in weights/mobilenet_v2 (`vocjax weights import`). Two
classes of object crops (where these are elsewhere, `--objects_dir` says so), two and twenty classes
of photographs, and the pixels of twenty classes and background.

Run again, it goes on where it was stopped.
"""

import argparse
import sys

from vocjax.campaign import Experiment, main
from vocjax.data.devkit import CLASSES

WEIGHTS = "init_from=weights/mobilenet_v2"
SCRATCH = ("model.backbone.name=mobilenet_v2", "model.backbone.fields=(('variant', 'gluon'),)")
LAST = "encoder/backbone/(block1[4-7]|conv2)/.*"  # the stages of stride 32

SHORT = ("epochs=8", "evaluate_every_epochs=2", "batch_size=16", "data.augment.flip=True")
ALL = "optimizer.phases=()"
SLOWER = "optimizer.phases=((0, (('encoder/.*', 0.1), ('.*', 1.0))),)"
# The head alone, on features that are computed once; then the last stages; then all of them.
FROZEN = "optimizer.phases=((0, (('encoder/.*', 0.0), ('.*', 1.0))),)"
BY_STAGE = (
    f"optimizer.phases=((0, (('encoder/.*', 0.0), ('.*', 1.0))), "
    f"(40, (('{LAST}', 0.1), ('encoder/.*', 0.0), ('.*', 0.3))), "
    f"(42, (('{LAST}', 0.1), ('encoder/.*', 0.02), ('.*', 0.1))))",
    "epochs=46",
    "evaluate_every_epochs=2",
    "batch_size=16",
)
METHODS = {
    "frozen": (WEIGHTS,),
    "fine-tuned": (WEIGHTS, SLOWER, *SHORT),
    "head first, then by stage": (WEIGHTS, *BY_STAGE),
    "from scratch": (*SCRATCH, ALL, *SHORT),
}


def plan(options: argparse.Namespace) -> list[Experiment]:
    """Return the runs on the data set that the options name: four tasks by four ways to begin."""
    objects = (f"data.dataset={options.dataset}", f"data.data_dir={options.objects_dir}")
    photographs = (f"data.dataset={options.dataset}", f"data.data_dir={options.data_dir}")
    many = (f"data.classes={CLASSES}", "loss.name=binary_cross_entropy")
    questions = {
        "Dog or aeroplane": objects,
        "Dog or cat": (*photographs, "data.classes=('cat', 'dog')"),
        "20 classes": (*photographs, *many),
    }
    return [
        *(
            _experiment(f"{question}, {method}", "classifier_pretrained", *data, *changes)
            for question, data in questions.items()
            for method, changes in METHODS.items()
        ),
        *(
            _experiment(f"21 classes of pixels, {method}", "segmentation_pretrained", *changes)
            for method, changes in {
                "frozen": (*photographs, WEIGHTS, FROZEN),
                "fine-tuned": (*photographs, WEIGHTS, SLOWER),
                "decoder first, then all": (*photographs, WEIGHTS),
                "from scratch": (*photographs, *SCRATCH, ALL),
            }.items()
        ),
    ]


def _experiment(name: str, config: str, *changes: str) -> Experiment:
    directory = name.lower().replace(", ", "_").replace(" ", "_")
    return Experiment(directory, config, (f"name={name}", *changes))


if __name__ == "__main__":
    sys.exit(main(__doc__, plan))
