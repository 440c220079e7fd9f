"""What the toy devkit's objects are made of: coloured outlines, and the parts that several classes share.

A shape lies in a plane of its own, x to the right and y upwards, at any scale; parts that come later cover
those before. Angles are in radians, colours RGB on a scale of 0 to 255.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Points = NDArray[np.float64]
Colour = NDArray[np.float64]
Random = np.random.Generator


class Part(NamedTuple):
    """One filled polygon: `outline` [points, 2] as (x, y), `colour` [3] RGB on a scale of 0 to 255."""

    outline: Points
    colour: Colour


Shape = list[Part]

DARK, PALE, GLASS = (
    np.array([34.0, 33, 36]),
    np.array([226.0, 224, 218]),
    np.array([88.0, 112, 132]),
)


# Outlines


def polygon(*points: tuple[float, float]) -> Points:
    """Outline [points, 2] through the given corners."""
    return np.array(points, np.float64)


def box(left: float, bottom: float, right: float, top: float) -> Points:
    """Outline [4, 2] of an upright rectangle."""
    return polygon((left, bottom), (right, bottom), (right, top), (left, top))


def curve(*points: tuple[float, float]) -> Points:
    """Smooth closed outline near the given corners: two rounds of Chaikin's corner cutting (1974)."""
    outline = polygon(*points)
    for _ in range(2):
        following = np.roll(outline, -1, axis=0)
        cut = (0.75 * outline + 0.25 * following, 0.25 * outline + 0.75 * following)
        outline = np.stack(cut, axis=1).reshape(-1, 2)
    return outline


def ellipse(x: float, y: float, rx: float, ry: float | None = None, tilt: float = 0.0) -> Points:
    """Outline [28, 2] of an ellipse about (x, y), a circle without `ry`; `tilt` in radians."""
    angle = np.arange(28) * (2 * np.pi / 28)
    circle = np.stack([rx * np.cos(angle), (ry or rx) * np.sin(angle)], axis=1)
    return rotate(circle, tilt) + (x, y)


def ring(x: float, y: float, radius: float, width: float) -> Points:
    """Outline of a ring `width` thick inside `radius`: there along the outside, back along the inside."""
    outer, inner = ellipse(x, y, radius), ellipse(x, y, radius - width)
    return np.concatenate([outer, outer[:1], inner[:1], inner[::-1]])


def limb(*points: tuple[float, float], width: float, end: float | None = None) -> Points:
    """Outline of a rounded stroke through the points, `width` wide at first and `end` at last."""
    path = polygon(*points)
    along = np.gradient(path, axis=0)
    along /= np.sqrt((along**2).sum(axis=1, keepdims=True))
    half = np.linspace(width, width if end is None else end, len(path))[:, None] / 2
    across = half * np.stack([-along[:, 1], along[:, 0]], axis=1)
    first, last = path[:1] - 0.7 * half[0] * along[:1], path[-1:] + 0.7 * half[-1] * along[-1:]
    start, stop = 0.6 * across[:1], 0.6 * across[-1:]
    left = [first + start, path + across, last + stop]
    right = [last - stop, (path - across)[::-1], first - start]
    return np.concatenate(left + right)


def rotate(points: Points, angle: float) -> Points:
    """Points [n, 2] turned about the origin by `angle` in radians, anticlockwise."""
    cos, sin = np.cos(angle), np.sin(angle)
    x, y = points[:, 0], points[:, 1]
    return np.stack([x * cos - y * sin, x * sin + y * cos], axis=1)


def panel(corners: Points, u: Sequence[float], v: Sequence[float]) -> Points:
    """Rectangle (u[0], v[0]) to (u[1], v[1]) of a quadrilateral's own unit square.

    `corners` [4, 2]: at (0, 0), (1, 0), (1, 1) and (0, 1); the inside is interpolated linearly.
    """
    a, b, c, d = corners
    square = [(u[0], v[0]), (u[1], v[0]), (u[1], v[1]), (u[0], v[1])]
    at = [(1 - s) * ((1 - t) * a + t * d) + s * ((1 - t) * b + t * c) for s, t in square]
    return np.stack(at)


