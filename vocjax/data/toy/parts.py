"""Coloured outlines, from which everything in a toy scene is put together.

A shape is a list of parts in a plane of its own, x to the right and y upwards, at any scale; parts
that come later cover those before. Angles are in radians, colours RGB on a scale of 0 to 255.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from vocjax.data.toy.colours import Colour

Point = tuple[float, float]
Points = NDArray[np.float64]  # [points, 2] as (x, y)


class Part(NamedTuple):
    """One filled polygon."""

    colour: Colour
    outline: Points


Shape = list[Part]


def polygon(colour: Colour, *points: Point) -> Part:
    """A polygon with the given corners."""
    return Part(colour, np.array(points, np.float64))


def box(colour: Colour, left: float, bottom: float, right: float, top: float) -> Part:
    """An upright rectangle."""
    return polygon(colour, (left, bottom), (right, bottom), (right, top), (left, top))


def curve(colour: Colour, *points: Point) -> Part:
    """A smooth outline near the given corners; a corner named twice pulls it nearer.

    Two rounds of corner cutting (Chaikin, "An algorithm for high-speed curve generation", 1974).
    """
    outline = np.array(points, np.float64)
    for _ in range(2):
        following = np.roll(outline, -1, axis=0)
        cut = (0.75 * outline + 0.25 * following, 0.25 * outline + 0.75 * following)
        outline = np.stack(cut, axis=1).reshape(-1, 2)
    return Part(colour, outline)


def ellipse(
    colour: Colour, x: float, y: float, rx: float, ry: float | None = None, tilt: float = 0.0
) -> Part:
    """An ellipse about (x, y), its axis `rx` turned by `tilt`; a circle without `ry`."""
    angle = np.arange(28) * (2 * np.pi / 28)
    round_ = np.stack([rx * np.cos(angle), (ry or rx) * np.sin(angle)], axis=1)
    return Part(colour, _rotate(round_, tilt) + np.array([x, y]))


def ring(colour: Colour, x: float, y: float, radius: float, width: float) -> Part:
    """A ring, `radius` at its outside: its outline goes round outside, then back inside."""
    outer, inner = (ellipse(colour, x, y, r).outline for r in (radius, radius - width))
    return Part(colour, np.concatenate([outer, outer[:1], inner[:1], inner[::-1]]))


def limb(colour: Colour, *points: Point, width: float, end: float | None = None) -> Part:
    """A rounded stroke through the points, `width` wide at first and `end` at last."""
    path = np.array(points, np.float64)
    along = np.gradient(path, axis=0)
    along /= np.sqrt((along**2).sum(axis=1, keepdims=True))
    half = np.linspace(width, width if end is None else end, len(path))[:, None] / 2
    across = half * np.stack([-along[:, 1], along[:, 0]], axis=1)
    first, last = path[:1] - 0.7 * half[:1] * along[:1], path[-1:] + 0.7 * half[-1:] * along[-1:]
    left = [first + 0.6 * across[:1], path + across, last + 0.6 * across[-1:]]
    right = [last - 0.6 * across[-1:], (path - across)[::-1], first - 0.6 * across[:1]]
    return Part(colour, np.concatenate(left + right))


def within(corners: Sequence[Point], u: float, v: float) -> Point:
    """Point (u, v) of the unit square that is spread over a quadrilateral.

    Its corners are those of (0, 0), (1, 0), (1, 1) and (0, 1), linear in between.
    """
    weights = ((1 - u) * (1 - v), u * (1 - v), u * v, (1 - u) * v)
    x, y = (
        sum(w * corner[axis] for w, corner in zip(weights, corners, strict=True)) for axis in (0, 1)
    )
    return x, y


def panel(
    colour: Colour,
    corners: Sequence[Point],
    u: tuple[float, float] = (0, 1),
    v: tuple[float, float] = (0, 1),
) -> Part:
    """The part of a quadrilateral between u[0] and u[1], v[0] and v[1], as `within` has them."""
    square = ((u[0], v[0]), (u[1], v[0]), (u[1], v[1]), (u[0], v[1]))
    return polygon(colour, *(within(corners, *at) for at in square))


def place(shape: Shape, x: float, y: float, size: float = 1.0, angle: float = 0.0) -> Shape:
    """The shape turned by `angle`, then scaled by `size`, then moved by (x, y)."""
    offset = np.array([x, y])
    return [Part(colour, _rotate(outline, angle) * size + offset) for colour, outline in shape]


def bounds(shape: Shape) -> tuple[Points, Points]:
    """The lower and the upper corner, [2] each, of the box about a shape."""
    points = np.concatenate([part.outline for part in shape])
    return points.min(axis=0), points.max(axis=0)


def _rotate(points: Points, angle: float) -> Points:
    cos, sin = np.cos(angle), np.sin(angle)
    x, y = points[:, 0], points[:, 1]
    return np.stack([x * cos - y * sin, x * sin + y * cos], axis=1)
