"""Cats and dogs."""

from vocjax.data.toy.anatomy import eye, four_legs, patches, stripes
from vocjax.data.toy.colours import DARK, PALE, PINK, Colour, Random, coat, paint, rgb, tone
from vocjax.data.toy.parts import Shape, curve, ellipse, limb, place, polygon


def cat(rng: Random) -> Shape:
    """A cat that sits or walks."""
    fur = coat(rng)
    marks = tone(fur, rng.uniform(0.5, 1.0))
    face = _cat_face(rng, fur, marks)
    if rng.random() < 0.6:
        return [*_sitting(rng, fur, marks), *place(face, 0.12, 1.3, 0.42, rng.uniform(-0.25, 0.25))]
    tip = (-0.52, rng.uniform(1.1, 1.35))
    return [
        limb(marks, (-0.2, 0.62), (-0.5, 0.7), (-0.62, 1.0), tip, width=0.12, end=0.08),
        *four_legs(rng, fur, 0.32, 1.0, 0.19, tone(fur, 1.2)),
        *stripes(marks, (0.1, 0.3, 0.5, 0.7), 0.45, 0.68, 0.07),
        *place(face, 1.22, 0.8, 0.34, rng.uniform(-0.3, 0.2)),
    ]


def cat_portrait(rng: Random) -> Shape:
    """A cat's face over its chest."""
    fur = coat(rng)
    chest = polygon(tone(fur, 0.85), (-1.15, -1.9), (-0.8, -0.4), (0.8, -0.4), (1.15, -1.9))
    return [chest, *_cat_face(rng, fur, tone(fur, rng.uniform(0.5, 1.0)))]


def dog(rng: Random) -> Shape:
    """A dog that stands or sits."""
    fur, marks = coat(rng), coat(rng)
    if rng.random() < 0.6:
        return _dog_standing(rng, fur, marks)
    face = place(_dog_face(rng, fur, marks), 0.12, 1.36, 0.44, rng.uniform(-0.3, 0.3))
    return [*_sitting(rng, fur, marks), *face]


def dog_portrait(rng: Random) -> Shape:
    """A dog's face over its chest."""
    fur, marks = coat(rng), coat(rng)
    chest = polygon(tone(fur, 0.85), (-1.2, -2.0), (-0.75, -0.4), (0.75, -0.4), (1.2, -2.0))
    collar = limb(paint(rng), (-0.85, -1.0), (0, -1.15), (0.85, -1.0), width=0.18)
    return [chest, collar, *_dog_face(rng, fur, marks)]


def _cat_face(rng: Random, fur: Colour, marks: Colour) -> Shape:
    tip, iris = rng.uniform(0.95, 1.1), rgb(150, 190, 70) * rng.uniform(0.6, 1.2, 3)
    shape, whiskers = [], []
    for side in (-1, 1):
        shape += [
            polygon(tone(fur, 0.85), (side * 0.75, 0.2), (side * 0.78, tip), (side * 0.15, 0.6)),
            polygon(PINK, (side * 0.65, 0.35), (side * 0.7, 0.82), (side * 0.32, 0.6)),
        ]
        for y in (-0.3, -0.5):
            whiskers.append(limb(PALE, (side * 0.3, -0.42), (side * 0.85, y), width=0.025))
    cheeks, chin = ((0.6, 0.75), (0.95, -0.1)), ((0.5, -0.85), (-0.5, -0.85))
    return [
        *shape,
        curve(fur, (-0.95, -0.1), (-0.6, 0.75), *cheeks, *chin),
        *stripes(marks, (-0.3, 0, 0.3), 0.38, 0.68, 0.1),
        *(ellipse(tone(fur, 1.3), x, -0.4, 0.26, 0.2) for x in (-0.2, 0.2)),
        *eye(-0.38, 0.08, 0.17, iris),
        *eye(0.38, 0.08, 0.17, iris),
        polygon(PINK * 0.9, (-0.12, -0.2), (0.12, -0.2), (0, -0.34)),
        *whiskers,
    ]


