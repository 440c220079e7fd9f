"""Losses: one value per example, [B] float32, computed in float32 whatever the inputs' type.

`weight` says how much each element counts. It has the rank of the array it weighs and that array's
size or 1 along each axis; 0 excludes an element, whatever stands there (void pixels, difficult
labels, padding). Each function raises ValueError at trace time where shapes don't fit.
"""

from vocjax.losses.classes import (
    binary_cross_entropy,
    class_weights,
    focal,
    smooth_labels,
    softmax_cross_entropy,
    softmax_focal,
)
from vocjax.losses.images import SSIM_WINDOW, dissimilarity, mae, mse, structural_similarity
from vocjax.losses.overlap import (
    dice_coefficient,
    lovasz_hinge,
    lovasz_softmax,
    soft_dice,
    soft_jaccard,
    tversky,
)
from vocjax.losses.weights import weighted_mean

__all__ = [
    "SSIM_WINDOW",
    "binary_cross_entropy",
    "class_weights",
    "dice_coefficient",
    "dissimilarity",
    "focal",
    "lovasz_hinge",
    "lovasz_softmax",
    "mae",
    "mse",
    "smooth_labels",
    "soft_dice",
    "soft_jaccard",
    "softmax_cross_entropy",
    "softmax_focal",
    "structural_similarity",
    "tversky",
    "weighted_mean",
]
