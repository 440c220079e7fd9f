"""How the metrics are called, whether less or more of each is better, and why one is absent."""

import math
from collections.abc import Mapping

# name -> its label, the direction of better values, and the format of a value, in the order of a
# table's columns. A metric that is not here has its own name as its label.
METRIC_NAMES = {
    "mse": ("MSE", "↓", ".4f"),
    "mae": ("MAE", "↓", ".3f"),
    "psnr": ("PSNR, dB", "↑", ".2f"),
    "psnr_of_set": ("PSNR of the MSE, dB", "↑", ".2f"),
    "ssim": ("SSIM", "↑", ".3f"),
    "log_loss": ("log loss", "↓", ".3f"),
    "elementwise_accuracy": ("element-wise accuracy", "↑", ".3f"),
    "argmax_accuracy": ("argmax accuracy", "↑", ".3f"),
    "exact_match": ("exact match", "↑", ".3f"),
    "balanced_accuracy": ("balanced accuracy", "↑", ".3f"),
    "f1": ("F1", "↑", ".3f"),
    "roc_auc": ("ROC AUC", "↑", ".3f"),
    "map_11_points": ("mean AP, 11 points", "↑", ".3f"),
    "map_every_point": ("mean AP, every point", "↑", ".3f"),
    "map_of_common_classes": ("mean AP, 11 points, of classes of 10 images in train", "↑", ".3f"),
    "ece": ("ECE", "↓", ".3f"),
    "soft_dice_per_image": ("soft Dice per image", "↑", ".3f"),
    "soft_iou_per_image": ("soft IoU per image", "↑", ".3f"),
    "hard_dice_per_image": ("hard Dice per image", "↑", ".3f"),
    "hard_dice_per_image_at_threshold": ("hard Dice per image, chosen threshold", "↑", ".3f"),
    "soft_dice_of_set": ("soft Dice of set", "↑", ".3f"),
    "hard_dice_of_set": ("hard Dice of set", "↑", ".3f"),
    "iou_of_set": ("IoU of set", "↑", ".3f"),
    "mean_iou": ("mean IoU", "↑", ".3f"),
    "frequency_weighted_iou": ("frequency-weighted IoU", "↑", ".3f"),
    "pixel_accuracy": ("pixel accuracy", "↑", ".3f"),
    "hard_dice_per_image_full_size": ("hard Dice per image, full size", "↑", ".3f"),
    "hard_dice_of_set_full_size": ("hard Dice of set, full size", "↑", ".3f"),
    "iou_of_set_full_size": ("IoU of set, full size", "↑", ".3f"),
    "mean_iou_full_size": ("mean IoU, full size", "↑", ".3f"),
    "frequency_weighted_iou_full_size": ("frequency-weighted IoU, full size", "↑", ".3f"),
    "pixel_accuracy_full_size": ("pixel accuracy, full size", "↑", ".3f"),
    "boundary_f_full_size": ("boundary F, full size", "↑", ".3f"),
    "loss": ("loss", "↓", ".4f"),
}

# Why a metric is not defined on a split.
REASONS = {
    **dict.fromkeys(("psnr", "psnr_of_set"), "an image is reproduced without any error"),
    **dict.fromkeys(
        ("log_loss", "elementwise_accuracy", "argmax_accuracy", "exact_match", "ece"),
        "no image has a label that counts",
    ),
    **dict.fromkeys(("f1", "map_11_points", "map_every_point"), "no image shows a class"),
    "map_of_common_classes": "the split shows no class of which train has ten images",
    **dict.fromkeys(
        ("balanced_accuracy", "roc_auc"), "no class has images that show it and images that do not"
    ),
    **{
        name: "no image shows an object"
        for name in METRIC_NAMES
        if any(what in name for what in ("dice", "iou", "boundary"))
    },
    **dict.fromkeys(("pixel_accuracy", "pixel_accuracy_full_size"), "all pixels are void"),
}


def absent(metrics: Mapping[str, float]) -> dict[str, str]:
    """Return why each metric of a split is absent that is NaN or infinite."""
    return {
        name: REASONS.get(name, f"its value is {value}")
        for name, value in metrics.items()
        if not math.isfinite(value)
    }


def by_reason(absent: Mapping[str, str]) -> dict[str, list[str]]:
    """Return the names of absent metrics by the reason that they share."""
    return {why: [n for n in absent if absent[n] == why] for why in absent.values()}
