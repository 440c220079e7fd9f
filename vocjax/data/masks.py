"""Reads class masks in the forms that people have them in, and turns and writes them.

A mask becomes the indices of its data set's classes: 0 background, k + 1 class k, 255 void. What a
file means is read from its values or from its colours where only one of the two makes sense, and
asked where neither or both do; no pixel changes its class in silence.
"""

import io
import operator
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from vocjax.data import photo
from vocjax.data.classes import PALETTE, VOID, Classes
from vocjax.errors import UserError, check_choice

EXACT = ("PNG", "TIFF", "BMP", "GIF")  # formats that keep each value as it is
SHOWN = 5  # wrong values that a message lists
SMOOTH = 8  # wrong values from which on a mask was likely compressed or scaled smoothly
_BITS = np.array([[0, 0, 0], [255, 255, 255]])  # what one bit looks like


class _Pixels(NamedTuple):
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


class Fitted(NamedTuple):
    """A mask that has the size of its image."""

    mask: np.ndarray  # uint8 [h, w]
    scaled: bool  # the file is larger or smaller
    either: bool  # it fits the image as shown and as stored, and the two differ


def read_mask(
    content: bytes, path: Path, classes: Classes, values: Mapping[int, int]
) -> np.ndarray:
    """Decode a class mask to the indices of `classes`, uint8 [height, width], upright.

    `values`, value in the file -> index, is what the user said. Empty, it is read from the file: a
    palette by its indices, or by its colours if they are the data set's in another order; RGB by
    colour; grey by its values. Raises `UserError`, which names `path`, for a damaged file, and for
    a value or colour whose meaning isn't sure.
    """
    try:
        found = _decode(content)
        table = np.zeros(int(found.used[-1]) + 1, np.uint8)
        table[found.used] = _stated(found, values) if values else _meaning(found, classes)
    except UserError as error:
        raise UserError(f"{path}: {error}") from error
    return table[found.codes]


def fit_mask(mask: np.ndarray, size: tuple[int, int], orientation: int) -> Fitted:
    """Return a mask [h, w] in the (height, width) `size` of its upright image.

    It is taken as the image is shown; else as this is stored, with this EXIF `orientation`, and
    turned with it. One of the same proportions, within a pixel, is scaled by the nearest pixel.
    Raises `ValueError` for any other size.
    """
    shown, stored = mask, photo.upright(mask, orientation)
    for fits in (operator.eq, _similar):
        found = [reading for reading in (shown, stored) if fits(reading.shape, size)]
        if found:
            either = len(found) == 2 and not np.array_equal(shown, stored)
            if fits is operator.eq:
                return Fitted(found[0], scaled=False, either=either)
            picture = Image.fromarray(found[0]).resize(size[::-1], Image.Resampling.NEAREST)
            return Fitted(np.asarray(picture), scaled=True, either=either)
    raise ValueError(f"the mask is {mask.shape}, and its image {size}")


def _similar(shape: tuple[int, int], size: tuple[int, int]) -> bool:
    share = min(size[0] / shape[0], size[1] / shape[1])
    return all(abs(a * share - b) < 1 for a, b in zip(shape, size, strict=True))


def encode_mask(mask: np.ndarray) -> bytes:
    """Encode indices, uint8 [height, width], as a single-channel PNG."""
    file = io.BytesIO()
    Image.fromarray(mask).save(file, "PNG")
    return file.getvalue()


def parse_values(text: str, classes: Classes) -> dict[int, int]:
    """Read what `--mask_values` says, such as "0=background,255=cat": value in a mask -> index.

    On the right stands a name, of a class, background or void, or an index. Raises `UserError`.
    """
    names = {"background": 0, "void": VOID} | {n: k for k, n in enumerate(classes.names, 1)}
    meanings = {str(k): k for k in names.values()} | names
    values: dict[int, int] = {}
    for part in text.split(","):
        value, _, meaning = (piece.strip() for piece in part.partition("="))
        if not (value.isascii() and value.isdigit() and meaning):
            raise UserError(
                f"--mask_values has {part!r}; expected a value in the masks and what it means, as "
                "in 0=background,255=void, with commas between."
            )
        if meaning not in meanings:
            check_choice(f"--mask_values: the meaning of {value}", meaning, names)
        if values.setdefault(int(value), meanings[meaning]) != meanings[meaning]:
            raise UserError(f"--mask_values gives {value} two meanings; keep one of them.")
    return values


def _decode(content: bytes) -> _Pixels:
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
        raise UserError(f"the mask holds {_list(used)}; expected values from 0 to 255.")
    return _Pixels(pixels, used, None, indexed=False)


def _indexed(indices: np.ndarray, palette: np.ndarray) -> _Pixels:
    used = np.unique(indices).astype(int)
    colours = palette[used] if used[-1] < len(palette) else None
    if colours is None or (colours == used[:, None]).all():  # grey in the form of a palette
        return _Pixels(indices, used, None, indexed=False)
    return _Pixels(indices, used, colours, indexed=True)


def _coloured(pixels: np.ndarray) -> _Pixels:
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
    return _Pixels(codes, used, used[:, None] >> np.array([16, 8, 0]) & 255, indexed=False)


