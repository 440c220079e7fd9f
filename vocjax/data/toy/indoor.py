"""The things of a room among VOC's classes: bottle, chair, diningtable, pottedplant, sofa and tvmonitor."""

import numpy as np

from vocjax.data.toy.parts import (
    DARK,
    GLASS,
    PALE,
    Part,
    Random,
    Shape,
    box,
    coat,
    curve,
    ellipse,
    limb,
    paint,
    panel,
    place,
    polygon,
    tone,
)


def bottle(rng: Random) -> Shape:
    """A bottle with a label."""
    glass = (
        paint(rng) * (0.9, 1.05, 0.9)
        if rng.random() < 0.5
        else np.array([42.0, 82, 46]) * rng.uniform(0.6, 1.6)
    )
    radius, shoulder, neck = (
        rng.uniform(0.24, 0.36),
        rng.uniform(0.85, 1.2),
        rng.uniform(0.07, 0.11),
    )
    top = shoulder + rng.uniform(0.45, 0.75)
    profile = [
        (radius, 0.0),
        (radius, 0.0),
        (radius, shoulder),
        (neck, shoulder + 0.25),
        (neck, top),
        (neck, top),
    ]
    body = curve(*profile, *[(-x, y) for x, y in reversed(profile)])
    low, high = sorted(rng.uniform(0.12, shoulder - 0.05, 2))
    shape = [Part(body, glass), Part(box(-radius, low, radius, max(high, low + 0.3)), paint(rng))]
    shape.append(Part(box(-0.7 * radius, low + 0.1, 0.5 * radius, low + 0.17), PALE))
    shape.append(
        Part(limb((-0.6 * radius, 0.12), (-0.6 * radius, shoulder), width=0.06), tone(glass, 1.6))
    )
    return [*shape, Part(box(-1.25 * neck, top - 0.06, 1.25 * neck, top + 0.1), paint(rng))]


def chair(rng: Random) -> Shape:
    """A chair of wood or metal, seen at an angle."""
    wood, seat, depth = paint(rng), paint(rng), rng.uniform(0.3, 0.5)
    top, skew, thick = rng.uniform(1.5, 1.9), rng.uniform(0.1, 0.25), rng.uniform(0.09, 0.13)
    ends = [
        (-0.45, 0.8, 0.1),
        (0.4, 0.8, 0.1),
        (-0.45 + depth, 0.66, -0.15),
        (0.45 + depth, 0.66, -0.15),
    ]
    shape = [
        Part(limb((x, y), (x, low), width=thick), tone(wood, 0.7 + 0.15 * (low < 0)))
        for x, y, low in ends
    ]
    posts = polygon((-0.45, 0.85), (0.4, 0.85), (0.4 - skew, top), (-0.45 - skew, top))
    if rng.random() < 0.5:
        shape += [Part(panel(posts, (u, u + 0.13), (0, 1)), wood) for u in (0, 0.87)]
        shape.append(Part(panel(posts, (0, 1), (rng.uniform(0.2, 0.6), 1)), tone(seat, 0.85)))
    else:
        shape += [Part(panel(posts, (u, u + 0.13), (0, 1)), wood) for u in (0, 0.29, 0.58, 0.87)]
        shape.append(Part(panel(posts, (-0.02, 1.02), (0.85, 1.0)), wood))
    cushion = polygon((-0.5, 0.84), (0.45, 0.84), (0.5 + depth, 0.66), (-0.42 + depth, 0.66))
    edge = polygon(
        (-0.42 + depth, 0.67), (0.5 + depth, 0.67), (0.5 + depth, 0.56), (-0.42 + depth, 0.56)
    )
    return [*shape, Part(cushion, seat), Part(edge, tone(seat, 0.7))]


