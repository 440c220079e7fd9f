"""The things of a room: bottle, chair, diningtable, pottedplant, sofa, tvmonitor."""

from itertools import pairwise

import numpy as np

from vocjax.data.toy.colours import DARK, GLASS, PALE, Colour, Random, coat, paint, rgb, tone
from vocjax.data.toy.parts import Shape, box, curve, ellipse, limb, panel, place, polygon, within


def bottle(rng: Random) -> Shape:
    """A bottle with a label."""
    glass = paint(rng) if rng.random() < 0.5 else rgb(42, 82, 46) * rng.uniform(0.6, 1.6)
    radius, neck = rng.uniform(0.24, 0.36), rng.uniform(0.07, 0.11)
    shoulder = rng.uniform(0.85, 1.2)
    top = shoulder + rng.uniform(0.45, 0.75)
    low, tall = rng.uniform(0.12, 0.4), rng.uniform(0.3, 0.5)
    right = (radius, 0), (radius, 0), (radius, shoulder), (neck, shoulder + 0.25), (neck, top)
    left = tuple((-x, y) for x, y in right[::-1])
    return [
        curve(glass, *right, right[-1], left[0], *left),
        box(paint(rng), -radius, low, radius, low + tall),
        box(PALE, -0.7 * radius, low + 0.1, 0.5 * radius, low + 0.17),
        limb(tone(glass, 1.6), (-0.6 * radius, 0.12), (-0.6 * radius, shoulder), width=0.06),
        box(paint(rng), -1.25 * neck, top - 0.06, 1.25 * neck, top + 0.1),
    ]


def chair(rng: Random) -> Shape:
    """A chair with slats or a cushioned back, seen at an angle."""
    wood, cloth, depth = paint(rng), paint(rng), rng.uniform(0.3, 0.5)
    top, skew, thick = rng.uniform(1.5, 1.9), rng.uniform(0.1, 0.25), rng.uniform(0.09, 0.13)
    shape: Shape = []
    for x in (-0.45, 0.42):
        shape.append(limb(tone(wood, 0.7), (x, 0.8), (x, 0.1), width=thick))
        shape.append(limb(tone(wood, 0.85), (x + depth, 0.66), (x + depth, -0.15), width=thick))
    back = (-0.45, 0.85), (0.4, 0.85), (0.4 - skew, top), (-0.45 - skew, top)
    cushioned = rng.random() < 0.5
    slats = (0, 0.87) if cushioned else (0, 0.29, 0.58, 0.87)
    shape += [panel(wood, back, (u, u + 0.13)) for u in slats]
    if cushioned:
        shape.append(panel(tone(cloth, 0.85), back, v=(rng.uniform(0.2, 0.6), 1)))
    else:
        shape.append(panel(wood, back, (-0.02, 1.02), (0.85, 1.0)))
    near, far = ((0.5 + depth, 0.66), (-0.42 + depth, 0.66)), ((-0.5, 0.84), (0.45, 0.84))
    edge = box(tone(cloth, 0.7), -0.42 + depth, 0.56, 0.5 + depth, 0.67)
    return [*shape, polygon(cloth, *far, *near), edge]


def diningtable(rng: Random) -> Shape:
    """A round or an oblong table, laid with plates and glasses."""
    wood, cloth, height = coat(rng), paint(rng), rng.uniform(0.65, 0.9)
    depth, back, hem = rng.uniform(0.2, 0.4), rng.uniform(0.6, 0.9), rng.uniform(0.08, 0.3)
    if rng.random() < 0.35:
        shape = [
            limb(tone(wood, 0.7), (0, height), (0, 0.1), width=0.22, end=0.12),
            ellipse(tone(wood, 0.6), 0, 0.06, 0.45, 0.08),
            ellipse(tone(cloth, 0.6), 0, height, 1.1, depth),
            ellipse(cloth, 0, height + 0.07, 1.1, depth),
        ]
    else:
        front, feet = height - 0.1, ((-0.65, 0.16), (0.65, 0.16), (-0.9, 0), (0.9, 0))
        top = (-1.1, front), (1.1, front), (back, height + depth), (-back, height + depth)
        shape = [limb(tone(wood, 0.6 + y), (x, height), (x, y), width=0.09) for x, y in feet]
        shape += [polygon(cloth, *top), box(tone(cloth, 0.7), -1.1, front - hem, 1.1, front)]
    for x in (-0.6, -0.05, 0.5):
        y = height + rng.uniform(0.0, 0.5) * depth
        shape += [ellipse(PALE, x, y, 0.22, 0.08), ellipse(paint(rng), x, y + 0.01, 0.13, 0.045)]
        if rng.random() < 0.6:
            rim = (x + 0.27, y + 0.26)
            shape.append(limb(tone(GLASS, 1.5), (x + 0.27, y), rim, width=0.08, end=0.11))
    return shape


