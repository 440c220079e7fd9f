"""What drives, rides and floats: bicycle, boat, bus, car, motorbike, train."""

import numpy as np

from vocjax.data.toy.colours import DARK, GLASS, PALE, Colour, Random, paint, rgb, tone
from vocjax.data.toy.parts import Shape, box, curve, ellipse, limb, panel, polygon, ring, within

LAMP = rgb(248, 238, 196)


def bicycle(rng: Random) -> Shape:
    """A bicycle from its side, with tyres so broad that its mask has an inside."""
    frame, radius, crank = paint(rng), rng.uniform(0.42, 0.5), (-0.08, 0.38)
    rear, front = (-0.62, radius), (rng.uniform(0.56, 0.7), radius)
    high, low = rng.uniform(0.95, 1.1, 2)
    seat, head = (-0.26, high), (0.42, low)
    shape: Shape = []
    for x, y in (rear, front):
        shape += [ring(DARK, x, y, radius, 0.095), ring(PALE, x, y, radius - 0.095, 0.03)]
        for angle in np.arange(3) * np.pi / 3 + rng.uniform(0, 1):
            dx, dy = 0.8 * radius * np.cos(angle), 0.8 * radius * np.sin(angle)
            shape.append(limb(tone(PALE, 0.8), (x - dx, y - dy), (x + dx, y + dy), width=0.015))
    bars = (rear, crank), (rear, seat), (crank, seat), (crank, head), (front, head), (seat, head)
    shape += [limb(frame, a, b, width=0.075) for a, b in bars]
    return [
        *shape,
        ring(DARK, *crank, 0.13, 0.05),
        limb(DARK, crank, (crank[0] + 0.14, crank[1] - 0.16), width=0.06),
        limb(DARK, head, (0.4, low + 0.12), (0.62, low + 0.12), width=0.065),
        limb(DARK, seat, (-0.26, high + 0.06), width=0.07),
        limb(DARK, (-0.42, high + 0.08), (-0.1, high + 0.05), width=0.12, end=0.06),
    ]


def boat(rng: Random) -> Shape:
    """A sailing boat or a motor boat."""
    hull, trim, deck, bow = paint(rng), paint(rng), rng.uniform(0.2, 0.4), rng.uniform(0.02, 0.2)
    body = [
        polygon(hull, (-1.0, deck), (-0.8, 0), (0.7, 0), (1.15, deck + bow)),
        polygon(trim, (-1.0, deck), (-0.96, 0.75 * deck), (1.05, 0.75 * deck), (1.13, deck)),
    ]
    if rng.random() < 0.55:
        x, top, foot = rng.uniform(-0.1, 0.2), rng.uniform(1.5, 2.0), deck + 0.12
        cloth = tone(PALE, rng.uniform(0.8, 1.1)) if rng.random() < 0.6 else paint(rng)
        mast = (x - 0.05, foot), (x - 0.04, top), (x - 0.06, top)
        return [
            limb(DARK, (x, 0), (x, top + 0.05), width=0.05),
            curve(cloth, *mast, (-0.95, foot + 0.08), (-0.9, foot)),
            polygon(tone(cloth, 0.88), (x + 0.06, foot), (x + 0.06, 0.9 * top), (1.05, foot)),
            *body,
        ]
    roof, aerial = deck + 0.42, deck + rng.uniform(0.8, 1.2)
    return [
        limb(DARK, (-0.1, deck), (-0.12, aerial), width=0.05),
        limb(trim, (-0.4, deck + 0.4), (-0.42, deck + 0.75), width=0.2),
        polygon(PALE, (-0.6, deck), (-0.55, roof), (0.25, roof), (0.45, deck)),
        box(tone(PALE, 0.9), -0.3, roof, 0.05, roof + 0.2),
        *(box(GLASS, x, deck + 0.16, x + 0.16, deck + 0.34) for x in (-0.48, -0.24, 0.0)),
        *body,
    ]


