"""Decodes the pixels of class masks as numbers, before anything says what they mean."""

import io
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import numpy as np

from vocjax.data import photo
from vocjax.data.classes import PALETTE, VOC, VOID
from vocjax.errors import UserError

EXACT = ("PNG", "TIFF", "BMP", "GIF")  # formats that keep each value as it is
SHOWN = 5  # wrong values that a message lists
_BITS = np.array([[0, 0, 0], [255, 255, 255]])  # what one bit looks like


class Pixels(NamedTuple):
    """The pixels of a mask as numbers, and the numbers that occur in it, ascending."""

    codes: np.ndarray  # [h, w]: grey levels, indices of a palette, or 65536 R + 256 G + B
    used: np.ndarray  # int [n]
    colours: np.ndarray | None  # int [n, 3]; None for grey
    indexed: bool  # by a palette

    @property
    def levels(self) -> np.ndarray | None:
        """Return the grey levels [n]; None where a colour isn't grey."""
        if self.colours is None:
            return self.used
        return self.colours[:, 0] if (self.colours == self.colours[:, :1]).all() else None

    @property
    def distinct(self) -> bool:
        """Return whether a palette tells its indices apart."""
        if self.colours is None or not self.indexed:
            return False
        return len({*map(tuple, self.colours.tolist())}) == len(self.colours)


def decode(content: bytes, path: Path) -> Pixels:
    """Decode a class mask. Raises `UserError`, which names `path`, for a file that is no mask."""
    try:
        return _decoded(content)
    except UserError as error:
        raise UserError(f"{path}: {error}") from error


def vocs_classes(paths: Iterable[Path]) -> set[str] | None:
    """Return the classes that masks show by VOC's colours; None where one has other colours.

    Grey has no colours, unless it is background alone. Raises `UserError` for a damaged file.
    """
    shown: set[str] = set()
    colours = {tuple(colour): k for k, colour in enumerate(PALETTE[: len(VOC.names) + 1].tolist())}
    for path in paths:
        found = decode(photo.image_bytes(path), path)
        if found.colours is None:
            if found.used.any():
                return None
            continue
        if found.indexed and not found.distinct:
            return None
        void = (found.colours == PALETTE[VOID]).all(axis=1)
        void |= found.indexed & (found.used == VOID)
        indices = [colours.get(tuple(colour), -1) for colour in found.colours[~void].tolist()]
        if min(indices, default=0) < 0:
            return None
        shown |= {VOC.names[index - 1] for index in indices if index}
    return shown


def _decoded(content: bytes) -> Pixels:
    with photo.opened(io.BytesIO(content)) as picture:
        if picture.format not in EXACT:
            raise UserError(
                f"the mask is a {picture.format} file, which can change the values of pixels. Save "
                "it as PNG, from the program that drew it."
            )
        stored = photo.stored_mode(picture)
        picture.load()
        mode, palette = picture.mode, np.reshape(picture.getpalette("RGB") or [], (-1, 3))
        turned = photo.turned(picture)
        pixels = np.asarray(picture.convert("RGBA") if mode in ("LA", "PA") else picture)
    pixels = photo.upright(pixels, turned)
    if stored.startswith(("L;2", "L;4")) and pixels.any():
        raise UserError(
            "the mask is a grey image of 2 or 4 bits, whose values some programs scale to 255. "
            "Save it with 8 bits."
        )
    if mode == "1":
        return _indexed(pixels.astype(np.uint8), _BITS)
    if mode == "P":
        return _indexed(pixels, palette)
    if mode in ("RGB", "RGBA", "LA", "PA"):
        return _coloured(pixels)
    if mode != "L" and not mode.startswith("I"):
        raise UserError(
            f"the mask is an image of the mode {mode}; expected a palette, RGB or grey. Save it as "
            "a PNG of one of these."
        )
    used = np.unique(pixels).astype(int)
    if used[0] < 0 or used[-1] > 65535:
        raise UserError(f"the mask holds {listed(used)}; expected values from 0 to 255.")
    return Pixels(pixels, used, None, indexed=False)


def _indexed(indices: np.ndarray, palette: np.ndarray) -> Pixels:
    used = np.unique(indices).astype(int)
    colours = palette[used] if used[-1] < len(palette) else None
    if colours is None or (colours == used[:, None]).all():  # grey in the form of a palette
        return Pixels(indices, used, None, indexed=False)
    return Pixels(indices, used, colours, indexed=True)


def _coloured(pixels: np.ndarray) -> Pixels:
    if pixels.shape[2] == 4:
        hidden = np.argwhere((pixels[..., 3] < 255) & pixels[..., :3].any(axis=2))
        if hidden.size:
            raise UserError(
                f"the mask is partly transparent in {len(hidden)} pixels that aren't black, the "
                f"first at column {hidden[0][1]}, row {hidden[0][0]}. A pixel has one class: save "
                "the mask without transparency, and without smooth edges."
            )
    codes = pixels[..., 0].astype(np.int32) << 16 | pixels[..., 1].astype(np.int32) << 8
    codes |= pixels[..., 2]
    used = np.unique(codes).astype(int)
    return Pixels(codes, used, used[:, None] >> np.array([16, 8, 0]) & 255, indexed=False)


def listed(values: Iterable[object]) -> str:
    """Return the first values with commas between."""
    texts = list(map(str, values))
    return ", ".join(texts[:SHOWN]) + " ..." * (len(texts) > SHOWN)
