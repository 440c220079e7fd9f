"""The animals of field and air: bird, cow, horse, sheep."""

from vocjax.data.toy.anatomy import curls, eye, four_legs, patches
from vocjax.data.toy.colours import DARK, PALE, PINK, Random, coat, paint, rgb, tone
from vocjax.data.toy.parts import Shape, curve, ellipse, limb, place, polygon


def bird(rng: Random) -> Shape:
    """A bird that perches or flies."""
    plumage = paint(rng) if rng.random() < 0.5 else coat(rng)
    dusk, bill = tone(plumage, 0.6), rgb(232, 158, 48)
    fat, head = rng.uniform(0.26, 0.4), (0.62, rng.uniform(0.42, 0.67))
    slope = rng.uniform(-0.2, 0.25)
    above, below = ((-0.3, fat), (0.3, fat), (0.7, 0.1)), ((0.4, -fat), (-0.2, -fat))
    shape = [
        polygon(dusk, (-0.5, 0.02), (-1.15, slope), (-1.2, -0.14), (-0.5, -0.16)),
        limb(plumage, (0.35, 0.05), head, width=0.5, end=0.3),
        curve(plumage, (-0.75, 0), *above, *below),
        ellipse(tone(plumage, rng.uniform(1.1, 1.6)), 0.28, -0.1, 0.35, 0.6 * fat, 0.5),
    ]
    if rng.random() < 0.55:
        feet = [limb(bill * 0.7, (x, -0.2), (x + 0.06, -fat - 0.35), width=0.06) for x in (0, 0.15)]
        folded = (0.35, 0.22), (-0.2, 0.28), (-0.85, -0.1), (-0.2, -0.22), (0.3, -0.12)
        wing = curve(tone(plumage, 0.75), *folded)
        shape = [*feet, *shape, wing, *place([curve(dusk, *folded)], -0.12, -0.03, 0.6)]
    else:
        lift, reach = rng.uniform(0.5, 1.1), rng.uniform(-0.7, 0.0)
        outer, inner = (reach - 0.3, 1.2 * lift), (reach, 0.6 * lift)
        near = curve(tone(plumage, 0.75), (0.3, 0.05), (0.05, 0.8 * lift), outer, inner, (-0.3, 0))
        far = curve(dusk, (0.3, 0.1), (0.35, lift), (reach + 0.4, 1.15 * lift), (-0.15, 0.1))
        tip = (reach - 0.1, lift), (reach - 0.3, 1.15 * lift), (reach - 0.1, 0.7 * lift)
        shape = [far, *shape, near, polygon(DARK, *tip)]
    beak = polygon(bill, (0.12, 0.07), (rng.uniform(0.3, 0.5), -0.03), (0.1, -0.08))
    face = [beak, ellipse(plumage, 0, 0, 0.19), *eye(0.08, 0.05, 0.045)]
    return [*shape, *place(face, *head)]


def cow(rng: Random) -> Shape:
    """A cow from its side, its head up or grazing."""
    hide, spots = coat(rng), DARK if rng.random() < 0.5 else coat(rng)
    height = rng.uniform(0.35, 1.05)
    tail = limb(tone(hide, 0.7), (-0.28, 1.0), (-0.4, 0.7), (-0.38, 0.35), width=0.07, end=0.1)
    head = [
        limb(PALE, (0, 0.1), (-0.12, 0.26), width=0.08, end=0.03),
        limb(PALE, (0, 0.1), (0.14, 0.28), width=0.08, end=0.03),
        ellipse(tone(hide, 0.7), -0.17, 0.06, 0.14, 0.06, 0.3),
        limb(hide, (0, 0), (0.24, -0.22), width=0.33, end=0.24),
        ellipse(PINK, 0.24, -0.22, 0.13, 0.11),
        ellipse(DARK, 0.29, -0.22, 0.03),
        *eye(0.06, 0.03, 0.04),
    ]
    return [
        tail,
        ellipse(PINK, 0.25, 0.5, 0.17, 0.12),
        *four_legs(rng, hide, 0.45, 1.15, 0.29, DARK),
        *patches(rng, spots, (0.0, 0.7), (1.0, 0.9), 0.17),
        limb(hide, (1.15, 0.8), (1.62, height), width=0.5, end=0.3),
        *place(head, 1.62, height),
    ]


def horse(rng: Random) -> Shape:
    """A horse from its side, some with a saddle or a blaze."""
    hide, mane = coat(rng), tone(coat(rng), 0.7)
    x, y = rng.uniform(1.45, 1.65), rng.uniform(1.25, 1.75)
    nose, dock = (0.34, -rng.uniform(0.2, 0.4)), (-0.48, rng.uniform(0.3, 0.6))
    crest = (0.92, 1.2), (0.5 * x + 0.42, 0.5 * y + 0.68), (x - 0.02, y + 0.14)
    shape = [
        limb(mane, (-0.2, 1.1), (-0.42, 0.95), dock, width=0.12, end=0.16),
        *four_legs(rng, hide, 0.72, 1.15, 0.23, DARK),
        limb(hide, (1.0, 0.95), (x, y), width=0.58, end=0.28),
        limb(mane, *crest, width=0.2, end=0.12),
    ]
    if rng.random() < 0.35:
        shape.append(curve(paint(rng), (0.3, 1.22), (0.75, 1.22), (0.8, 0.85), (0.35, 0.8)))
        shape.append(limb(DARK, (0.5, 0.9), (0.5, 0.62), width=0.05))
    shade = tone(hide, 0.85)
    head = [polygon(shade, (a - 0.05, 0.1), (a, 0.32), (a + 0.06, 0.1)) for a in (-0.05, 0.05)]
    head.append(limb(hide, (-0.03, 0.03), nose, width=0.3, end=0.18))
    head.append(ellipse(tone(hide, 0.6), *nose, 0.1, 0.09))
    if rng.random() < 0.5:
        head.append(limb(PALE, (0.12, 0.02), (nose[0], nose[1] + 0.06), width=0.05))
    return [*shape, *place([*head, *eye(0.04, 0.03, 0.035)], x, y)]


def sheep(rng: Random) -> Shape:
    """A sheep with its curls, from its side."""
    wool, face = rgb(228, 222, 206) * rng.uniform(0.55, 1.05), coat(rng)
    face = DARK if rng.random() < 0.5 else face
    y, nose = rng.uniform(0.6, 0.95), (0.22, -rng.uniform(0.12, 0.25))
    head = [
        limb(face, (0, 0), nose, width=0.27, end=0.17),
        *eye(0.06, 0.02, 0.035),
        ellipse(tone(face, 0.8), -0.12, 0.03, 0.14, 0.06, 0.4),
        ellipse(wool, -0.02, 0.14, 0.15, 0.1),
    ]
    return [
        *four_legs(rng, tone(face, 0.9), 0.34, 0.95, 0.22, DARK),
        *curls(rng, wool, 0.42, 0.66, 0.62, 0.28),
        limb(wool, (0.9, 0.75), (1.2, y), width=0.45, end=0.3),
        *place(head, 1.2, y),
    ]