def place(shape: Shape, x: float, y: float, size: float = 1.0, angle: float = 0.0) -> Shape:
    """The shape turned by `angle` (radians), then scaled by `size`, then moved by (x, y)."""
    return [Part(rotate(outline, angle) * size + (x, y), colour) for outline, colour in shape]


# Colours


def tone(colour: Colour, factor: float) -> Colour:
    """The colour darker (`factor` below 1) or lighter."""
    return np.clip(colour * factor + (8 if factor > 1 else 0), 0, 255)


def paint(rng: Random) -> Colour:
    """A colour of things people make: any hue, vivid or dull, dark or light."""
    hue = rng.uniform(0, 255, 3)
    grey = rng.uniform(40, 235)
    return grey + rng.uniform(0.05, 0.7) * (hue - hue.mean())


def coat(rng: Random) -> Colour:
    """A colour of fur, hide or feathers."""
    coats = [
        (150, 104, 62),
        (92, 62, 42),
        (52, 47, 46),
        (222, 214, 200),
        (196, 152, 98),
        (132, 128, 126),
    ]
    return (
        np.array(coats[rng.integers(len(coats))])
        * rng.uniform(0.75, 1.15)
        * rng.uniform(0.94, 1.06, 3)
    )


def skin(rng: Random) -> Colour:
    """A colour of human skin."""
    return np.array([238.0, 196, 168]) * rng.uniform(0.42, 1.02)


# Parts that several classes share


def eyes(x: float, y: float, apart: float, radius: float, iris: Colour = DARK) -> Shape:
    """Two eyes, each with a highlight."""
    shape = []
    for side in (-apart, apart):
        shape.append(Part(ellipse(x + side, y, radius), iris))
        shape.append(Part(ellipse(x + side, y, 0.55 * radius), 0.4 * DARK))
        shape.append(Part(ellipse(x + side + 0.35 * radius, y + 0.4 * radius, 0.3 * radius), PALE))
    return shape


def four_legs(
    rng: Random, fur: Colour, leg: float, length: float, girth: float, hoof: Colour
) -> Shape:
    """A standing or walking animal seen from its side, without neck, head and tail.

    The hip is above x = 0, the shoulder above x = `length`; the back is at `leg` + 2 `girth`.
    """
    shape, top = [], leg + 0.7 * girth
    for x, shade in ((0.08, 0.7), (length - 0.02, 0.7), (-0.06, 0.92), (length - 0.16, 0.92)):
        swing = rng.uniform(-0.3, 0.3) * leg
        knee = (x + 0.5 * swing + rng.uniform(-0.08, 0.08) * leg, 0.5 * leg)
        foot = (x + swing, 0.06)
        limbs = limb((x, top), knee, foot, width=0.85 * girth, end=0.3 * girth)
        shape.append(Part(limbs, tone(fur, shade)))
        shape.append(Part(ellipse(x + swing + 0.03, 0.05, 0.2 * girth + 0.02, 0.05), hoof))
    back, belly = leg + 2 * girth, leg + rng.uniform(0.1, 0.4) * girth
    rear, front, middle = -0.8 * girth, length + 0.7 * girth, 0.5 * length
    hip, breast = (rear, belly + 0.9 * girth), (front, belly + 0.8 * girth)
    trunk = [
        hip,
        (rear + 0.1, back),
        (middle, back - 0.1 * girth),
        (front - 0.1, back + 0.1 * girth),
    ]
    trunk += [
        breast,
        (front - 0.25 * girth, leg),
        (middle, belly),
        (rear + 0.25 * girth, leg + 0.1),
    ]
    return [*shape, Part(curve(*trunk), fur)]


def patches(
    rng: Random, x: Sequence[float], y: Sequence[float], size: float, colour: Colour
) -> Shape:
    """A few irregular patches with their centres inside the rectangle x[0], y[0] to x[1], y[1]."""
    shape = []
    for _ in range(rng.integers(2, 5)):
        centre = (rng.uniform(*x), rng.uniform(*y))
        rx, ry, tilt = (
            size * rng.uniform(0.6, 1.3),
            size * rng.uniform(0.5, 0.9),
            rng.uniform(-1, 1),
        )
        shape.append(Part(ellipse(*centre, rx, ry, tilt), colour))
    return shape