def _stated(found: _Pixels, values: Mapping[int, int]) -> np.ndarray:
    """Return the indices that `values` gives: to grey levels, or to the indices of a palette."""
    readings = [] if found.levels is None else [found.levels.tolist()]
    if found.indexed:
        readings.append(found.used.tolist())
    meanings = {tuple(map(values.__getitem__, r)) for r in readings if values.keys() >= {*r}}
    if len(meanings) == 1:
        return np.array(meanings.pop())
    if meanings:
        raise UserError(
            f"the mask has a palette in which the indices {_list(readings[1])} look like the grey "
            f"levels {_list(readings[0])}, and --mask_values gives both a meaning. Save it in grey."
        )
    if not readings:
        raise UserError(
            "the mask is in colours, and --mask_values gives a meaning to grey levels. Leave that "
            "out where colours say the class, or save the mask in grey."
        )
    wrong = [value for value in readings[0] if value not in values]
    raise UserError(
        f"the mask holds {_list(wrong)}, and --mask_values lists {_list(values)} alone. Say "
        f"what each value of the masks means.{_hint(wrong)}"
    )


def _meaning(found: _Pixels, classes: Classes) -> np.ndarray:
    """Return the indices that the values or colours of a mask mean by themselves."""
    if found.colours is None:
        return _by_value(found.used, classes)
    own = [(k, classes.palette[k]) for k in (VOID, *range(len(classes.names), -1, -1))]
    index = {tuple(colour.tolist()): k for k, colour in [(VOID, PALETTE[VOID]), *own]}
    known = np.array([index.get(tuple(colour), -1) for colour in found.colours.tolist()])
    if found.indexed:
        return _by_palette(found, known, classes)
    if (known >= 0).all():
        return known
    if found.levels is not None:
        return _by_value(found.levels, classes)
    raise UserError(_unknown_colour(found, known, classes))


def _by_value(used: np.ndarray, classes: Classes, drawn: bool = False) -> np.ndarray:
    """Return values that are indices; `drawn` says that 255 has the colour of void."""
    last = len(classes.names)
    wrong = used[(used > last) & (used != VOID)].tolist()
    if wrong:
        raise UserError(
            f"the mask holds {_list(wrong)}; expected 0 for background, "
            + " to ".join(f"{k} for {_name(k, classes)}" for k in sorted({1, last}) if last)
            + ", " * (last > 0)
            + "and 255 for void. If other values stand for classes, say which: "
            + f"{_advice(wrong[0], classes)}.{_hint(wrong)}"
        )
    if used[-1] == VOID and not drawn and not ((used > 0) & (used < VOID)).any():
        raise UserError(
            f"the mask holds {_list(used)} and no index of a class; 255 would be void, which "
            f"counts for nothing. Say which class it is, {_advice(VOID, classes)}, or that it is "
            "void, 255=void, together with every other value of your masks."
        )
    return used


def _by_palette(found: _Pixels, known: np.ndarray, classes: Classes) -> np.ndarray:
    used, colours = found.used, found.colours
    assert colours is not None
    white = (colours == 255).all(axis=1)
    if (known < 0).any() and (white | ~colours.any(axis=1)).all():  # one bit a pixel
        if len(classes.names) != 1:
            raise UserError(
                f"the mask is black and white alone, and the data set has {len(classes.names)} "
                f"classes. Say which one is white: {_advice(255, classes)}."
            )
        return white.astype(int)
    same = (known == used) | (colours == classes.palette[used]).all(axis=1)
    distinct = len({*map(tuple, colours.tolist())}) == len(colours)
    if (same | (known < 0)).all() or not distinct:
        return _by_value(used, classes, drawn=bool(same[-1]))
    if (known >= 0).all():
        return known
    moved = int(np.flatnonzero(~same & (known >= 0))[0])
    raise UserError(
        f"the palette of the mask gives index {used[moved]} the colour "
        f"{tuple(colours[moved].tolist())} of {_name(int(known[moved]), classes)}, whose index is "
        f"{known[moved]}, and index {_list(used[known < 0])} the colour "
        f"{_list(map(tuple, colours[known < 0].tolist()))} of no class. Save the mask in grey with "
        "the indices of classes, or in RGB with their colours."
    )


def _unknown_colour(found: _Pixels, known: np.ndarray, classes: Classes) -> str:
    assert found.colours is not None
    wrong = found.colours[known < 0]
    places = np.argwhere(found.codes == found.used[known < 0][0])
    indices = np.array([*range(len(classes.names) + 1), VOID])
    away = ((classes.palette[indices].astype(int) - wrong[0]) ** 2).sum(axis=1)
    nearest = int(indices[away.argmin()])
    return (
        f"the mask has colours of no class, {_list(map(tuple, wrong.tolist()))}; "
        f"the first is in {len(places)} pixels, at column {places[0][1]}, row {places[0][0]}, and "
        f"nearest to {_name(nearest, classes)} {tuple(classes.palette[nearest].tolist())}. Draw "
        f"it in colours of the data set, or save indices of classes in grey.{_hint(wrong)}"
    )


def _hint(wrong: np.ndarray | list[int]) -> str:
    if len(wrong) < SMOOTH:
        return ""
    return (
        f" {len(wrong)} such values come from JPEG, smooth edges or smooth scaling, or from "
        "numbered objects: save classes as PNG, and scale by the nearest pixel."
    )


def _advice(value: int, classes: Classes) -> str:
    return f"--mask_values 0=background,{value}={(*classes.names, 'void')[0]}"


def _name(index: int, classes: Classes) -> str:
    return {0: "background", VOID: "void"}.get(index) or classes.names[index - 1]


def _list(values: Iterable[object]) -> str:
    texts = list(map(str, values))
    return ", ".join(texts[:SHOWN]) + " ..." * (len(texts) > SHOWN)
