"""Cats and dogs."""

import numpy as np

from vocjax.data.toy.parts import (
    DARK,
    PALE,
    Colour,
    Part,
    Random,
    Shape,
    coat,
    curve,
    ellipse,
    eyes,
    four_legs,
    limb,
    paint,
    patches,
    place,
    polygon,
    tone,
)


def cat(rng: Random) -> Shape:
    """A cat that sits or walks."""
    fur = coat(rng)
    stripes = tone(fur, 0.62) if rng.random() < 0.6 else fur
    face = _cat_face(rng, fur, stripes)
    if rng.random() < 0.6:
        return _sitting(rng, fur, stripes, tail=0.16) + place(
            face, 0.12, 1.3, 0.42, rng.uniform(-0.25, 0.25)
        )
    tail = limb(
        (-0.2, 0.62),
        (-0.5, 0.7),
        (-0.62, 1.0),
        (-0.52, rng.uniform(1.1, 1.35)),
        width=0.12,
        end=0.08,
    )
    body = [Part(tail, stripes), *four_legs(rng, fur, 0.32, 1.0, 0.19, tone(fur, 1.2))]
    body += [
        Part(limb((x, 0.68), (x + 0.03, 0.45), width=0.07, end=0.02), stripes)
        for x in (0.1, 0.3, 0.5, 0.7)
    ]
    return body + place(face, 1.22, 0.8, 0.34, rng.uniform(-0.3, 0.2))


def cat_portrait(rng: Random) -> Shape:
    """A cat's face over its chest."""
    fur = coat(rng)
    chest = polygon((-1.15, -1.9), (-0.8, -0.4), (0.8, -0.4), (1.15, -1.9))
    return [Part(chest, tone(fur, 0.85)), *_cat_face(rng, fur, tone(fur, rng.uniform(0.5, 1.0)))]


def _cat_face(rng: Random, fur: Colour, stripes: Colour) -> Shape:
    shape = []
    for side in (-1, 1):
        ear = polygon((side * 0.75, 0.2), (side * 0.78, rng.uniform(0.95, 1.1)), (side * 0.15, 0.6))
        inner = polygon((side * 0.65, 0.35), (side * 0.7, 0.82), (side * 0.32, 0.6))
        shape += [Part(ear, tone(fur, 0.85)), Part(inner, np.array([206.0, 140, 132]))]
    shape.append(
        Part(
            curve(
                (-0.95, -0.1), (-0.6, 0.75), (0.6, 0.75), (0.95, -0.1), (0.5, -0.85), (-0.5, -0.85)
            ),
            fur,
        )
    )
    shape += [
        Part(limb((x, 0.68), (0.7 * x, 0.38), width=0.1, end=0.03), stripes) for x in (-0.3, 0, 0.3)
    ]
    shape += [Part(ellipse(side * 0.2, -0.4, 0.26, 0.2), tone(fur, 1.3)) for side in (-1, 1)]
    shape += eyes(0, 0.08, 0.38, 0.17, np.array([150.0, 190, 70]) * rng.uniform(0.6, 1.2, 3))
    shape.append(
        Part(polygon((-0.12, -0.2), (0.12, -0.2), (0, -0.34)), np.array([196.0, 112, 112]))
    )
    for side in (-1, 1):
        shape += [
            Part(limb((side * 0.3, -0.42), (side * 0.85, y), width=0.025), PALE)
            for y in (-0.3, -0.5)
        ]
    return shape


def dog(rng: Random) -> Shape:
    """A dog that stands or sits, with hanging or pointed ears."""
    fur, marks = coat(rng), coat(rng)
    if rng.random() < 0.6:
        return _dog_standing(rng, fur, marks)
    face = _dog_face(rng, fur, marks)
    return _sitting(rng, fur, marks, tail=0.15) + place(
        face, 0.12, 1.36, 0.44, rng.uniform(-0.3, 0.3)
    )


def dog_portrait(rng: Random) -> Shape:
    """A dog's face over its chest."""
    fur, marks = coat(rng), coat(rng)
    chest = polygon((-1.2, -2.0), (-0.75, -0.4), (0.75, -0.4), (1.2, -2.0))
    collar = Part(limb((-0.85, -1.0), (0, -1.15), (0.85, -1.0), width=0.18), paint(rng))
    return [Part(chest, tone(fur, 0.85)), collar, *_dog_face(rng, fur, marks)]