def _dog_face(rng: Random, fur: Colour, marks: Colour) -> Shape:
    skull = (-0.8, 0.1), (-0.55, 0.85), (0.55, 0.85), (0.8, 0.1), (0.5, -0.9), (-0.5, -0.9)
    hanging = (0.5, 0.7), (0.95, 0.65), (1.2, -0.2), (0.95, -0.6), (0.7, 0)
    pointed = (0.75, 0.3), (0.85, 1.15), (0.25, 0.65)
    shape, shade = [curve(fur, *skull)], tone(marks, 0.7)
    if rng.random() < 0.65:
        shape += [curve(shade, *((side * x, y) for x, y in hanging)) for side in (-1, 1)]
    else:
        ears = [polygon(shade, *((side * x, y) for x, y in pointed)) for side in (-1, 1)]
        shape = [*ears, *shape]
    if rng.random() < 0.4:
        shape.append(ellipse(marks, 0.38, 0.2, 0.3, 0.34))
    if rng.random() < 0.5:
        tongue = (-0.1, -0.55), (-0.16, -1.05), (0.16, -1.05), (0.1, -0.55)
        shape.append(curve(rgb(214, 98, 104), *tongue))
    muzzle = (-0.22, 0.3), (-0.5, -0.4), (-0.3, -0.85), (0.3, -0.85), (0.5, -0.4), (0.22, 0.3)
    return [
        *shape,
        curve(tone(fur, 1.2), *muzzle),
        ellipse(DARK, 0, -0.22, 0.23, 0.16),
        limb(DARK, (0, -0.3), (0, -0.58), width=0.05),
        limb(DARK, (-0.26, -0.66), (0, -0.58), (0.26, -0.66), width=0.05),
        *eye(-0.36, 0.22, 0.12, rgb(92, 58, 30)),
        *eye(0.36, 0.22, 0.12, rgb(92, 58, 30)),
    ]


def _dog_standing(rng: Random, fur: Colour, marks: Colour) -> Shape:
    leg, length, girth = rng.uniform(0.3, 0.55), rng.uniform(0.9, 1.2), rng.uniform(0.17, 0.24)
    back = leg + 2 * girth
    x, y = length + rng.uniform(0.15, 0.35), back + rng.uniform(0.0, 0.35)
    nose, tip = (rng.uniform(0.28, 0.45), -rng.uniform(0.02, 0.16)), rng.uniform(-0.4, 0.4)
    tail = (-0.1, back - 0.1), (-0.35, back + 0.1), (-0.45, back + tip)
    shape = [
        limb(fur, *tail, width=0.13, end=0.05),
        *four_legs(rng, fur, leg, length, girth, tone(fur, 0.8)),
    ]
    if rng.random() < 0.5:
        low, high = (0.1, leg + 0.8 * girth), (length - 0.1, back - 0.4 * girth)
        shape += patches(rng, marks, low, high, 0.12)
    if rng.random() < 0.65:
        hanging = (-0.02, 0.2), (-0.22, 0.15), (-0.24, -0.22), (-0.08, -0.25), (0, 0.05)
        ear = curve(tone(marks, 0.75), *hanging)
    else:
        ear = polygon(tone(marks, 0.75), (-0.2, 0.1), (-0.14, 0.42), (0.04, 0.16))
    head = [
        ellipse(fur, 0, 0, 0.22, 0.2),
        limb(tone(fur, 1.1), (0, -0.03), nose, width=0.26, end=0.15),
        ellipse(DARK, nose[0] + 0.05, nose[1] + 0.03, 0.06),
        *eye(0.1, 0.06, 0.042),
        ear,
    ]
    return [
        *shape,
        limb(fur, (length - 0.05, back - 0.15), (x, y), width=2.1 * girth, end=1.4 * girth),
        limb(paint(rng), (length + 0.02, back + 0.1), (x - 0.02, y - 0.3), width=0.07),
        *place(head, x, y),
    ]


def _sitting(rng: Random, fur: Colour, marks: Colour) -> Shape:
    """A cat's or a dog's body as it sits on its haunches, the neck at about (0.1, 1.2)."""
    lean, wide, tip = rng.uniform(-0.1, 0.1), rng.uniform(0.36, 0.5), rng.uniform(0.1, 0.7)
    rear, front = ((-wide, 0), (-wide, 0.5)), ((wide - 0.05, 0.5), (wide, 0))
    shape = [
        limb(marks, (-0.3, 0.12), (-0.7, 0.12), (-0.95, tip), width=0.16, end=0.11),
        curve(fur, *rear, (lean - 0.2, 1.2), (lean + 0.35, 1.2), *front),
        ellipse(tone(fur, 0.85), -0.24, 0.24, 0.3, 0.26),
        ellipse(tone(fur, 1.3), 0.16, 0.85, 0.16, 0.28),
    ]
    for x in (0.06, 0.3):
        shape.append(limb(tone(fur, 1.08), (x, 0.7), (x + 0.02, 0.06), width=0.2, end=0.14))
        shape.append(ellipse(tone(fur, 1.2), x + 0.05, 0.06, 0.12, 0.07))
    return [*shape, ellipse(tone(fur, 0.95), -0.2, 0.05, 0.24, 0.07)]