def bus(rng: Random) -> Shape:
    """A bus with one or two decks, its front turned towards us."""
    body, trim, decks = paint(rng), paint(rng), 1 + int(rng.random() < 0.3)
    height, face, back = 0.75 * decks + 0.1, rng.uniform(0.45, 0.8), rng.uniform(0.6, 0.85)
    side = (-1.6, 0.2), (0, 0), (0, height), (-1.6, 0.2 + back * (height - 0.1))
    front = (0, 0), (face, 0.08), (face, height - 0.04), (0, height)
    shape = [
        ellipse(DARK, 0.8 * face, 0.08, 0.1, 0.14),
        panel(body, side),
        panel(tone(body, 0.85), front),
        panel(trim, side, v=(0.1, 0.22)),
        panel(rgb(240, 200, 90), front, (0.2, 0.8), (0.88, 0.95)),
        panel(DARK, front, (0.02, 0.98), (0.0, 0.07)),
        panel(LAMP, front, (0.08, 0.26), (0.12, 0.2)),
        panel(LAMP, front, (0.74, 0.92), (0.12, 0.2)),
    ]
    for deck in range(decks):
        low, high = (deck + 0.42) / decks, (deck + 0.85) / decks
        shape += [
            panel(GLASS, side, (u, u + 0.125), (low, high)) for u in 0.04 + 0.16 * np.arange(6)
        ]
        shape.append(panel(GLASS * 0.85, front, (0.08, 0.92), (low - 0.04 / decks, high)))
    for u in (0.18, 0.76):
        shape += _wheel(*within(side, u, 0.02), 0.13 + 0.06 * u)
    return shape


def car(rng: Random) -> Shape:
    """A car from its side or its front."""
    body, roof = paint(rng), rng.uniform(0.68, 0.85)
    sill = roof - 0.08
    if rng.random() < 0.35:
        return [
            *(box(DARK, x - 0.1, -0.05, x + 0.1, 0.25) for x in (-0.58, 0.58)),
            curve(tone(body, 0.9), (-0.5, 0.5), (-0.42, roof), (0.42, roof), (0.5, 0.5)),
            polygon(GLASS, (-0.52, 0.47), (-0.38, sill), (0.38, sill), (0.52, 0.47)),
            curve(body, (-0.75, 0.08), (-0.78, 0.5), (0.78, 0.5), (0.75, 0.08)),
            box(DARK, -0.32, 0.2, 0.32, 0.34),
            box(tone(body, 0.6), -0.68, 0.08, 0.68, 0.16),
            box(PALE, -0.16, 0.1, 0.16, 0.18),
            *(ellipse(LAMP, x, 0.33, 0.13, 0.08) for x in (-0.52, 0.52)),
        ]
    bonnet, hatch = rng.uniform(0.4, 0.75), rng.uniform(-1.15, -0.75)
    lower = (-1.2, 0.12), (-1.22, 0.47), (hatch, 0.5), (bonnet, 0.48), (1.15, 0.4), (1.25, 0.12)
    return [
        curve(tone(body, 0.92), (hatch, 0.42), (hatch + 0.3, roof), (0.2, roof), (bonnet, 0.42)),
        polygon(GLASS, (hatch + 0.22, 0.45), (hatch + 0.38, sill), (-0.2, sill), (-0.2, 0.45)),
        polygon(GLASS, (-0.14, 0.45), (-0.14, sill), (0.16, sill), (bonnet - 0.14, 0.45)),
        curve(body, *lower),
        box(tone(body, 0.6), -0.19, 0.14, -0.17, 0.46),
        box(tone(body, 0.5), -1.15, 0.1, 1.15, 0.16),
        ellipse(LAMP, 1.1, 0.34, 0.09, 0.06),
        ellipse(rgb(190, 30, 30), -1.14, 0.36, 0.06, 0.07),
        *_wheel(-0.72, 0.12, 0.23),
        *_wheel(0.74, 0.12, 0.23),
    ]


