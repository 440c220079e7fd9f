"""The animals of the field and the air: bird, cow, horse, sheep."""

import numpy as np

from vocjax.data.toy.parts import (
    DARK,
    PALE,
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


def bird(rng: Random) -> Shape:
    """A bird that perches or flies."""
    plumage = paint(rng) if rng.random() < 0.5 else coat(rng)
    breast, bill = tone(plumage, rng.uniform(1.1, 1.6)), np.array([232.0, 158, 48])
    fat, neck = rng.uniform(0.26, 0.4), rng.uniform(0.0, 0.25)
    head = (0.62, 0.42 + neck)
    tail = polygon((-0.5, 0.02), (-1.15, rng.uniform(-0.2, 0.25)), (-1.2, -0.14), (-0.5, -0.16))
    trunk = curve((-0.75, 0), (-0.3, fat), (0.3, fat), (0.7, 0.1), (0.4, -fat), (-0.2, -fat))
    neck_part = limb((0.35, 0.05), head, width=0.5, end=0.3)
    shape = [Part(tail, tone(plumage, 0.6)), Part(neck_part, plumage), Part(trunk, plumage)]
    shape.append(Part(ellipse(0.28, -0.1, 0.35, 0.6 * fat, 0.5), breast))
    if rng.random() < 0.55:
        legs = [limb((x, -0.2), (x + 0.06, -fat - 0.35), width=0.06) for x in (-0.05, 0.12)]
        shape = [Part(leg, bill * 0.7) for leg in legs] + shape
        wing = curve((0.35, 0.22), (-0.2, 0.28), (-0.85, -0.1), (-0.2, -0.22), (0.3, -0.12))
        shape += [
            Part(wing, tone(plumage, 0.72)),
            Part(place([Part(wing, wing)], -0.12, -0.03, 0.6)[0].outline, tone(plumage, 0.5)),
        ]
    else:
        lift, reach = rng.uniform(0.5, 1.1), rng.uniform(-0.7, 0.0)
        far = curve((0.3, 0.1), (0.35, lift), (reach + 0.4, 1.15 * lift), (-0.15, 0.1))
        near = curve(
            (0.3, 0.05),
            (0.05, 0.8 * lift),
            (reach - 0.3, 1.2 * lift),
            (reach, 0.6 * lift),
            (-0.3, 0),
        )
        tips = polygon(
            (reach - 0.1, 1.0 * lift), (reach - 0.3, 1.15 * lift), (reach - 0.1, 0.7 * lift)
        )
        shape = [
            Part(far, tone(plumage, 0.55)),
            *shape,
            Part(near, tone(plumage, 0.75)),
            Part(tips, DARK),
        ]
    beak = polygon(
        (head[0] + 0.12, head[1] + 0.07),
        (head[0] + rng.uniform(0.3, 0.5), head[1] - 0.03),
        (head[0] + 0.1, head[1] - 0.08),
    )
    shape += [Part(beak, bill), Part(ellipse(*head, 0.19), plumage)]
    return [*shape, *eyes(head[0] + 0.08, head[1] + 0.05, 0, 0.045)]


def cow(rng: Random) -> Shape:
    """A cow from its side, its head up or grazing."""
    hide, spots = coat(rng), DARK if rng.random() < 0.5 else coat(rng)
    head = (1.62, rng.uniform(0.35, 1.05))
    tail = limb((-0.28, 1.0), (-0.4, 0.7), (-0.38, 0.35), width=0.07, end=0.1)
    body = four_legs(rng, hide, 0.45, 1.15, 0.29, DARK)
    shape = [
        Part(tail, tone(hide, 0.7)),
        Part(ellipse(0.25, 0.5, 0.17, 0.12), np.array([222.0, 160, 150])),
        *body,
    ]
    shape += patches(rng, (0.0, 1.0), (0.7, 0.9), 0.17, spots)
    shape.append(Part(limb((1.15, 0.8), head, width=0.5, end=0.3), hide))
    nose = (head[0] + 0.24, head[1] - 0.22)
    for x, y in ((-0.12, 0.26), (0.14, 0.28)):
        shape.append(
            Part(
                limb((head[0], head[1] + 0.1), (head[0] + x, head[1] + y), width=0.08, end=0.03),
                PALE,
            )
        )
    shape.append(Part(ellipse(head[0] - 0.17, head[1] + 0.06, 0.14, 0.06, 0.3), tone(hide, 0.7)))
    shape.append(Part(limb(head, nose, width=0.33, end=0.24), hide))
    shape.append(Part(ellipse(*nose, 0.13, 0.11), np.array([214.0, 160, 152])))
    return [
        *shape,
        *eyes(head[0] + 0.06, head[1] + 0.03, 0, 0.04),
        Part(ellipse(nose[0] + 0.05, nose[1], 0.03), DARK),
    ]


def horse(rng: Random) -> Shape:
    """A horse from its side."""
    hide, mane = coat(rng), tone(coat(rng), 0.7)
    head = (rng.uniform(1.45, 1.65), rng.uniform(1.25, 1.75))
    nose = (head[0] + 0.34, head[1] - rng.uniform(0.2, 0.4))
    tail = limb((-0.2, 1.1), (-0.42, 0.95), (-0.48, rng.uniform(0.3, 0.6)), width=0.12, end=0.16)
    shape = [Part(tail, mane), *four_legs(rng, hide, 0.72, 1.15, 0.23, DARK)]
    shape.append(Part(limb((1.0, 0.95), head, width=0.58, end=0.28), hide))
    crest = [
        (0.92, 1.2),
        (0.5 * head[0] + 0.42, 0.5 * head[1] + 0.68),
        (head[0] - 0.02, head[1] + 0.14),
    ]
    shape.append(Part(limb(*crest, width=0.2, end=0.12), mane))
    if rng.random() < 0.35:
        saddle = curve((0.3, 1.22), (0.75, 1.22), (0.8, 0.85), (0.35, 0.8))
        shape += [Part(saddle, paint(rng)), Part(limb((0.5, 0.9), (0.5, 0.62), width=0.05), DARK)]
    for x in (-0.05, 0.05):
        ear = polygon(
            (head[0] + x - 0.05, head[1] + 0.1),
            (head[0] + x, head[1] + 0.32),
            (head[0] + x + 0.06, head[1] + 0.1),
        )
        shape.append(Part(ear, tone(hide, 0.85)))
    shape.append(Part(limb((head[0] - 0.03, head[1] + 0.03), nose, width=0.3, end=0.18), hide))
    shape.append(Part(ellipse(*nose, 0.1, 0.09), tone(hide, 0.6)))
    if rng.random() < 0.5:
        shape.append(
            Part(
                limb((head[0] + 0.12, head[1] + 0.02), (nose[0], nose[1] + 0.06), width=0.05), PALE
            )
        )
    return [*shape, *eyes(head[0] + 0.04, head[1] + 0.03, 0, 0.035)]


def sheep(rng: Random) -> Shape:
    """A sheep with its curls, from its side."""
    wool, face = (
        np.array([228.0, 222, 206]) * rng.uniform(0.55, 1.05),
        DARK if rng.random() < 0.5 else coat(rng),
    )
    shape = four_legs(rng, tone(face, 0.9), 0.34, 0.95, 0.22, DARK)
    for _ in range(34):
        angle, far = rng.uniform(0, 2 * np.pi), np.sqrt(rng.random())
        x, y = 0.42 + 0.62 * far * np.cos(angle), 0.66 + 0.28 * far * np.sin(angle)
        shape.append(
            Part(ellipse(x, y, rng.uniform(0.12, 0.19)), tone(wool, rng.uniform(0.82, 1.1)))
        )
    x, y = 1.2, rng.uniform(0.6, 0.95)
    nose = (x + 0.22, y - rng.uniform(0.12, 0.25))
    shape.append(Part(limb((0.9, 0.75), (x, y), width=0.45, end=0.3), wool))
    shape += [
        Part(limb((x, y), nose, width=0.27, end=0.17), face),
        *eyes(x + 0.06, y + 0.02, 0, 0.035),
    ]
    shape.append(Part(ellipse(x - 0.12, y + 0.03, 0.14, 0.06, 0.4), tone(face, 0.8)))
    return [*shape, Part(ellipse(x - 0.02, y + 0.14, 0.15, 0.1), wool)]
