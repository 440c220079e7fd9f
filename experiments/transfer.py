"""Transfer: a pretrained backbone frozen, fine-tuned, and both in turn, on four questions.

    vocjax experiments run transfer --workdir runs/transfer --dataset voc2009

begins with imported weights in weights/, a directory a backbone, which `vocjax weights import`
makes. Two classes of object crops (where these are elsewhere, `--objects_dir` says so), two and
twenty classes of photographs, and the pixels of twenty classes and background. Our best networks
from scratch are those of the experiments classification and segmentation.

Run again, it goes on where it was stopped.
"""

import argparse
import sys

from vocjax.data.classes import VOC
from vocjax.runner import Experiment, main

FROZEN = ("squeezenet", "tiny_darknet", "mobilenet", "resnet50")  # beside MobileNetV2
BEGUN = "init_from=weights/mobilenet_v2"
LAST = "encoder/backbone/(block1[4-7]|conv2)/.*"  # the stages of stride 32

BY_STEPS = "model.head_init=zeros"
LEARNING = (BY_STEPS, "batch_size=16", "evaluate_every_epochs=2")
SLOWER = "optimizer.phases=((0, (('encoder/.*', 0.1), ('.*', 1.0))),)"
FLIP = "data.augment.flip=True"
# The head alone, on features that are computed once; then the last stages; then all of them.
BY_STAGE = (
    f"optimizer.phases=((0, (('encoder/.*', 0.0), ('.*', 1.0))), "
    f"(20, (('{LAST}', 0.1), ('encoder/.*', 0.0), ('.*', 0.3))), "
    f"(22, (('{LAST}', 0.1), ('encoder/.*', 0.02), ('.*', 0.1))))",
    "epochs=24",
)
METHODS = {
    "frozen": (BEGUN,),
    "frozen, root mean square": (BEGUN, "model.pooling=rms"),
    "frozen, by gradient steps": (BEGUN, BY_STEPS, "epochs=100"),
    "fine-tuned": (BEGUN, SLOWER, *LEARNING, "epochs=2", FLIP),
    "head first, then by stage": (BEGUN, *BY_STAGE, *LEARNING),
}
FEW_IMAGES = {"fine-tuned": ("epochs=3",)}  # of dogs and aeroplanes
# With a backbone that learns, 224 pixels take hours.
SMALL = ("data.size=160", "evaluate_every_epochs=4")
STILL = "optimizer.phases=((0, (('encoder/.*', 0.0), ('.*', 1.0))),)"
OF_PIXELS = {
    "frozen": (STILL, "epochs=12", "evaluate_every_epochs=4"),
    "fine-tuned": (SLOWER, "epochs=5", *SMALL),
    "decoder first, then all": (
        "optimizer.phases=((0, (('encoder/.*', 0.0), ('.*', 1.0))), "
        "(6, (('encoder/.*', 0.1), ('.*', 0.5))))",
        "epochs=11",
        *SMALL,
    ),
}
# A small decoder on the map of stride 16, which is computed once: nothing is augmented.
CACHED = (
    BEGUN,
    STILL,
    "data.size=320",
    "model.backbone.output_stride=16",
    "model.features=128",
    "model.rates=()",
    "model.kernel_init=he_normal",
    "model.dropout=0.3",
    "loss.classes=present",
    "loss.name=cross_entropy + soft_dice",
    "optimizer.learning_rate=0.002",
    "optimizer.warmup_steps=25",
    "optimizer.clip_norm=1.0",
    "optimizer.average_decay=0.99",
    "epochs=10",
)


def plan(options: argparse.Namespace) -> list[Experiment]:
    """Return the runs on the data set that the options name."""
    objects = (f"data.dataset={options.dataset}", f"data.data_dir={options.objects_dir}")
    photographs = (f"data.dataset={options.dataset}", f"data.data_dir={options.data_dir}")
    many = (f"data.classes={VOC.names}", "loss.name=binary_cross_entropy")
    questions = {
        "Dog or aeroplane": objects,
        "Dog or cat": (*photographs, "data.classes=('cat', 'dog')"),
        "20 classes": (*photographs, *many),
    }

    def classifier(question: str, method: str, *changes: str) -> Experiment:
        config = ("classifier_pretrained", *questions[question], *changes)
        return _experiment(f"{question}, {method}", *config)

    return [
        *(
            classifier("Dog or aeroplane", f"frozen {name}", f"init_from=weights/{name}")
            for name in FROZEN
        ),
        *(
            classifier(
                "Dog or aeroplane", f"{method} MobileNetV2", *changes, *FEW_IMAGES.get(method, ())
            )
            for method, changes in METHODS.items()
        ),
        *(
            classifier(question, f"{method} MobileNetV2", *changes)
            for question in ("Dog or cat", "20 classes")
            for method, changes in METHODS.items()
        ),
        *(
            _experiment(
                f"21 classes of pixels, {method} MobileNetV2",
                "segmentation_pretrained",
                *photographs,
                BEGUN,
                *changes,
            )
            for method, changes in OF_PIXELS.items()
        ),
        *(
            _experiment(
                f"{question}, cached MobileNetV2",
                "deeplab_pretrained",
                *photographs,
                *CACHED,
                f"model.target={target}",
            )
            for question, target in (
                ("21 classes of pixels", "softmax"),
                ("Foreground", "foreground"),
            )
        ),
    ]


def _experiment(name: str, config: str, *changes: str) -> Experiment:
    directory = name.lower().replace(", ", "_").replace(" ", "_")
    return Experiment(directory, config, (f"name={name}", *changes))


if __name__ == "__main__":
    sys.exit(main(__doc__, plan))
