"""What each part of the segmentation recipe brings: 21 classes of pixels with MobileNetV2.

    vocjax experiments run recipe --workdir runs/recipe --dataset voc2009

begins with imported weights in weights/mobilenet_v2, which `vocjax weights import` makes. Up to
balanced classes every run adds to the one before; each of the next three adds to this one alone,
and each of the last two of the ladder to the one before it. VOC's validation images are not looked
at: a quarter of the training photographs stands in. Where the backbone is frozen and nothing is
drawn, its maps are computed once. The ladder trains at 160 pixels, for time. The last runs have all
of train, the pixels of the config, and VOC's validation images, on which they are scored.
"""

import argparse
import sys

from vocjax.runner import Experiment, main

BEGUN = "init_from=weights/mobilenet_v2"
FROZEN = "optimizer.phases=((0, (('encoder/.*', 0.0), ('.*', 1.0))),)"
HELD_OUT = "data.held_out=0.25"
# Both decoders are trained alike.
ALIKE = (
    FROZEN,
    HELD_OUT,
    "data.size=160",
    "model.rates=(3, 6, 9)",
    "model.kernel_init=he_normal",
    "model.dropout=0.1",
    "loss.name=cross_entropy + soft_dice",
    "loss.classes=present",
    "optimizer.warmup_steps=25",
    "optimizer.clip_norm=1.0",
    "optimizer.average_decay=0.99",
)
# Without a random scale objects are as large in training as the window makes them: 320 pixels, as
# the recipe has them, would show the network objects of twice the size.
FITTED = ("data.longest=160",)
PADDED = ("data.fit=pad", "evaluation.images=whole", *FITTED)
# The recipe's fields at the values of the run before it.
WITHOUT = (
    "data.augment.scale=()",
    "data.augment.flip=False",
    "data.augment.colour=0.0",
    "data.sampling=uniform",
    "evaluation.flip=False",
)
CACHED, DRAWN = ("epochs=15",), ("epochs=12",)
STAGES = "encoder/backbone/(block1[4-7]|conv2)/.*"  # of stride 32, here dilated
LEARNING = (
    "epochs=18",
    f"optimizer.phases=((0, (('encoder/.*', 0.0), ('.*', 1.0))), "
    f"(12, (('{STAGES}', 0.1), ('encoder/.*', 0.0), ('.*', 0.3))))",
)
LONGER = (
    "epochs=40",
    "evaluate_every_epochs=20",
    "optimizer.phases=((0, (('encoder/.*', 0.0), ('.*', 1.0))), "
    "(8, (('encoder/.*', 0.1), ('.*', 0.5))))",
)
SCALES = ("evaluation.scales=(0.75, 1.0, 1.25)",)
# One mask for all objects.
FOREGROUND = (
    "name=DeepLab v3+ by the recipe, foreground",
    "data.sampling=uniform",
    "model.target=foreground",
    "loss.classes=all",
)
# Name, config, and what differs from it.
STEPS = (
    ("squashed, DeepLab v3", "deeplab_pretrained", CACHED),
    ("aspect kept, whole images scored", "deeplab_pretrained", (*CACHED, *PADDED)),
    ("and the decoder of v3+", "segmentation_recipe", (*CACHED, *FITTED, *WITHOUT)),
    (
        "and scale, crop, flip, colour",
        "segmentation_recipe",
        (*DRAWN, "data.sampling=uniform", "evaluation.flip=False"),
    ),
    ("and balanced classes", "segmentation_recipe", (*DRAWN, "evaluation.flip=False")),
    (
        "balanced classes, and class weights by effective number",
        "segmentation_recipe",
        (*DRAWN, "evaluation.flip=False", "loss.weighting=effective_number"),
    ),
    (
        "balanced classes, and the hardest half of the pixels",
        "segmentation_recipe",
        (*DRAWN, "evaluation.flip=False", "loss.hardest=0.5"),
    ),
    (
        "balanced classes, and the deepest stages learn",
        "segmentation_recipe",
        (*LEARNING, "evaluation.flip=False"),
    ),
    (
        "and three scales and the mirrored image",
        "segmentation_recipe",
        (*LEARNING, *SCALES),
    ),
    (
        "and twice the epochs, the whole encoder learns in most of them",
        "segmentation_recipe",
        (*LONGER, *SCALES),
    ),
)


def plan(options: argparse.Namespace) -> list[Experiment]:
    """Return the ladder, and the recipe on all of train, of the data set that the options name."""
    home = (f"data.dataset={options.dataset}", f"data.data_dir={options.data_dir}", BEGUN)
    ladder = [
        Experiment(f"{number}", config, (f"name={name}", *home, *ALIKE, *changes))
        for number, (name, config, changes) in enumerate(STEPS, start=1)
    ]
    whole = {"recipe": LONGER, "foreground": (*FOREGROUND, *LONGER)}
    final = [
        Experiment(name, "segmentation_recipe", (*home, *changes, *SCALES))
        for name, changes in whole.items()
    ]
    return [*ladder, *final]


if __name__ == "__main__":
    sys.exit(main(__doc__, plan))
