"""People."""

import numpy as np

from vocjax.data.toy.parts import (
    DARK,
    Colour,
    Part,
    Random,
    Shape,
    coat,
    curve,
    ellipse,
    eyes,
    limb,
    paint,
    place,
    polygon,
    skin,
    tone,
)


def person(rng: Random) -> Shape:
    """A person who stands or walks."""
    flesh, shirt, trousers = skin(rng), paint(rng), paint(rng)
    shape = []
    for x, light in ((-0.13, 0.8), (0.13, 1.0)):
        stride = rng.uniform(-0.3, 0.3)
        knee, foot = (x + 0.7 * stride, 0.52), (x + stride, 0.08)
        shape.append(Part(limb((x, 1.0), knee, foot, width=0.28, end=0.17), tone(trousers, light)))
        shape.append(Part(ellipse(x + stride + 0.06, 0.06, 0.15, 0.07), DARK))
    arms = []
    for side in (-1, 1):
        elbow = (side * rng.uniform(0.38, 0.55), rng.uniform(1.15, 1.4))
        hand = (elbow[0] + rng.uniform(-0.25, 0.25), elbow[1] + rng.uniform(-0.38, 0.3))
        arms.append(Part(limb(elbow, hand, width=0.13, end=0.11), flesh))
        arms.append(Part(limb((side * 0.27, 1.6), elbow, width=0.2, end=0.15), tone(shirt, 0.85)))
    trunk = curve((-0.28, 0.9), (-0.27, 1.3), (-0.36, 1.75), (0.36, 1.75), (0.27, 1.3), (0.28, 0.9))
    shape += [*arms[:2], Part(limb((0, 1.6), (0, 1.85), width=0.16), tone(flesh, 0.85))]
    return [*shape, Part(trunk, shirt), *arms[2:], *place(_person_head(rng, flesh), 0, 2.0, 0.38)]


def person_portrait(rng: Random) -> Shape:
    """A person's head and shoulders."""
    flesh, shirt = skin(rng), paint(rng)
    trunk = polygon(
        (-1.2, -2.0), (-1.1, -1.0), (-0.85, -0.8), (0.85, -0.8), (1.1, -1.0), (1.2, -2.0)
    )
    shape = [
        Part(trunk, shirt),
        Part(polygon((-0.35, -0.8), (0.35, -0.8), (0, -1.2)), tone(flesh, 0.9)),
    ]
    return [
        *shape,
        Part(limb((0, -0.2), (0, -0.85), width=0.42), tone(flesh, 0.8)),
        *_person_head(rng, flesh),
    ]


def _person_head(rng: Random, flesh: Colour) -> Shape:
    hair = tone(coat(rng), 0.75)
    shape = [Part(ellipse(0, -0.02, 0.5, 0.58), flesh)]
    if rng.random() < 0.45:
        shape.insert(
            0, Part(curve((-0.6, -0.85), (-0.7, 0.7), (0.7, 0.7), (0.6, -0.85)), tone(hair, 0.85))
        )
    crown = curve((-0.55, 0.0), (-0.55, 0.75), (0.55, 0.75), (0.55, 0.0), (0.4, 0.35), (-0.2, 0.4))
    shape += [Part(crown, hair), *eyes(0, 0.02, 0.2, 0.07)]
    shape.append(Part(limb((0, 0), (0.04, -0.16), width=0.08), tone(flesh, 0.85)))
    mouth = limb((-0.15, -0.33), (0, -0.37), (0.15, -0.33), width=0.07)
    return [*shape, Part(mouth, np.array([170.0, 70, 70]))]
