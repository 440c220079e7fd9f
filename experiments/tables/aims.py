"""The table of what we aimed at on the real subset, and how far it is reached."""

from collections.abc import Sequence

from experiments.tables.findings import difference
from experiments.tables.kept import markdown, number, read_differences, read_kept

DATA = "voc2009 subset"
GAIN = ("Classifier, fine-tuned", "Classifier, from scratch")  # 5 seeds
ACCURACY, LOG_LOSS, HARD = "elementwise_accuracy", "log_loss", "hard_dice_per_image_full_size"
# What is asked, the aim, and of which kept run: study, directory, metrics.
AIMS: Sequence[tuple[str, str, str, str, tuple[str, ...]]] = (
    (
        "convolutional autoencoder, 256 numbers: MSE",
        "below .0067 (DCT)",
        "representation",
        "convolutional_autoencoder_256_0",
        ("mse",),
    ),
    (
        "the same, 72 numbers: MSE",
        "below .0154 (PCA)",
        "representation",
        "convolutional_autoencoder_72_0",
        ("mse",),
    ),
    ("classifier, frozen: accuracy", "above .80", "story", "classifier_frozen_0", (ACCURACY,)),
    (
        "cat or dog, frozen backbone: accuracy, log-loss",
        ".92, .22",
        "transfer",
        "dog_or_cat_frozen_mobilenetv2",
        (ACCURACY, LOG_LOSS),
    ),
    (
        "20 classes, frozen backbone: mean AP, of common classes",
        ".47",
        "transfer",
        "20_classes_frozen_root_mean_square_mobilenetv2",
        ("map_11_points", "map_of_common_classes"),
    ),
    (
        "foreground from scratch, 64 px: hard Dice at full size",
        ".65",
        "segmentation",
        "honest_unet_wide",
        (HARD,),
    ),
    (
        "foreground, pretrained encoder: hard Dice at full size",
        "above .75",
        "recipe",
        "foreground",
        (HARD,),
    ),
    (
        "21 classes: mean IoU at full size",
        ".50",
        "recipe",
        "recipe",
        ("mean_iou_full_size",),
    ),
)


def aims_table() -> str:
    """Return a Markdown table of each aim, and of what the kept run has on validation."""
    kept = {study: read_kept(study).get(DATA, []) for study in {aim[2] for aim in AIMS}}
    rows = [["on validation", "aim", "here"]]
    for what, aim, study, directory, metrics in AIMS:
        for run in kept[study]:
            if run.directory.name == directory and run.results:
                cell = ", ".join(number(run.results["val"].get(metric)) for metric in metrics)
                rows.append([what, aim, cell])
    gain = difference(read_differences("story", DATA), *GAIN)
    rows.append(["classifier, fine-tuned minus from scratch: accuracy", "above 0", gain])
    return markdown(rows)