def motorbike(rng: Random) -> Shape:
    """A motorbike from its side."""
    colour, radius = paint(rng), rng.uniform(0.36, 0.42)
    front, lamp = (rng.uniform(0.75, 0.95), radius), (0.52, rng.uniform(0.88, 1.0))
    steel, x, shape = tone(PALE, 0.8), front[0], []
    for hub in (-0.72, x):
        shape += [ring(DARK, hub, radius, radius, 0.15), ring(steel, hub, radius, 0.24, 0.06)]
        shape.append(limb(PALE, (hub - 0.2, radius), (hub + 0.2, radius), width=0.06))
        shape.append(ellipse(DARK, hub, radius, 0.09))
    engine = (-0.5, 0.3), (-0.35, 0.68), (0.35, 0.72), (0.42, 0.35), (0.2, 0.18)
    seat = (-1.05, 0.92), (-0.85, 0.7), (-0.2, 0.62), (-0.1, 0.74), (-0.55, 0.84)
    rear_fender = (-1.12, 0.75), (-1.0, 0.86), (-0.4, 0.66), (-0.6, 0.55), (-0.9, 0.68)
    tank = (-0.18, 0.7), (0.0, 1.0), (0.4, 0.98), (0.55, 0.72), (0.1, 0.6)
    return [
        *shape,
        limb(steel, front, lamp, width=0.1),
        curve(tone(GLASS, 0.6), *engine),
        ellipse(steel, 0.05, 0.42, 0.19),
        ellipse(DARK, 0.05, 0.42, 0.1),
        limb(PALE, (0.2, 0.25), (-0.35, 0.22), (-1.05, 0.3), width=0.1, end=0.14),
        curve(DARK, *seat),
        curve(colour, *rear_fender),
        curve(colour, *tank),
        limb(colour, (x - 0.3, 0.72), (x, 0.84), (x + 0.32, 0.68), width=0.11),
        limb(DARK, lamp, (0.38, 1.2), (0.2, 1.2), width=0.08),
        ellipse(tone(colour, 0.8), lamp[0] + 0.1, lamp[1], 0.13),
        ellipse(LAMP, lamp[0] + 0.16, lamp[1], 0.08, 0.1),
    ]


def train(rng: Random) -> Shape:
    """A train, its front turned towards us, or a steam engine from its side."""
    body, trim = paint(rng), paint(rng)
    if rng.random() < 0.25:
        return _steam_engine(body, trim)
    face, far = rng.uniform(0.55, 0.75), rng.uniform(0.3, 0.5)
    side = (-1.9, 0.45), (0, 0), (0, 1.1), (-1.9, 0.45 + far)
    front = (0, 0), (face, 0.05), (face - 0.06, 1.08), (0, 1.1)
    plough = (-0.04, -0.02), (face + 0.04, 0.03), (face - 0.05, -0.16), (0.05, -0.2)
    windows = np.array([0.07, 0.15, 0.24, 0.34, 0.5, 0.61, 0.73, 0.86])  # nearer ones farther apart
    lamps = ((0.15, 0.4), (0.85, 0.4), (0.5, 0.94))
    return [
        panel(DARK, side, v=(-0.12, 0.05)),
        panel(body, side),
        panel(trim, side, v=(0.18, 0.32)),
        *(panel(GLASS, side, (u, u + 0.055), (0.5, 0.8)) for u in windows),
        panel(DARK, side, (0.43, 0.44)),
        panel(tone(trim, 0.95), front),
        panel(body, front, v=(0, 0.32)),
        *(panel(GLASS * 0.7, front, (u, u + 0.36), (0.52, 0.86)) for u in (0.1, 0.54)),
        *(ellipse(LAMP, *within(front, u, v), 0.06) for u, v in lamps),
        polygon(DARK, *plough),
    ]


def _steam_engine(body: Colour, trim: Colour) -> Shape:
    return [
        polygon(DARK, (1.0, 0.1), (1.35, 0.1), (1.0, 0.35)),
        box(DARK, 0.62, 0.8, 0.8, 1.2),
        box(DARK, 0.56, 1.15, 0.86, 1.25),
        ellipse(trim, 0.2, 0.92, 0.16, 0.14),
        limb(body, (-0.6, 0.62), (0.95, 0.62), width=0.55),
        box(trim, -1.1, 0.3, -0.45, 1.15),
        *(box(trim, x, 0.36, x + 0.06, 0.88) for x in (0.05, 0.45, 0.85)),
        box(GLASS, -0.98, 0.75, -0.58, 1.05),
        box(DARK, -1.2, 1.12, -0.35, 1.22),
        box(DARK, -1.1, 0.22, 1.05, 0.36),
        *(part for x in (-0.75, -0.2, 0.3, 0.75) for part in _wheel(x, 0.18, 0.22, trim)),
        limb(PALE, (-0.75, 0.14), (0.75, 0.14), width=0.06),
    ]


def _wheel(x: float, y: float, radius: float, hub: Colour = PALE) -> Shape:
    return [
        ellipse(DARK, x, y, radius),
        ellipse(tone(hub, 0.8), x, y, 0.55 * radius),
        ellipse(DARK, x, y, 0.22 * radius),
    ]
