"""A drawing of a network as SVG: encoder at the left, code at the bottom, decoder at the right.

The higher a map of features, the larger it is: a skip is a line from left to right. A bar is wider
for more pixels and thicker for more channels, both on a logarithmic scale.
"""

import math
from collections.abc import Sequence
from html import escape
from typing import NamedTuple

from vocjax.reporting.shapes import Map

WIDTH, LEFT, MIDDLE, RIGHT = 352, 128, 176, 224  # pixels; the middles of the three columns
PITCH, TOP, BELOW = 25, 26, 16  # from one row to the next; above the first; below a text
WIDEST, NARROWEST = 62, 12  # bars
COLOURS = {
    "image": "#6f6f6b",
    "encoder": "#0072b2",
    "code": "#d55e00",
    "decoder": "#00805c",
    "head": "#a8447f",
    "output": "#6f6f6b",
}


class Bar(NamedTuple):
    """Where a map is drawn: its middle, width and height."""

    x: float
    y: float
    width: float
    height: float


def draw(maps: Sequence[Map], outputs: str, title: str) -> str:
    """Return the drawing of a network's maps as SVG text.

    `outputs` says what a vector at the end is, "aeroplane, dog"; `title` is the drawing's name for
    those who can't see it, with a description of all maps after it.
    """
    bars, height = _placed(maps)
    lines = [_skip(bars[1 + m.skip], bars[i]) for i, m in enumerate(maps) if m.skip is not None]
    lines += [_arrow(bars[a], bars[b]) for a, b in _pairs(maps)]
    boxes = [_box(bar, found) for bar, found in zip(bars, maps, strict=True)]
    texts = [_label(bar, found, outputs) for bar, found in zip(bars, maps, strict=True)]
    heads = _headings(maps)
    return (
        f'<svg class="network" viewBox="0 0 {WIDTH} {height:.0f}" width="{WIDTH}" '
        f'height="{height:.0f}" role="img" aria-label="{escape(described(maps, outputs, title))}">'
        f"{''.join([*lines, *boxes, *texts, *heads])}</svg>"
    )


def described(maps: Sequence[Map], outputs: str, title: str) -> str:
    """Return a network's maps in words."""
    parts: dict[str, list[str]] = {}
    for found in maps:
        text = _text(found, outputs)
        text += f" in {found.beside} branches" if found.beside > 1 else ""
        text += f" {found.times} times" if found.times > 1 else ""
        text += " with a skip" if found.skip is not None else ""
        parts.setdefault(found.part, []).append(text)
    return f"{title}: " + "; ".join(f"{part} {', '.join(of)}" for part, of in parts.items())


def _text(found: Map, outputs: str) -> str:
    text = found.size
    if found.part == "code" and len(found.shape) == 3:
        text += f" = {found.numbers:,} numbers"
    if len(found.shape) == 1:
        text += f": {outputs}" if found.part == "output" and outputs else " numbers"
    return text


def _is_left(found: Map) -> bool:
    return found.part in ("image", "encoder")


def _is_right(found: Map) -> bool:
    return found.part == "decoder" or (found.part == "output" and len(found.shape) == 3)


def _placed(maps: Sequence[Map]) -> tuple[list[Bar], float]:
    """Place the maps: those of one size are in one row, or in rows next to each other."""
    places: dict[int, float] = {}
    y = float(TOP)
    wide = [i for i, found in enumerate(maps) if _is_left(found) or _is_right(found)]
    for side in sorted({maps[i].shape[0] for i in wide}, reverse=True):
        of_side = [i for i in wide if maps[i].shape[0] == side]
        left = [i for i in of_side if _is_left(maps[i])]
        right = [i for i in of_side if _is_right(maps[i])][::-1]  # it goes up
        rows = max(len(left), len(right))
        for column in (left, right):
            # The last ones are next to each other: a skip joins them. An image is above.
            for row, i in enumerate(column, start=rows - len(column)):
                places[i] = y + PITCH * row
            if column and maps[column[0]].part in ("image", "output"):
                places[column[0]] = y
        y += PITCH * rows
    y += 4
    for i in range(len(maps)):
        if i not in places:
            places[i] = y
            y += PITCH + BELOW
    largest = max(maps[i].shape[0] for i in wide)
    columns = [LEFT if _is_left(m) else RIGHT if _is_right(m) else MIDDLE for m in maps]
    bars = [Bar(columns[i], places[i], *_sized(m, largest)) for i, m in enumerate(maps)]
    return bars, y


