"""Painting on arrays of pixels: arrays in, arrays or a picture out. Plots are in `reporting`."""

import math
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

VOID = 255
PIXELS_AT_ONCE = 2**20
OUTLINE = (224, 224, 192)  # the cream in which VOC paints void pixels


def as_bytes(images: np.ndarray) -> np.ndarray:
    """Return images as uint8: floats in [0, 1] are scaled, values outside are clipped."""
    if not np.issubdtype(images.dtype, np.floating):
        return images
    return np.rint(255 * np.clip(images, 0, 1)).astype(np.uint8)


def grey(images: np.ndarray) -> np.ndarray:
    """Return the mean of the channels three times: uint8 or [0, 1] `[..., channels]` to uint8."""
    scale = 255 if np.issubdtype(images.dtype, np.floating) else 1
    mean = scale * images.mean(axis=-1, keepdims=True, dtype=np.float64)
    return np.repeat(np.rint(np.clip(mean, 0, 255)).astype(np.uint8), 3, axis=-1)


def grid(images: np.ndarray, gap: int) -> np.ndarray:
    """Return images side by side in rows, with white gaps of `gap` pixels between them.

    Shapes: uint8 `[rows, columns, height, width, 1 or 3]`; the result is uint8
    `[rows * (height + gap) - gap, columns * (width + gap) - gap, 3]`.
    """
    rows, columns, height, width, _ = images.shape
    paper = np.full((rows, height + gap, columns, width + gap, 3), 255, np.uint8)
    paper[:, :height, :, :width] = images.transpose(0, 2, 1, 3, 4)
    whole = paper.reshape(rows * (height + gap), columns * (width + gap), 3)
    return whole[: len(whole) - gap, : whole.shape[1] - gap]


def overlay(
    image: np.ndarray, mask: np.ndarray, palette: np.ndarray, alpha: float = 0.5
) -> np.ndarray:
    """Paint class indices, integer `[..., height, width]`, over an image, uint8 `[..., 3]`.

    Index 0 leaves the image as it is; 255 (void) is painted opaque in VOC's outline colour; others
    are mixed with a share `alpha` of their colour in `palette`, uint8 `[classes, 3]`. The result is
    a new array. Raises `IndexError` for an index that the palette has no colour for.
    """

    def paint(image: np.ndarray, mask: np.ndarray) -> np.ndarray:
        void = mask == VOID
        colours = palette[np.where(void, 0, mask)]
        mixture = np.rint((1 - alpha) * image + alpha * colours).astype(np.uint8)
        painted = np.where((mask == 0)[..., None], image, mixture)
        return np.where(void[..., None], np.array(OUTLINE, np.uint8), painted)

    return _in_bands(paint, image, mask)


def heat_map(image: np.ndarray, values: np.ndarray, alpha: float = 0.6) -> np.ndarray:
    """Tint an image, uint8 `[..., height, width, 3]`, red for positive values, blue for negative.

    The values, float `[..., h, w]`, are resized to the image bilinearly; after that the largest
    magnitude of all has the full tint, a share `alpha` of the colour. The result is a new array.
    """
    height, width = image.shape[-3:-1]
    maps = [Image.fromarray(v) for v in values.reshape(-1, *values.shape[-2:]).astype(np.float32)]
    resized = [np.asarray(m.resize((width, height), Image.Resampling.BILINEAR)) for m in maps]
    fine = np.stack(resized).reshape(image.shape[:-1])
    most = max(fine.max(), -fine.min()) or 1

    def paint(image: np.ndarray, fine: np.ndarray) -> np.ndarray:
        share = (alpha * np.abs(fine) / most)[..., None]
        colour = np.where(fine[..., None] > 0, (214, 40, 40), (40, 80, 214))
        return np.rint((1 - share) * image + share * colour).astype(np.uint8)

    return _in_bands(paint, image, fine)


def _in_bands(
    paint: Callable[[np.ndarray, np.ndarray], np.ndarray], image: np.ndarray, values: np.ndarray
) -> np.ndarray:
    """Paint the rows of images [..., height, width, 3] with values alike, some at a time.

    The floats of a mixture take 24 bytes a pixel: too many for the whole of a large photo.
    """
    rows, of_rows = image.reshape(-1, *image.shape[-2:]), values.reshape(-1, values.shape[-1])
    step = max(1, PIXELS_AT_ONCE // image.shape[-2])
    painted = np.empty(rows.shape, np.uint8)
    for top in range(0, len(rows), step):
        band = slice(top, top + step)
        painted[band] = paint(rows[band], of_rows[band])
    return painted.reshape(image.shape)


def with_legend(picture: Image.Image, colours: Mapping[str, tuple[int, int, int]]) -> Image.Image:
    """Return an RGB picture with a legend below it; the picture itself if there are no colours.

    A name that does not fit into the line begins a new line; the picture is widened for a name
    that is longer than a line.
    """
    if not colours:
        return picture
    line = 18  # pixels
    font = _font(11)
    places, x, y, widest = [], 0, 0, picture.width
    for name in colours:
        width = math.ceil(font.getlength(name)) + 2 * line
        if x and x + width > picture.width:
            x, y = 0, y + line
        places.append((x, y + picture.height))
        x += width
        widest = max(widest, x)
    whole = Image.new("RGB", (widest, picture.height + y + line), "white")
    whole.paste(picture)
    pen = ImageDraw.Draw(whole)
    for (name, colour), (x, y) in zip(colours.items(), places, strict=True):
        pen.rectangle((x + 3, y + 3, x + line - 4, y + line - 4), fill=colour)
        pen.text((x + line + 1, y + 2), name, fill="black", font=font)
    return whole


def _font(size: int) -> ImageFont.FreeTypeFont:
    """Return matplotlib's own font, DejaVu Sans: Pillow's has boxes for all but English letters."""
    matplotlib = find_spec("matplotlib")
    assert matplotlib is not None and matplotlib.origin is not None
    data = Path(matplotlib.origin).parent / "mpl-data"
    return ImageFont.truetype(data / "fonts" / "ttf" / "DejaVuSans.ttf", size)


@contextmanager
def missing_letters_are_boxes() -> Iterator[None]:
    """Silence what matplotlib says in the block of letters that its font lacks: it draws boxes."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", r"Glyph .* missing from")
        yield