def diningtable(rng: Random) -> Shape:
    """A table laid with plates, glasses and a bowl."""
    wood, cloth, height = coat(rng), paint(rng), rng.uniform(0.65, 0.9)
    depth, back = rng.uniform(0.2, 0.4), rng.uniform(0.6, 0.9)
    shape = [
        Part(limb((x, height + y), (x, y), width=0.1, end=0.07), tone(wood, 0.6 + y))
        for x, y in ((-0.65, 0.16), (0.65, 0.16), (-0.9, 0), (0.9, 0))
    ]
    if rng.random() < 0.35:
        shape = [
            Part(limb((0, height), (0, 0.1), width=0.22, end=0.12), tone(wood, 0.7)),
            Part(ellipse(0, 0.06, 0.45, 0.08), tone(wood, 0.6)),
        ]
        rim, top = ellipse(0, height, 1.1, depth), ellipse(0, height + 0.07, 1.1, depth)
        shape += [Part(rim, tone(cloth, 0.6)), Part(top, cloth)]
    else:
        front = height - 0.1
        top = polygon((-1.1, front), (1.1, front), (back, height + depth), (-back, height + depth))
        shape += [
            Part(top, cloth),
            Part(box(-1.1, front - rng.uniform(0.08, 0.3), 1.1, front), tone(cloth, 0.7)),
        ]
    for x in (-0.6, -0.05, 0.5):
        y = height + rng.uniform(0.0, 0.5) * depth
        shape += [
            Part(ellipse(x, y, 0.22, 0.08), PALE),
            Part(ellipse(x, y + 0.01, 0.13, 0.045), paint(rng)),
        ]
        if rng.random() < 0.6:
            shape.append(
                Part(
                    limb((x + 0.27, y), (x + 0.27, y + 0.26), width=0.08, end=0.11),
                    tone(GLASS, 1.5),
                )
            )
    return shape


def pottedplant(rng: Random) -> Shape:
    """A plant in a pot: broad leaves or long ones, sometimes with flowers."""
    pot, green = (
        paint(rng),
        np.array([rng.uniform(40, 110), rng.uniform(95, 165), rng.uniform(30, 80)]),
    )
    height, reach, broad = rng.uniform(0.5, 0.8), rng.uniform(0.7, 1.1), rng.uniform(0.08, 0.34)
    shape: Shape = []
    for angle in rng.permutation(np.linspace(-1.45, 1.45, 13)) + rng.uniform(-0.1, 0.1, 13):
        size = reach * rng.uniform(0.75, 1.2)
        blade = curve((0, 0), (-broad, 0.6), (0, 1.1), (0.02, 1.1), (broad, 0.6))
        vein = limb((0, 0.2), (0, 0.95), width=0.04)
        leaf = [Part(blade, tone(green, rng.uniform(0.6, 1.35))), Part(vein, tone(green, 0.6))]
        shape += place(leaf, 0, height - 0.05, size, -angle)
    if rng.random() < 0.45:
        petals = paint(rng)
        for _ in range(5):
            x, y = rng.uniform(-0.6, 0.6), height + rng.uniform(0.4, 1.0) * reach
            shape += [
                Part(ellipse(x, y, 0.15, 0.13), petals),
                Part(ellipse(x, y, 0.06), np.array([236.0, 200, 60])),
            ]
    shape.append(Part(polygon((-0.3, 0), (0.3, 0), (0.44, height), (-0.44, height)), pot))
    return [*shape, Part(box(-0.48, height - 0.14, 0.48, height), tone(pot, 1.15))]