def pottedplant(rng: Random) -> Shape:
    """A plant in a pot: broad leaves or long ones, sometimes with flowers."""
    pot, petals, green = paint(rng), paint(rng), rng.uniform((40, 95, 30), (110, 165, 80))
    height, reach, broad = rng.uniform(0.5, 0.8), rng.uniform(0.7, 1.1), rng.uniform(0.08, 0.34)
    shape: Shape = []
    for angle in rng.permutation(np.linspace(-1.45, 1.45, 13)) + rng.uniform(-0.1, 0.1, 13):
        half = (-broad, 0.6), (0, 1.1), (0, 1.1), (broad, 0.6)
        leaf = curve(tone(green, rng.uniform(0.6, 1.35)), (0, 0), *half)
        vein = limb(tone(green, 0.6), (0, 0.2), (0, 0.95), width=0.04)
        shape += place([leaf, vein], 0, height - 0.05, reach * rng.uniform(0.75, 1.2), angle)
    if rng.random() < 0.45:
        for x, y in rng.uniform((-0.6, 0.4 * reach), (0.6, reach), (5, 2)):
            shape.append(ellipse(petals, x, height + y, 0.15, 0.13))
            shape.append(ellipse(rgb(236, 200, 60), x, height + y, 0.06))
    return [
        *shape,
        polygon(pot, (-0.3, 0), (0.3, 0), (0.44, height), (-0.44, height)),
        box(tone(pot, 1.15), -0.48, height - 0.14, 0.48, height),
    ]


def sofa(rng: Random) -> Shape:
    """A sofa with two or three seats, from its front, sometimes with pillows."""
    fabric, pillow = paint(rng), paint(rng)
    wide, back, arm = rng.uniform(0.95, 1.4), rng.uniform(0.8, 1.05), rng.uniform(0.2, 0.32)
    joints = np.linspace(0.5 * arm - wide, wide - 0.5 * arm, rng.integers(3, 5))
    seats = list(pairwise(joints))
    shape = [
        *(box(DARK, x - 0.05, -0.1, x + 0.05, 0.1) for x in (0.1 - wide, wide - 0.1)),
        *_cushions(tone(fabric, 0.8), [(-wide, wide)], 0.2, back),
        *_cushions(tone(fabric, 0.95), seats, 0.45, back),
        box(tone(fabric, 0.75), -wide, 0, wide, 0.4),
        *_cushions(tone(fabric, 1.1), seats, 0.28, 0.55),
        *_cushions(tone(fabric, 0.95), [(x - arm, x + arm) for x in (-wide, wide)], 0, 0.75),
    ]
    for x in rng.uniform(-0.6, 0.6, rng.integers(0, 3)) * wide:
        square = box(pillow, -0.22, -0.22, 0.22, 0.22)
        shape += place([square], x, 0.72, angle=rng.uniform(-0.5, 0.5))
    return shape


def _cushions(colour: Colour, spans: list[tuple[float, float]], bottom: float, top: float) -> Shape:
    """Boxes from a left to a right x, with soft corners, the upper ones less so."""
    return [
        curve(colour, (a, bottom), (b, bottom), (b, top), (b, top), (a, top), (a, top))
        for a, b in spans
    ]


def tvmonitor(rng: Random) -> Shape:
    """A flat screen on its foot or a deep television, on or off."""
    case = tone(DARK, rng.uniform(0.8, 2.2)) if rng.random() < 0.6 else paint(rng)
    wide, high, rim = rng.uniform(0.7, 1.05), rng.uniform(1.1, 1.45), rng.uniform(0.05, 0.12)
    skew, foot = rng.uniform(-0.12, 0.12), 1.6 * rim
    frame = (-wide, 0), (wide, skew), (wide, high - skew), (-wide, high)
    if rng.random() < 0.5:
        stand = polygon(tone(case, 0.8), (-0.12, 0.1), (0.12, 0.1), (0.18, -0.25), (-0.18, -0.25))
        shape = [stand, ellipse(case, 0, -0.26, 0.5, 0.08)]
    else:
        rear = (-wide - 0.25, 0.25), (-wide - 0.25, 0.85 * high)
        shape = [polygon(tone(case, 0.7), (-wide, 0.1), *rear, (-wide, high))]
        shape += [box(DARK, x, -0.12, x + 0.15, 0.1) for x in (0.1 - wide, wide - 0.25)]
    screen = tone(DARK, 1.2)
    shape += [panel(case, frame), panel(screen, frame, (rim, 1 - rim), (foot, 1 - rim))]
    if rng.random() < 0.7:
        ground, middle = rng.uniform(0.3, 0.5), within(frame, rng.uniform(0.3, 0.7), 0.5)
        screen = paint(rng)
        shape.append(panel(screen, frame, (rim, 1 - rim), (ground, 1 - rim)))
        shape.append(panel(paint(rng), frame, (rim, 1 - rim), (foot, ground)))
        shape.append(ellipse(paint(rng), *middle, 0.3 * wide, 0.1 * high))
    glare = (rim + 0.05, 0.9 - rim), (rim + 0.2, 0.9 - rim), (rim + 0.05, 0.6)
    shape.append(polygon(tone(screen, 1.4), *(within(frame, u, v) for u, v in glare)))
    return [*shape, ellipse(rgb(90, 220, 110), *within(frame, 0.9, 0.6 * foot), 0.03)]
