"""From shapes to pixels: noise, and shapes laid over a picture with light on them.

What pixels go through is addition, multiplication and integer resampling, coordinates are rounded to whole
sub-pixels: so that a seed gives the same bytes on every machine.
"""

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

from vocjax.data.toy.parts import Points, Random, Shape

Picture = NDArray[np.float64]

SUBPIXELS = 3  # per pixel and axis, for antialiasing


def noise(rng: Random, height: int, width: int, cell: tuple[float, float]) -> Picture:
    """Smooth noise [height, width] in [-1, 1] whose grains are `cell` (high, wide) pixels large."""
    rows, columns = int(height / cell[0]) + 3, int(width / cell[1]) + 3
    grid = Image.fromarray(rng.integers(0, 256, (rows, columns), dtype=np.uint8))
    region = (1.0, 1.0, 1.0 + width / cell[1], 1.0 + height / cell[0])
    smooth = grid.resize((width, height), Image.Resampling.BICUBIC, box=region)
    return np.asarray(smooth, np.float64) / 127.5 - 1


def fractal(rng: Random, height: int, width: int, cell: float) -> Picture:
    """Noise [height, width], about in [-1, 1], with grains of `cell`, `cell` / 2 and `cell` / 4 pixels."""
    octaves = [noise(rng, height, width, (cell / k, cell / k)) / k for k in (1, 2, 4)]
    return (octaves[0] + octaves[1] + octaves[2]) / 1.4


def blur(grey: Image.Image, radius: float) -> Picture:
    """The grey image [height, width] blurred, in [0, 1]."""
    return np.asarray(grey.filter(ImageFilter.BoxBlur(radius)), np.float64) / 255


def lay(
    picture: Picture, shape: Shape, rng: Random, light: float, texture: Picture
) -> NDArray[np.bool_]:
    """Lay a shape, given in pixels (y downwards), over `picture` [height, width, 3] in place.

    `light` is the horizontal direction that light comes from, -1 left to 1 right, and `texture`
    [height, width] a factor on the colours. Returns where the shape covers most of a pixel.
    """
    height, width = picture.shape[:2]
    size = (width * SUBPIXELS, height * SUBPIXELS)
    colours, relief = Image.new("RGB", size), Image.new("L", size)
    brush, chisel = ImageDraw.Draw(colours), ImageDraw.Draw(relief)
    for outline, colour in shape:
        corners = np.rint(outline * SUBPIXELS).astype(int).ravel().tolist()
        red, green, blue = np.clip(colour, 0, 255).astype(int).tolist()
        brush.polygon(corners, fill=(red, green, blue))
        chisel.polygon(corners, fill=int(rng.integers(110, 256)))
    layer = np.asarray(
        colours.reduce(SUBPIXELS), np.float64
    )  # black where empty: weighted by alpha
    alpha = np.asarray(relief.point([0] + [255] * 255).reduce(SUBPIXELS), np.float64) / 255
    low = relief.reduce(SUBPIXELS)
    fine, coarse = blur(low, 1), blur(low, 4)
    down, right = np.gradient(fine + 1.5 * coarse)
    shade = (0.82 + 0.3 * coarse + 0.9 * (down - light * right)) * texture
    picture *= 1 - alpha[..., None]
    picture += layer * np.clip(shade, 0.3, 1.7)[..., None]
    return alpha > 0.5


def cast_shadow(picture: Picture, x: float, y: float, rx: float, ry: float) -> None:
    """Darken `picture` [height, width, 3] in place by a soft ellipse about (x, y)."""
    height, width = picture.shape[:2]
    stain = Image.new("L", (width, height))
    ImageDraw.Draw(stain).ellipse(
        (round(x - rx), round(y - ry), round(x + rx), round(y + ry)), fill=130
    )
    picture *= 1 - blur(stain, 2)[..., None]


def bounds(shape: Shape) -> tuple[Points, Points]:
    """The lower and the upper corner [2] of the box about a shape."""
    points = np.concatenate([part.outline for part in shape])
    return points.min(axis=0), points.max(axis=0)
