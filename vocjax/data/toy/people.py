"""People."""

from vocjax.data.toy.anatomy import eye
from vocjax.data.toy.colours import DARK, Colour, Random, coat, paint, rgb, tone
from vocjax.data.toy.parts import Shape, curve, ellipse, limb, place, polygon


def person(rng: Random) -> Shape:
    """A person who stands or walks."""
    skin, shirt, trousers = _skin(rng), paint(rng), paint(rng)
    legs, arms = [], []
    for x, light in ((-0.13, 0.8), (0.13, 1.0)):
        stride = rng.uniform(-0.3, 0.3)
        knee, foot = (x + 0.7 * stride, 0.52), (x + stride, 0.08)
        legs.append(limb(tone(trousers, light), (x, 1.0), knee, foot, width=0.28, end=0.17))
        legs.append(ellipse(DARK, x + stride + 0.06, 0.06, 0.15, 0.07))
    for side in (-1, 1):
        elbow = (side * rng.uniform(0.38, 0.55), rng.uniform(1.15, 1.4))
        hand = (elbow[0] + rng.uniform(-0.25, 0.25), elbow[1] + rng.uniform(-0.38, 0.3))
        arms.append(limb(skin, elbow, hand, width=0.13, end=0.11))
        arms.append(limb(tone(shirt, 0.85), (side * 0.27, 1.6), elbow, width=0.2, end=0.15))
    left, right = (
        ((side * 0.28, 0.9), (side * 0.27, 1.3), (side * 0.36, 1.75)) for side in (-1, 1)
    )
    trunk = curve(shirt, *left, *right[::-1])
    neck = limb(tone(skin, 0.85), (0, 1.6), (0, 1.85), width=0.16)
    return [*legs, *arms[:2], neck, trunk, *arms[2:], *place(_head(rng, skin), 0, 2.0, 0.38)]


def person_portrait(rng: Random) -> Shape:
    """A person's head and shoulders."""
    skin, shirt = _skin(rng), paint(rng)
    left, right = (((x, -2.0), (0.92 * x, -1.0), (0.7 * x, -0.8)) for x in (-1.2, 1.2))
    return [
        polygon(shirt, *left, *right[::-1]),
        polygon(tone(skin, 0.9), (-0.35, -0.8), (0.35, -0.8), (0, -1.2)),
        limb(tone(skin, 0.8), (0, -0.2), (0, -0.85), width=0.42),
        *_head(rng, skin),
    ]


def _skin(rng: Random) -> Colour:
    return rgb(238, 196, 168) * rng.uniform(0.42, 1.02)


def _head(rng: Random, skin: Colour) -> Shape:
    hair, fringe = tone(coat(rng), 0.75), ((0.55, 0.0), (0.4, 0.35), (-0.2, 0.4))
    shape = [
        ellipse(skin, 0, -0.02, 0.5, 0.58),
        curve(hair, (-0.55, 0.0), (-0.55, 0.75), (0.55, 0.75), *fringe),
        *eye(-0.2, 0.02, 0.07),
        *eye(0.2, 0.02, 0.07),
        limb(tone(skin, 0.85), (0, 0), (0.04, -0.16), width=0.08),
        limb(rgb(170, 70, 70), (-0.15, -0.33), (0, -0.37), (0.15, -0.33), width=0.07),
    ]
    if rng.random() < 0.45:
        long = curve(tone(hair, 0.85), (-0.6, -0.85), (-0.7, 0.7), (0.7, 0.7), (0.6, -0.85))
        shape.insert(0, long)
    return shape
