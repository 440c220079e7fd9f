"""Logits of a photo at its own size: of the whole, or of windows; at one scale or several.

The aspect is kept. Logits, not masks, are resized and averaged. Memory is bounded: a photo of more
pixels is shrunk first.
"""

import itertools
from collections import OrderedDict
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import numpy as np
from flax import linen as nn
from ml_collections import ConfigDict

from vocjax.data.frame import GREY, at_most, within
from vocjax.data.pipeline import padded, resize_image
from vocjax.errors import UserError, check_choice, check_range
from vocjax.metrics.segmentation import resized_bands
from vocjax.models.fields import image_shape

FITTED, WHOLE, WINDOWS = IMAGES = ("fitted", "whole", "windows")
MOST_PIXELS = 2**20  # that a network gets at once, at the largest scale
MOST_NUMBERS = 2**26  # logits of a photo, 256 MiB
STEP = 32  # pixels; a program is compiled for each size of a whole image
PROGRAMS = 64  # that are kept in memory: photos of VOC have about 40 sizes in steps of 32
AT_ONCE = 4  # windows in a batch

# Images uint8 [n, height, width, channels] to logits float32 [n, height, width, outputs].
Run = Callable[[np.ndarray], np.ndarray]


class View(NamedTuple):
    """How a network sees a photo whose logits are wanted at its own size."""

    images: str  # WHOLE or WINDOWS
    longest: int  # a longer side shrinks to it; 0 for none
    scales: tuple[float, ...]
    window: tuple[int, int]  # (height, width)
    overlap: float  # of neighbouring windows, a share of their sides
    stride: int  # of the network's deepest map
    channels: int
    outputs: int


def view_of(config: ConfigDict, model: nn.Module, outputs: int) -> View | None:
    """Return the view that `config.evaluation` describes, None where images are as in training.

    Raises `UserError` for a wrong field, and for a network whose stride is not known.
    """
    fields = config.evaluation
    check_choice("evaluation.images", fields.images, IMAGES)
    check_range("evaluation.overlap", fields.overlap, 0, 1)
    scales = fields.scales
    if not scales or not all(type(s) in (int, float) and 0.1 <= s <= 10 for s in scales):
        raise UserError(
            f"evaluation.scales is {scales!r}; it is one or more factors of the images' size, from "
            "0.1 to 10: (1.0,) or (0.75, 1.0, 1.25)."
        )
    if fields.images == FITTED:
        if scales != (1.0,):
            raise UserError(
                f"evaluation.scales is {scales!r} and evaluation.images {FITTED}, which has the "
                f"size of training alone; set evaluation.images to {WHOLE} or {WINDOWS}."
            )
        return None
    strides = getattr(getattr(model, "encoder", None), "strides", None)
    if strides is None and fields.images == WHOLE:
        raise UserError(
            f"evaluation.images is {WHOLE}, which pads to the stride of the network, and that of "
            f"{config.model.name} is not known; set it to {WINDOWS}, which have the size of "
            "training."
        )
    stride = max(strides.values()) if strides else 1
    height, width, channels = image_shape(config)
    longest, window = config.data.longest, (height, width)
    return View(
        fields.images, longest, tuple(scales), window, fields.overlap, stride, channels, outputs
    )


def logits_of(view: View, run: Run, photo: np.ndarray) -> np.ndarray:
    """Return logits [h, w, outputs] float32 of a photo, uint8 [height, width, 3].

    (h, w) is the photo's size, or as `longest` and the bounds of memory shrink it. `run` gets
    images of one shape for windows, and as many shapes for whole images as the photos have, rounded
    up to `step_of` the stride.
    """
    size = bounded(at_most(photo.shape[:2], view.longest), view)
    of_image = of_whole if view.images == WHOLE else of_windows
    total = np.zeros((*size, view.outputs), np.float32)
    for scale in view.scales:
        height, width = (max(1, round(scale * side)) for side in size)
        found = of_image(view, run, resize_image(photo, (height, width), view.channels))
        if (height, width) == size:
            total += found / len(view.scales)
            continue
        for rows, band in resized_bands(found, *size):
            total[rows] += band / len(view.scales)
    return total


def bounded(size: tuple[int, int], view: View) -> tuple[int, int]:
    """Return the size at which neither the largest scale nor the logits have too many numbers."""
    most = min(MOST_PIXELS / max(*view.scales, 1) ** 2, MOST_NUMBERS / view.outputs)
    factor = min(1.0, (most / (size[0] * size[1])) ** 0.5)
    return within(size, (max(1, int(factor * size[0])), max(1, int(factor * size[1]))))


