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
from vocjax.data.mask_pixels import Pixels, decode, listed
from vocjax.errors import UserError, check_choice

SMOOTH = 8  # wrong values from which on a mask was likely compressed or scaled smoothly


Colour = tuple[int, ...]  # R, G and B


class Mask(NamedTuple):
    """A mask as indices of classes, uint8 [h, w], upright.

    `colours` is index -> RGB where a palette was read by its indices, void left out: another file
    should not give an index another colour.
    """

    indices: np.ndarray
    colours: Mapping[int, Colour]


class Fitted(NamedTuple):
    """A mask that has the size of its image."""

    mask: np.ndarray  # uint8 [h, w]
    scaled: bool  # the file is larger or smaller
    either: bool  # it fits the image as shown and as stored, and the two differ


def read_mask(content: bytes, path: Path, classes: Classes, values: Mapping[int, int]) -> Mask:
    """Decode a class mask to the indices of `classes`.

    `values`, value in the file -> index, is what the user said. Empty, it is read from the file: a
    palette by its indices, or by its colours if they are the data set's in another order; RGB by
    colour; grey by its values, or by the grey colours that a label map states. Raises `UserError`,
    which names `path`, for a damaged file, and for a value or colour whose meaning isn't sure.
    """
    found = decode(content, path)
    try:
        meaning = _stated(found, values) if values else _meaning(found, classes)
    except UserError as error:
        raise UserError(f"{path}: {error}") from error
    table = np.zeros(int(found.used[-1]) + 1, np.uint8)
    table[found.used] = meaning
    colours = dict[int, Colour]()
    if found.distinct and not values and (meaning == found.used).all():
        assert found.colours is not None
        colours = dict(zip(found.used.tolist(), map(tuple, found.colours.tolist()), strict=True))
        colours.pop(VOID, None)
    return Mask(table[found.codes], colours)


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


def stated_names(text: str) -> list[str]:
    """Return the names on the right in `--mask_values`, each once, in their order."""
    meanings = [part.partition("=")[2].strip() for part in text.split(",")]
    fixed = ("", "background", "void")
    return [m for m in dict.fromkeys(meanings) if m not in fixed and not m.isdecimal()]


def _stated(found: Pixels, values: Mapping[int, int]) -> np.ndarray:
    """Return the indices that `values` gives: to grey levels, or to the indices of a palette."""
    readings = [] if found.levels is None else [found.levels.tolist()]
    if found.indexed:
        readings.append(found.used.tolist())
    meanings = {tuple(map(values.__getitem__, r)) for r in readings if values.keys() >= {*r}}
    if len(meanings) == 1:
        return np.array(meanings.pop())
    if meanings:
        raise UserError(
            f"the mask has a palette in which the indices {listed(readings[1])} look like the "
            f"grey levels {listed(readings[0])}, and --mask_values gives both a meaning. Save it "
            "in grey."
        )
    if not readings:
        raise UserError(
            "the mask is in colours, and --mask_values gives a meaning to grey levels. Leave that "
            "out where colours say the class, or save the mask in grey."
        )
    wrong = [value for value in readings[0] if value not in values]
    raise UserError(
        f"the mask holds {listed(wrong)}, and --mask_values lists {listed(values)} alone. Say "
        f"what each value of the masks means.{_hint(wrong)}"
    )


def _meaning(found: Pixels, classes: Classes) -> np.ndarray:
    """Return the indices that the values or colours of a mask mean by themselves."""
    if found.colours is None:
        return _by_level(found.used, classes)
    index = _colours(classes)
    known = np.array([index.get(tuple(colour), -1) for colour in found.colours.tolist()])
    if found.indexed:
        return _by_palette(found, known, classes)
    if (known >= 0).all():
        return known
    if found.levels is not None:
        return _by_level(found.levels, classes)
    raise UserError(_unknown_colour(found, known, classes))


def _colours(classes: Classes) -> dict[Colour, int]:
    """Return colour -> index; void has VOC's colour beside its own."""
    own = [(k, classes.palette[k]) for k in (VOID, *range(len(classes.names), -1, -1))]
    return {tuple(colour.tolist()): k for k, colour in [(VOID, PALETTE[VOID]), *own]}


