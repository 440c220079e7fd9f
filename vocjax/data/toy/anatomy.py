"""Parts of living things that several classes share."""

import numpy as np

from vocjax.data.toy.colours import DARK, PALE, Colour, Random, tone
from vocjax.data.toy.parts import Shape, curve, ellipse, limb


def eye(x: float, y: float, radius: float, iris: Colour = DARK) -> Shape:
    """An eye with its pupil and a highlight."""
    return [
        ellipse(iris, x, y, radius),
        ellipse(0.4 * DARK, x, y, 0.55 * radius),
        ellipse(PALE, x + 0.35 * radius, y + 0.4 * radius, 0.3 * radius),
    ]


def four_legs(
    rng: Random, fur: Colour, leg: float, length: float, girth: float, hoof: Colour
) -> Shape:
    """A standing or walking animal seen from its side, without neck, head and tail.

    The hip is above x = 0, the shoulder above x = `length`; the back is at `leg` + 2 `girth`.
    """
    shape: Shape = []
    for x, shade in ((0.08, 0.7), (length - 0.02, 0.7), (-0.06, 0.92), (length - 0.16, 0.92)):
        swing = rng.uniform(-0.3, 0.3) * leg
        hip, knee = (x, leg + 0.7 * girth), (x + rng.uniform(0.2, 0.8) * swing, 0.5 * leg)
        foot = (x + swing, 0.06)
        shape.append(limb(tone(fur, shade), hip, knee, foot, width=0.85 * girth, end=0.3 * girth))
        shape.append(ellipse(hoof, foot[0] + 0.03, 0.05, 0.2 * girth + 0.02, 0.05))
    rear, front, middle = -0.8 * girth, length + 0.7 * girth, 0.5 * length
    belly, back = leg + rng.uniform(0.1, 0.4) * girth, leg + 2 * girth
    above = (rear + 0.1, back), (middle, back - 0.1 * girth), (front - 0.1, back + 0.1 * girth)
    under = (front - 0.25 * girth, leg), (middle, belly), (rear + 0.25 * girth, leg + 0.1)
    breast, rump = (front, belly + 0.8 * girth), (rear, belly + 0.9 * girth)
    return [*shape, curve(fur, *above, breast, *under, rump)]


def patches(
    rng: Random, colour: Colour, low: tuple[float, float], high: tuple[float, float], size: float
) -> Shape:
    """Two to four patches, about `size` large, with their centres in a box from `low` to `high`."""
    shape = []
    for _ in range(rng.integers(2, 5)):
        x, y = rng.uniform(low, high)
        rx, ry = size * rng.uniform(0.6, 1.3), size * rng.uniform(0.5, 0.9)
        shape.append(ellipse(colour, x, y, rx, ry, rng.uniform(-1, 1)))
    return shape


def stripes(colour: Colour, xs: tuple[float, ...], low: float, high: float, width: float) -> Shape:
    """Stripes from `high` down to `low`, tapering."""
    return [limb(colour, (x, high), (x, low), width=width, end=0.3 * width) for x in xs]


def curls(rng: Random, colour: Colour, x: float, y: float, rx: float, ry: float) -> Shape:
    """A fleece: round tufts all over an ellipse about (x, y)."""
    shape = []
    for _ in range(34):
        angle, far = rng.uniform(0, 2 * np.pi), np.sqrt(rng.random())
        at = (x + rx * far * np.cos(angle), y + ry * far * np.sin(angle))
        shape.append(ellipse(tone(colour, rng.uniform(0.82, 1.1)), *at, rng.uniform(0.12, 0.19)))
    return shape