def sofa(rng: Random) -> Shape:
    """A sofa with two or three seats, from its front."""
    fabric, wide, back = paint(rng), rng.uniform(0.95, 1.4), rng.uniform(0.8, 1.05)
    seats, arm = rng.integers(2, 4), rng.uniform(0.2, 0.32)
    shape = [Part(box(x - 0.05, -0.1, x + 0.05, 0.1), DARK) for x in (0.1 - wide, wide - 0.1)]
    shape.append(
        Part(
            curve(
                (-wide, 0.2), (-wide, back), (-wide, back), (wide, back), (wide, back), (wide, 0.2)
            ),
            tone(fabric, 0.8),
        )
    )
    inner = wide - 0.5 * arm
    step = 2 * inner / seats
    for left in -inner + step * np.arange(seats):
        right, soft = left + step, tone(fabric, rng.uniform(0.9, 1.0))
        shape.append(
            Part(
                curve(
                    (left, 0.45),
                    (left, back),
                    (left, back),
                    (right, back),
                    (right, back),
                    (right, 0.45),
                ),
                soft,
            )
        )
    shape.append(Part(box(-wide, 0, wide, 0.4), tone(fabric, 0.75)))
    for left in -inner + step * np.arange(seats):
        shape.append(
            Part(
                curve(
                    (left, 0.28),
                    (left, 0.55),
                    (left, 0.55),
                    (left + step, 0.55),
                    (left + step, 0.55),
                    (left + step, 0.28),
                ),
                tone(fabric, 1.1),
            )
        )
    for x in (-wide, wide):
        shape.append(
            Part(
                curve(
                    (x - arm, 0),
                    (x - arm, 0),
                    (x - arm, 0.75),
                    (x + arm, 0.75),
                    (x + arm, 0),
                    (x + arm, 0),
                ),
                tone(fabric, 0.95),
            )
        )
    pillows = paint(rng)
    for x in rng.uniform(-0.6, 0.6, rng.integers(0, 3)) * wide:
        shape += place(
            [Part(curve((-0.3, -0.3), (-0.3, 0.3), (0.3, 0.3), (0.3, -0.3)), pillows)],
            x,
            0.7,
            0.9,
            rng.uniform(-0.5, 0.5),
        )
    return shape


def tvmonitor(rng: Random) -> Shape:
    """A television or a monitor with a picture on its screen."""
    case = tone(DARK, rng.uniform(0.8, 2.2)) if rng.random() < 0.6 else paint(rng)
    wide, high, rim = rng.uniform(0.7, 1.05), rng.uniform(0.55, 0.72), rng.uniform(0.05, 0.12)
    skew = rng.uniform(-0.12, 0.12)
    frame = polygon((-wide, 0), (wide, skew), (wide, 2 * high - skew), (-wide, 2 * high))
    glow = paint(rng) if rng.random() < 0.7 else tone(DARK, 1.2)
    shape = []
    if rng.random() < 0.5:
        stand = polygon((-0.12, 0.1), (0.12, 0.1), (0.18, -0.25), (-0.18, -0.25))
        shape += [Part(stand, tone(case, 0.8)), Part(ellipse(0, -0.26, 0.5, 0.08), case)]
    else:
        shape += [
            Part(
                polygon(
                    (-wide, 0.1),
                    (-wide - 0.25, 0.25),
                    (-wide - 0.25, 1.7 * high),
                    (-wide, 2 * high),
                ),
                tone(case, 0.7),
            )
        ]
        shape += [Part(box(x, -0.12, x + 0.15, 0.1), DARK) for x in (0.1 - wide, wide - 0.25)]
    shape += [
        Part(frame, case),
        Part(panel(frame, (rim, 1 - rim), (1.6 * rim, 1 - 1.3 * rim)), glow),
    ]
    if glow.sum() > 150:
        ground = rng.uniform(0.3, 0.5)
        shape.append(Part(panel(frame, (rim, 1 - rim), (1.6 * rim, ground)), paint(rng)))
        middle = panel(frame, (rng.uniform(0.3, 0.7),) * 2, (0.5, 0.5))[0]
        shape.append(Part(ellipse(*middle, 0.3 * wide, 0.2 * high), paint(rng)))
    glare = polygon((rim + 0.05, 0.9), (rim + 0.2, 0.9), (rim + 0.05, 0.6))
    shape.append(
        Part(np.stack([panel(frame, (u, u), (v, v))[0] for u, v in glare]), tone(glow, 1.4))
    )
    return [
        *shape,
        Part(
            ellipse(*panel(frame, (0.9,) * 2, (0.7 * rim,) * 2)[0], 0.03),
            np.array([90.0, 220, 110]),
        ),
    ]