def _by_level(levels: np.ndarray, classes: Classes) -> np.ndarray:
    """Return the indices of grey levels: by stated grey colours if all are such, else as they are.

    Raises `UserError` where a label map leaves open which of the two they are.
    """
    greys = {c[0]: k for c, k in _colours(classes).items() if len({*c}) == 1 and classes.stated}
    if {*levels.tolist()} <= greys.keys():
        return np.array([greys[level] for level in levels.tolist()])
    indices = (*range(len(classes.names) + 1), VOID)
    if not classes.ordered or any(c != k and c in indices for c, k in greys.items()):
        raise UserError(
            f"the mask holds {listed(levels)} in grey, and its label map leaves open whether these "
            "are colours or indices, and of which class. Save the mask in the colours of the label "
            "map, or replace that by classes.txt, with the classes in the order of their indices."
        )
    return _by_value(levels, classes)


def _by_value(used: np.ndarray, classes: Classes, drawn: bool = False) -> np.ndarray:
    """Return values that are indices; `drawn` says that 255 has the colour of void."""
    last = len(classes.names)
    wrong = used[(used > last) & (used != VOID)].tolist()
    if wrong:
        sure = {k: _name(k, classes) for k in used.tolist() if k and k not in wrong}
        raise UserError(
            f"the mask holds {listed(wrong)}; expected 0 for background, "
            + " to ".join(f"{k} for {_name(k, classes)}" for k in sorted({1, last}) if last)
            + ", " * (last > 0)
            + "and 255 for void. If other values stand for classes, say what every value of your "
            + f"masks means, as in {_advice(wrong, classes, sure)}.{_hint(wrong)}"
        )
    if used[-1] == VOID and not drawn and not ((used > 0) & (used < VOID)).any():
        raise UserError(
            f"the mask holds {listed(used)} and no index of a class; 255 would be void, which "
            f"counts for nothing. Say which class it is, {_advice([VOID], classes, {})}, or that "
            "it is void, 255=void, together with every other value of your masks."
        )
    return used


def _by_palette(found: Pixels, known: np.ndarray, classes: Classes) -> np.ndarray:
    used, colours = found.used, found.colours
    assert colours is not None
    white = (colours == 255).all(axis=1)
    if (known < 0).any() and (white | ~colours.any(axis=1)).all():  # one bit a pixel
        if len(classes.names) != 1:
            raise UserError(
                f"the mask is black and white alone, and the data set has {len(classes.names)} "
                f"classes. Say which one is white: {_advice([VOID], classes, {})}."
            )
        return white.astype(int)
    if not found.distinct:
        return _by_level(used, classes)
    if classes.stated and (wrong := (known < 0) & (used != VOID)).any():
        raise UserError(_unknown_colour(found, np.where(wrong, -1, 0), classes))
    same = (known == used) | (colours == classes.palette[used]).all(axis=1)
    if (same | (known < 0)).all():
        return _by_value(used, classes, drawn=bool(same[-1]))
    if (known >= 0).all():
        return known
    moved = int(np.flatnonzero(~same & (known >= 0))[0])
    raise UserError(
        f"the palette of the mask gives index {used[moved]} the colour "
        f"{tuple(colours[moved].tolist())} of {_name(int(known[moved]), classes)}, whose index is "
        f"{known[moved]}, and index {listed(used[known < 0])} the colour "
        f"{listed(map(tuple, colours[known < 0].tolist()))} of no class. Save the mask in grey "
        "with the indices of classes, or in RGB with their colours."
    )


def _unknown_colour(found: Pixels, known: np.ndarray, classes: Classes) -> str:
    assert found.colours is not None
    wrong = found.colours[known < 0]
    places = np.argwhere(found.codes == found.used[known < 0][0])
    indices = np.array([*range(len(classes.names) + 1), VOID])
    away = ((classes.palette[indices].astype(int) - wrong[0]) ** 2).sum(axis=1)
    nearest = int(indices[away.argmin()])
    return (
        f"the mask has colours of no class, {listed(map(tuple, wrong.tolist()))}; "
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


def _advice(values: Iterable[int], classes: Classes, fixed: Mapping[int, str]) -> str:
    """Return a flag with a meaning for each value: `fixed` ones, then classes that are left."""
    meanings = {0: "background", **fixed}
    free = [name for name in classes.names if name not in fixed.values()]
    for value in values:
        if value not in meanings:
            meanings[value] = free.pop(0) if free else "void"
    said = [f"{value}={meaning}" for value, meaning in sorted(meanings.items())]
    return f"--mask_values {','.join(said[:SMOOTH])}"


def _name(index: int, classes: Classes) -> str:
    return {0: "background", VOID: "void"}.get(index) or classes.names[index - 1]
