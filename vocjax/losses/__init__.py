"""Losses: one value per example, [B] float32, computed in float32 for inputs of any float type.

`weight` is how much each element counts. It has the rank of the array that it weighs, and along
each axis the size of that array or 1; 0 excludes an element, whatever it holds (void pixels,
difficult labels, padding). Each function raises `ValueError` at trace time for shapes that do not
fit. `losses.table` has the losses that a config can name, and says how to add one.
"""

from vocjax.losses.classes import class_weights, cross_entropy, focal, smooth_labels
from vocjax.losses.images import SSIM_WINDOW, dissimilarity, mae, mse, structural_similarity
from vocjax.losses.overlap import dice_coefficient, lovasz, soft_dice, soft_jaccard, tversky
from vocjax.losses.pixels import check_factors
from vocjax.losses.table import is_exclusive, make_class_loss, make_image_loss, make_pixel_loss
from vocjax.losses.weights import weighted_mean
