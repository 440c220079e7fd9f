"""From shapes to pixels: noise, and shapes laid over a picture with light on them.

What pixels go through is basic arithmetic and the resampling of 8-bit images, and coordinates are
rounded to whole sub-pixels: a seed gives the same bytes whatever the machine's sine and cosine.
"""

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

from vocjax.data.toy.colours import Random
from vocjax.data.toy.parts import Shape

Picture = NDArray[np.float64]  # [height, width, 3], RGB on a scale of 0 to 255
Field = NDArray[np.float64]  # [height, width]

SUBPIXELS = 3  # per pixel and axis, for antialiasing


def noise(rng: Random, height: int, width: int, cell: tuple[float, float]) -> Field:
    """Smooth noise in [-1, 1] whose grains are `cell` = (high, wide) pixels large."""
    rows, columns = int(height / cell[0]) + 3, int(width / cell[1]) + 3
    grid = Image.fromarray(rng.integers(0, 256, (rows, columns), dtype=np.uint8))
    region = (1.0, 1.0, 1.0 + width / cell[1], 1.0 + height / cell[0])
    smooth = grid.resize((width, height), Image.Resampling.BICUBIC, box=region)
    return np.asarray(smooth, np.float64) / 127.5 - 1


def fractal(rng: Random, height: int, width: int, cell: float) -> Field:
    """Noise, about in [-1, 1], with grains of `cell`, `cell` / 2 and `cell` / 4 pixels."""
    coarse, middle, fine = (noise(rng, height, width, (cell / k, cell / k)) / k for k in (1, 2, 4))
    return (coarse + middle + fine) / 1.4


def lay(
    picture: Picture, shape: Shape, rng: Random, light: float, texture: Field
) -> NDArray[np.bool_]:
    """Lay a shape, given in pixels (y downwards), over `picture`, in place.

    Every part stands out a little, by a random height, and is shaded accordingly: `light` says
    where from, -1 (left) to 1 (right). `texture` multiplies the colours. Returns [height, width]:
    where the shape covers most of a pixel.
    """
    height, width, _ = picture.shape
    size = (width * SUBPIXELS, height * SUBPIXELS)
    colours, relief = Image.new("RGB", size), Image.new("L", size)
    brush, chisel = ImageDraw.Draw(colours), ImageDraw.Draw(relief)
    for colour, outline in shape:
        corners = np.rint(outline * SUBPIXELS).astype(int).ravel().tolist()
        red, green, blue = np.clip(colour, 0, 255).astype(int).tolist()
        brush.polygon(corners, fill=(red, green, blue))
        chisel.polygon(corners, fill=int(rng.integers(110, 256)))
    layer = np.asarray(colours.reduce(SUBPIXELS), np.float64)  # black where empty: alpha is in it
    alpha = np.asarray(relief.point([0] + [255] * 255).reduce(SUBPIXELS), np.float64) / 255
    low = relief.reduce(SUBPIXELS)
    fine, coarse = _blur(low, 1), _blur(low, 4)
    down, right = np.gradient(fine + 1.5 * coarse)
    shade = (0.82 + 0.3 * coarse + 0.9 * (down - light * right)) * texture
    picture *= 1 - alpha[..., None]
    picture += layer * np.clip(shade, 0.3, 1.7)[..., None]
    return alpha > 0.5


def cast_shadow(picture: Picture, x: float, y: float, rx: float, ry: float) -> None:
    """Darken `picture`, in place, by a soft ellipse about (x, y)."""
    height, width, _ = picture.shape
    stain = Image.new("L", (width, height))
    ImageDraw.Draw(stain).ellipse((round(x - rx), round(y - ry), round(x + rx), round(y + ry)), 130)
    picture *= 1 - _blur(stain, 2)[..., None]


def _blur(grey: Image.Image, radius: float) -> Field:
    return np.asarray(grey.filter(ImageFilter.BoxBlur(radius)), np.float64) / 255