def of_whole(view: View, run: Run, image: np.ndarray) -> np.ndarray:
    """Return the logits of an image [h, w, channels] that is padded to the stride."""
    height, width = image.shape[:2]
    frame = up_to(height, step_of(view.stride)), up_to(width, step_of(view.stride))
    return run(padded(image, frame, GREY)[None])[0][:height, :width]


def of_windows(view: View, run: Run, image: np.ndarray) -> np.ndarray:
    """Return the logits of an image [h, w, channels], blended from windows that overlap.

    The last window of a row or a column ends where the image ends, and overlaps more. Windows begin
    at multiples of the stride, if their size is one, as the maps of the whole image do. Towards a
    neighbour the weight of a window rises from 0 to 1 within the middle quarter of the overlap: a
    pixel whose receptive field, up to three quarters of the overlap, reaches beyond the window
    takes nothing from it.
    """
    height, width = image.shape[:2]
    frame = max(height, view.window[0]), max(width, view.window[1])
    frame = up_to(frame[0], step_of(view.stride)), up_to(frame[1], step_of(view.stride))
    canvas, total = padded(image, frame, GREY), np.zeros((*frame, view.outputs), np.float32)
    rows, columns = (_cuts(n, side, view) for n, side in zip(frame, view.window, strict=True))
    windows = list(itertools.product(rows, columns))
    for first in range(0, len(windows), AT_ONCE):
        some = windows[first : first + AT_ONCE]
        batch = np.stack([canvas[y, x] for (y, _), (x, _) in some])
        # Windows that are missing in the last batch are empty: all batches have one shape.
        batch = np.pad(batch, ((0, AT_ONCE - len(batch)), (0, 0), (0, 0), (0, 0)))
        for ((y, down), (x, across)), logits in zip(some, run(batch), strict=False):
            total[y, x] += down[:, None, None] * across[:, None] * logits
    return total[:height, :width]


def _cuts(n: int, side: int, view: View) -> list[tuple[slice, np.ndarray]]:
    """Return the windows along an axis of n pixels, each with its weights [side]."""
    step = max(1, side - round(view.overlap * side))
    if view.stride <= side:
        step = max(view.stride, step // view.stride * view.stride)
    starts = [*range(0, n - side, step), n - side]
    cuts = [slice(start, start + side) for start in starts]
    return list(zip(cuts, weights(starts, n, side, side - step), strict=True))


def weights(starts: list[int], n: int, side: int, overlap: int) -> np.ndarray:
    """Return the weights [windows, side] float32 of windows along an axis of n pixels.

    They add to 1 at each pixel. At the image's own ends they do not fall.
    """
    ramp = max(overlap / 4, 1)
    centre = np.arange(side) + 0.5
    rising = np.clip((centre - overlap / 2) / ramp + 0.5, 0, 1)
    found = np.ones((len(starts), side))
    found[1:] *= rising
    found[:-1] *= rising[::-1]
    total = np.zeros(n)
    for start, weight in zip(starts, found, strict=True):
        total[start : start + side] += weight
    for start, weight in zip(starts, found, strict=True):
        weight /= total[start : start + side]
    return found.astype(np.float32)


def with_few_programs(function: Any, most: int = PROGRAMS) -> Callable[[Any, Any], Any]:
    """Return a jitted function of (variables, batch) that keeps programs of few shapes of batches.

    It forgets the one that was used the longest ago; jit itself would keep those of all photos. A
    function that isn't jitted, an exported one, is returned as it is.
    """
    if not hasattr(function, "lower"):
        return function
    kept: OrderedDict[tuple[tuple[int, ...], ...], Any] = OrderedDict()

    def call(variables: Any, batch: Any) -> Any:
        shapes = tuple(x.shape for x in jax.tree.leaves(batch))
        if shapes not in kept:
            if len(kept) == most:
                kept.popitem(last=False)
                function.clear_cache()  # which also holds what `lower` has made
            kept[shapes] = function.lower(variables, batch).compile()
        kept.move_to_end(shapes)
        return kept[shapes](variables, batch)

    return call


def step_of(stride: int) -> int:
    """Return the least multiple of a stride from `STEP` on, to which sides are padded."""
    return up_to(STEP, stride)


def up_to(number: int, step: int) -> int:
    """Return the least multiple of `step` that is not below a number."""
    return -(-number // step) * step