def _sized(found: Map, largest: int) -> tuple[float, float]:
    """Width and height of a map's bar."""
    if len(found.shape) == 1:
        return NARROWEST + 5 * math.log2(found.shape[0]), 6
    share = math.log2(found.shape[0] + 1) / math.log2(largest + 1)
    width = NARROWEST + (WIDEST - NARROWEST) * share
    return width, 4 + 1.2 * math.log2(found.shape[-1])


def _pairs(maps: Sequence[Map]) -> list[tuple[int, int]]:
    """From which map to which the computation goes, but for the skips."""
    code = next(i for i, found in enumerate(maps) if found.part == "code")
    pairs = [(i, i + 1) for i in range(code)]
    last = code
    for i in range(code + 1, len(maps)):
        # A joint network has a decoder besides its head: it begins at the code again.
        begins = _is_right(maps[i]) and not _is_right(maps[i - 1])
        pairs.append((code if begins else last, i))
        last = i
    return pairs


def _box(bar: Bar, found: Map) -> str:
    """A bar, or several where modules are next to each other."""
    gap = 2 if found.beside > 1 else 0
    width = (bar.width - gap * (found.beside - 1)) / found.beside
    left = bar.x - bar.width / 2
    colour = COLOURS[found.part]
    return "".join(
        f'<rect x="{left + i * (width + gap):.1f}" y="{bar.y - bar.height / 2:.1f}" '
        f'width="{width:.1f}" height="{bar.height:.1f}" rx="1.5" fill="{colour}"/>'
        for i in range(found.beside)
    )


def _label(bar: Bar, found: Map, outputs: str) -> str:
    """A map's size, beside its bar or, in the middle, below it."""
    text, count = _text(found, outputs), found.times * found.beside
    text += f" ({count}\N{MULTIPLICATION SIGN})" if count > 1 else ""
    if _is_left(found):
        return _written(LEFT - WIDEST / 2 - 6, bar.y + 4, text, "end")
    if _is_right(found):
        return _written(RIGHT + WIDEST / 2 + 6, bar.y + 4, text, "start")
    before = f"{found.part} " if found.part == "code" else ""
    return _written(MIDDLE, bar.y + bar.height / 2 + 13, before + text, "middle")


def _written(x: float, y: float, text: str, anchor: str, colour: str = "#1d1d1b") -> str:
    style = f'text-anchor="{anchor}" fill="{colour}"'
    return f'<text x="{x:.0f}" y="{y:.1f}" {style}>{escape(text)}</text>'


def _headings(maps: Sequence[Map]) -> list[str]:
    parts = {found.part for found in maps}
    right = "decoder" if "decoder" in parts else ""
    columns = ((LEFT, "encoder" if "encoder" in parts else ""), (RIGHT, right))
    return [_written(x, 11, text, "middle", COLOURS[text]) for x, text in columns if text]


def _arrow(start: Bar, end: Bar) -> str:
    """A line between the edges of two bars, with its tip at the second."""
    down = end.y > start.y
    if down and start.x == MIDDLE:  # from below the label
        start = start._replace(y=start.y + BELOW / 2, height=start.height + BELOW)
    sign = 1 if down else -1
    y1, y2 = start.y + sign * start.height / 2, end.y - sign * end.height / 2
    x1, x2 = start.x, end.x
    if abs(y2 - y1) < 1 or (y2 > y1) != down:  # beside each other
        y1, y2 = start.y, end.y
        x1 += math.copysign(start.width / 2, end.x - start.x)
        x2 -= math.copysign(end.width / 2, end.x - start.x)
    return _line(x1, y1, x2, y2, "#8a8a85", "")


def _skip(start: Bar, end: Bar) -> str:
    x1, x2 = start.x + start.width / 2, end.x - end.width / 2
    return _line(x1, start.y, x2, end.y, COLOURS["code"], ' stroke-dasharray="4 2.5"')


def _line(x1: float, y1: float, x2: float, y2: float, colour: str, dashes: str) -> str:
    angle = math.atan2(y2 - y1, x2 - x1)
    points = [(x2, y2)]
    points += [(x2 - 4 * math.cos(angle + t), y2 - 4 * math.sin(angle + t)) for t in (0.5, -0.5)]
    tip = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    return (
        f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{colour}" '
        f'stroke-width="1.2"{dashes}/><polygon points="{tip}" fill="{colour}"/>'
    )