def _dog_standing(rng: Random, fur: Colour, marks: Colour) -> Shape:
    leg, length, girth = rng.uniform(0.3, 0.55), rng.uniform(0.9, 1.2), rng.uniform(0.17, 0.24)
    back = leg + 2 * girth
    tail = limb(
        (-0.1, back - 0.1),
        (-0.35, back + 0.1),
        (-0.45, back + rng.uniform(-0.4, 0.4)),
        width=0.13,
        end=0.05,
    )
    shape = [Part(tail, fur), *four_legs(rng, fur, leg, length, girth, tone(fur, 0.8))]
    if rng.random() < 0.5:
        shape += patches(
            rng, (0.1, length - 0.1), (leg + 0.8 * girth, back - 0.4 * girth), 0.12, marks
        )
    x, y = length + rng.uniform(0.15, 0.35), back + rng.uniform(0.0, 0.35)
    nose = (x + rng.uniform(0.28, 0.45), y - rng.uniform(0.02, 0.16))
    neck = limb((length - 0.05, back - 0.15), (x, y), width=2.1 * girth, end=1.4 * girth)
    shape += [Part(neck, fur), Part(ellipse(x, y, 0.22, 0.2), fur)]
    shape += [Part(limb((x, y - 0.03), nose, width=0.26, end=0.15), tone(fur, 1.1))]
    shape += [
        Part(ellipse(nose[0] + 0.05, nose[1] + 0.03, 0.06), DARK),
        *eyes(x + 0.1, y + 0.06, 0, 0.042),
    ]
    if rng.random() < 0.65:
        ear = curve(
            (x - 0.02, y + 0.2),
            (x - 0.22, y + 0.15),
            (x - 0.24, y - 0.22),
            (x - 0.08, y - 0.25),
            (x, y + 0.05),
        )
    else:
        ear = polygon((x - 0.2, y + 0.1), (x - 0.14, y + 0.42), (x + 0.04, y + 0.16))
    collar = limb((length + 0.02, back + 0.1), (x - 0.02, y - 0.3), width=0.07)
    return [*shape, Part(collar, paint(rng)), Part(ear, tone(marks, 0.75))]


def _dog_face(rng: Random, fur: Colour, marks: Colour) -> Shape:
    shape, hang = [], rng.random() < 0.65
    for side in (-1, 1):
        if hang:
            ear = curve(
                (side * 0.5, 0.7),
                (side * 0.95, 0.65),
                (side * 1.2, -0.2),
                (side * 0.95, -0.6),
                (side * 0.7, 0),
            )
        else:
            ear = polygon((side * 0.75, 0.3), (side * 0.85, 1.15), (side * 0.25, 0.65))
        shape.append(Part(ear, tone(marks, 0.7)))
    shape.insert(
        0 if not hang else 2,
        Part(
            curve((-0.8, 0.1), (-0.55, 0.85), (0.55, 0.85), (0.8, 0.1), (0.5, -0.9), (-0.5, -0.9)),
            fur,
        ),
    )
    if hang:
        shape = [shape[2], shape[0], shape[1]]
    if rng.random() < 0.4:
        shape.append(Part(ellipse(0.38, 0.2, 0.3, 0.34), marks))
    if rng.random() < 0.5:
        shape.append(
            Part(
                curve((-0.1, -0.55), (-0.16, -1.05), (0.16, -1.05), (0.1, -0.55)),
                np.array([214.0, 98, 104]),
            )
        )
    shape.append(
        Part(
            curve(
                (-0.22, 0.3), (-0.5, -0.4), (-0.3, -0.85), (0.3, -0.85), (0.5, -0.4), (0.22, 0.3)
            ),
            tone(fur, 1.2),
        )
    )
    shape += [
        Part(ellipse(0, -0.22, 0.23, 0.16), DARK),
        Part(limb((0, -0.3), (0, -0.58), width=0.05), DARK),
    ]
    shape.append(Part(limb((-0.26, -0.66), (0, -0.58), (0.26, -0.66), width=0.05), DARK))
    return shape + eyes(0, 0.22, 0.36, 0.12, np.array([92.0, 58, 30]))


def _sitting(rng: Random, fur: Colour, marks: Colour, tail: float) -> Shape:
    """A cat's or a dog's body as it sits on its haunches, `tail` thick at the tail, the neck about (0.1, 1.2)."""
    lean, wide = rng.uniform(-0.1, 0.1), rng.uniform(0.36, 0.5)
    tip = (-0.95, rng.uniform(0.1, 0.7))
    shape = [Part(limb((-0.3, 0.12), (-0.7, 0.12), tip, width=tail, end=0.7 * tail), marks)]
    trunk = curve(
        (-wide, 0),
        (-wide, 0.5),
        (lean - 0.2, 1.2),
        (lean + 0.35, 1.2),
        (wide - 0.05, 0.5),
        (wide, 0),
    )
    shape += [Part(trunk, fur), Part(ellipse(-0.24, 0.24, 0.3, 0.26), tone(fur, 0.85))]
    shape.append(Part(ellipse(0.16, 0.85, 0.16, 0.28), tone(fur, 1.3)))
    for x in (0.06, 0.3):
        shape.append(Part(limb((x, 0.7), (x + 0.02, 0.06), width=0.2, end=0.14), tone(fur, 1.08)))
        shape.append(Part(ellipse(x + 0.05, 0.06, 0.12, 0.07), tone(fur, 1.2)))
    return [*shape, Part(ellipse(-0.2, 0.05, 0.24, 0.07), tone(fur, 0.95))]
