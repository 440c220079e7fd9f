"""What drives, rides and floats: bicycle, boat, bus, car, motorbike, train."""

import numpy as np

from vocjax.data.toy.parts import (
    DARK,
    GLASS,
    PALE,
    Colour,
    Part,
    Random,
    Shape,
    box,
    curve,
    ellipse,
    limb,
    paint,
    panel,
    polygon,
    ring,
    tone,
)


def bicycle(rng: Random) -> Shape:
    """A bicycle from its side, with broad tyres, so that its mask has an inside."""
    frame, tyre, radius = paint(rng), 0.095, rng.uniform(0.42, 0.5)
    rear, front, crank = (-0.62, radius), (rng.uniform(0.56, 0.7), radius), (-0.08, 0.85 * radius)
    seat, head = (-0.26, rng.uniform(0.95, 1.1)), (0.42, rng.uniform(0.95, 1.1))
    shape = [Part(ring(*hub, radius, tyre), DARK) for hub in (rear, front)]
    for hub in (rear, front):
        shape.append(Part(ring(*hub, radius - tyre, 0.03), PALE))
        for angle in np.arange(3) * np.pi / 3 + rng.uniform(0, 1):
            arm = 0.9 * radius * np.array([np.cos(angle), np.sin(angle)])
            shape.append(
                Part(limb(tuple(hub - arm), tuple(hub + arm), width=0.015), tone(PALE, 0.8))
            )
    bars = [(rear, crank), (rear, seat), (crank, seat), (crank, head), (front, head)]
    shape += [Part(limb(a, b, width=0.075), frame) for a, b in bars]
    low, high = (seat[0] + 0.03, seat[1] - 0.14), (head[0] + 0.02, head[1] - 0.12)
    grip, bend = (head[0] + 0.2, head[1] + 0.12), (head[0] - 0.02, head[1] + 0.12)
    shape += [Part(limb(low, high, width=0.075), frame), Part(ring(*crank, 0.13, 0.05), DARK)]
    shape += [Part(limb(head, bend, grip, width=0.065), DARK)]
    saddle = limb(
        (seat[0] - 0.16, seat[1] + 0.08), (seat[0] + 0.16, seat[1] + 0.05), width=0.12, end=0.06
    )
    pedal = limb(crank, (crank[0] + 0.14, crank[1] - 0.16), width=0.06)
    return [
        *shape,
        Part(limb(seat, (seat[0], seat[1] + 0.06), width=0.07), DARK),
        Part(saddle, DARK),
        Part(pedal, DARK),
    ]


def boat(rng: Random) -> Shape:
    """A sailing boat or a motor boat."""
    hull, trim, deck = paint(rng), paint(rng), rng.uniform(0.2, 0.4)
    body = polygon((-1.0, deck), (-0.8, 0), (0.7, 0), (1.15, deck + rng.uniform(0.02, 0.2)))
    shape = [
        Part(body, hull),
        Part(polygon((-1.0, deck), (-0.96, 0.75 * deck), (1.05, 0.75 * deck), (1.13, deck)), trim),
    ]
    if rng.random() < 0.55:
        mast, top = rng.uniform(-0.1, 0.2), rng.uniform(1.5, 2.0)
        cloth = tone(PALE, rng.uniform(0.8, 1.1)) if rng.random() < 0.6 else paint(rng)
        main = curve(
            (mast - 0.05, deck + 0.12),
            (mast - 0.04, top),
            (mast - 0.06, top),
            (-0.95, deck + 0.2),
            (-0.9, deck + 0.12),
        )
        jib = polygon((mast + 0.06, deck + 0.15), (mast + 0.06, 0.9 * top), (1.05, deck + 0.15))
        return [
            Part(limb((mast, 0), (mast, top + 0.05), width=0.05), DARK),
            Part(main, cloth),
            Part(jib, tone(cloth, 0.88)),
            *shape,
        ]
    cabin = polygon((-0.6, deck), (-0.55, deck + 0.42), (0.25, deck + 0.42), (0.45, deck))
    house = [Part(cabin, PALE), Part(box(-0.3, deck + 0.42, 0.05, deck + 0.62), tone(PALE, 0.9))]
    house += [Part(box(x, deck + 0.16, x + 0.16, deck + 0.34), GLASS) for x in (-0.48, -0.24, 0.0)]
    mast = limb((-0.1, deck), (-0.12, deck + rng.uniform(0.8, 1.2)), width=0.05)
    funnel = limb((-0.4, deck + 0.4), (-0.42, deck + 0.75), width=0.2)
    return [Part(mast, DARK), Part(funnel, trim), *house, *shape]


def bus(rng: Random) -> Shape:
    """A bus with one or two decks, its front turned towards us."""
    body, trim, decks = paint(rng), paint(rng), 1 + (rng.random() < 0.3)
    height, face, back = 0.75 * decks + 0.1, rng.uniform(0.45, 0.8), rng.uniform(0.6, 0.85)
    side = polygon((-1.6, 0.2), (0, 0), (0, height), (-1.6, 0.2 + back * (height - 0.1)))
    front = polygon((0, 0), (face, 0.08), (face, height - 0.04), (0, height))
    shape = [Part(ellipse(0.8 * face, 0.08, 0.1, 0.14), DARK)]
    shape += [
        Part(side, body),
        Part(front, tone(body, 0.85)),
        Part(panel(side, (0, 1), (0.1, 0.22)), trim),
    ]
    for deck in range(decks):
        low, high = (deck + 0.42) / decks, (deck + 0.85) / decks
        for u in np.arange(0.04, 0.9, 0.16):
            shape.append(Part(panel(side, (u, u + 0.125), (low, high)), GLASS))
        shape.append(Part(panel(front, (0.08, 0.92), (low - 0.04 / decks, high)), GLASS * 0.85))
    shape.append(Part(panel(front, (0.2, 0.8), (0.88, 0.95)), np.array([240.0, 200, 90])))
    for u in (0.08, 0.74):
        shape.append(Part(panel(front, (u, u + 0.18), (0.12, 0.2)), tone(PALE, 1.1)))
    shape.append(Part(panel(front, (0.02, 0.98), (0.0, 0.07)), DARK))
    for u in (0.18, 0.76):
        shape += _wheel(*panel(side, (u, u), (0.02, 0.02))[0], radius=0.13 + 0.06 * u)
    return shape


def car(rng: Random) -> Shape:
    """A car from its side or its front."""
    body, roof = paint(rng), rng.uniform(0.68, 0.85)
    if rng.random() < 0.35:
        shape = [Part(box(x, -0.05, x + 0.2, 0.25), DARK) for x in (-0.68, 0.48)]
        shape.append(
            Part(curve((-0.5, 0.5), (-0.42, roof), (0.42, roof), (0.5, 0.5)), tone(body, 0.9))
        )
        shape.append(
            Part(
                polygon((-0.52, 0.47), (-0.38, roof - 0.06), (0.38, roof - 0.06), (0.52, 0.47)),
                GLASS,
            )
        )
        shape.append(Part(curve((-0.75, 0.08), (-0.78, 0.5), (0.78, 0.5), (0.75, 0.08)), body))
        shape += [
            Part(box(-0.32, 0.2, 0.32, 0.34), DARK),
            Part(box(-0.68, 0.08, 0.68, 0.16), tone(body, 0.6)),
        ]
        shape.append(Part(box(-0.16, 0.1, 0.16, 0.18), PALE))
        return shape + [Part(ellipse(x, 0.33, 0.13, 0.08), tone(PALE, 1.1)) for x in (-0.52, 0.52)]
    bonnet, hatch = rng.uniform(0.4, 0.75), rng.uniform(-1.15, -0.75)
    cabin = [(hatch, 0.42), (hatch + 0.3, roof), (0.2, roof), (bonnet, 0.42)]
    lower = [(-1.2, 0.12), (-1.22, 0.47), (hatch, 0.5), (bonnet, 0.48), (1.15, 0.4), (1.25, 0.12)]
    shape = [Part(curve(*cabin), tone(body, 0.92))]
    shape.append(
        Part(
            polygon(
                (hatch + 0.22, 0.45), (hatch + 0.38, roof - 0.08), (-0.2, roof - 0.08), (-0.2, 0.45)
            ),
            GLASS,
        )
    )
    shape.append(
        Part(
            polygon(
                (-0.14, 0.45), (-0.14, roof - 0.08), (0.16, roof - 0.08), (bonnet - 0.14, 0.45)
            ),
            GLASS,
        )
    )
    shape += [Part(curve(*lower), body), Part(box(-0.19, 0.14, -0.17, 0.46), tone(body, 0.6))]
    shape.append(Part(box(-1.15, 0.1, 1.15, 0.16), tone(body, 0.5)))
    shape += [
        Part(ellipse(1.1, 0.34, 0.09, 0.06), PALE),
        Part(ellipse(-1.14, 0.36, 0.06, 0.07), np.array([190.0, 30, 30])),
    ]
    return shape + _wheel(-0.72, 0.12, 0.23) + _wheel(0.74, 0.12, 0.23)


def motorbike(rng: Random) -> Shape:
    """A motorbike from its side."""
    colour, radius = paint(rng), rng.uniform(0.36, 0.42)
    front, lamp = (rng.uniform(0.75, 0.95), radius), (0.52, rng.uniform(0.88, 1.0))
    shape = []
    for hub in ((-0.72, radius), front):
        shape += [
            Part(ring(*hub, radius, 0.15), DARK),
            Part(ring(*hub, 0.24, 0.06), tone(PALE, 0.8)),
        ]
        shape += [
            Part(limb((hub[0] - 0.2, hub[1]), (hub[0] + 0.2, hub[1]), width=0.06), PALE),
            Part(ellipse(*hub, 0.09), DARK),
        ]
    shape.append(Part(limb(front, lamp, width=0.1), tone(PALE, 0.8)))
    shape.append(
        Part(
            curve((-0.5, 0.3), (-0.35, 0.68), (0.35, 0.72), (0.42, 0.35), (0.2, 0.18)),
            tone(GLASS, 0.6),
        )
    )
    shape += [
        Part(ellipse(0.05, 0.42, 0.19), tone(PALE, 0.7)),
        Part(ellipse(0.05, 0.42, 0.1), DARK),
    ]
    shape.append(Part(limb((0.2, 0.25), (-0.35, 0.22), (-1.05, 0.3), width=0.1, end=0.14), PALE))
    shape.append(
        Part(curve((-1.05, 0.92), (-0.85, 0.7), (-0.2, 0.62), (-0.1, 0.74), (-0.55, 0.84)), DARK)
    )
    shape.append(
        Part(curve((-1.12, 0.75), (-1.0, 0.86), (-0.4, 0.66), (-0.6, 0.55), (-0.9, 0.68)), colour)
    )
    shape.append(
        Part(curve((-0.18, 0.7), (0.0, 1.0), (0.4, 0.98), (0.55, 0.72), (0.1, 0.6)), colour)
    )
    fender = limb((front[0] - 0.3, 0.72), (front[0], 0.84), (front[0] + 0.32, 0.68), width=0.11)
    shape += [Part(fender, colour), Part(limb(lamp, (0.38, 1.2), (0.2, 1.2), width=0.08), DARK)]
    return [
        *shape,
        Part(ellipse(lamp[0] + 0.1, lamp[1], 0.13), tone(colour, 0.8)),
        Part(ellipse(lamp[0] + 0.16, lamp[1], 0.08, 0.1), PALE),
    ]


def train(rng: Random) -> Shape:
    """A railway engine with carriages, its front turned towards us, or a steam engine from its side."""
    body, trim = paint(rng), paint(rng)
    if rng.random() < 0.25:
        shape = [
            Part(polygon((1.0, 0.1), (1.35, 0.1), (1.0, 0.35)), DARK),
            Part(box(0.62, 0.8, 0.8, 1.2), DARK),
        ]
        shape += [
            Part(box(0.56, 1.15, 0.86, 1.25), DARK),
            Part(ellipse(0.2, 0.92, 0.16, 0.14), trim),
        ]
        shape += [
            Part(limb((-0.6, 0.62), (0.95, 0.62), width=0.55), body),
            Part(box(-1.1, 0.3, -0.45, 1.15), trim),
        ]
        shape += [Part(box(x, 0.36, x + 0.06, 0.88), trim) for x in (0.05, 0.45, 0.85)]
        shape += [
            Part(box(-0.98, 0.75, -0.58, 1.05), GLASS),
            Part(box(-1.2, 1.12, -0.35, 1.22), DARK),
        ]
        shape.append(Part(box(-1.1, 0.22, 1.05, 0.36), DARK))
        for x in (-0.75, -0.2, 0.3, 0.75):
            shape += _wheel(x, 0.18, 0.22, trim)
        return [*shape, Part(limb((-0.75, 0.14), (0.75, 0.14), width=0.06), PALE)]
    face, far = rng.uniform(0.55, 0.75), rng.uniform(0.3, 0.5)
    side = polygon((-1.9, 0.45), (0, 0), (0, 1.1), (-1.9, 0.45 + far))
    front = polygon((0, 0), (face, 0.05), (face - 0.06, 1.08), (0.04, 1.12))
    shape = [
        Part(panel(side, (0, 1), (-0.12, 0.05)), DARK),
        Part(side, body),
        Part(panel(side, (0, 1), (0.18, 0.32)), trim),
    ]
    for u in 1 - 0.93 * np.linspace(0.05, 0.97, 8) ** 0.8:
        shape.append(Part(panel(side, (u - 0.035, u + 0.035), (0.5, 0.8)), GLASS))
    shape += [
        Part(panel(side, (0.42, 0.43), (0, 1)), DARK),
        Part(front, tone(trim, 0.95)),
        Part(panel(front, (0.0, 1), (0, 0.32)), body),
    ]
    shape.append(Part(panel(front, (0.1, 0.46), (0.52, 0.86)), GLASS * 0.7))
    shape.append(Part(panel(front, (0.54, 0.9), (0.52, 0.86)), GLASS * 0.7))
    lights = [panel(front, (u, u), (0.4, 0.4))[0] for u in (0.15, 0.85)] + [
        panel(front, (0.5, 0.5), (0.94, 0.94))[0]
    ]
    shape += [Part(ellipse(*at, 0.06), np.array([250.0, 236, 180])) for at in lights]
    return [
        *shape,
        Part(
            polygon((-0.04, -0.02), (face + 0.04, 0.03), (face - 0.05, -0.16), (0.05, -0.2)), DARK
        ),
    ]


def _wheel(x: float, y: float, radius: float, hub: Colour = PALE) -> Shape:
    """A tyre with its hub."""
    rim = Part(ellipse(x, y, 0.55 * radius), tone(hub, 0.8))
    return [Part(ellipse(x, y, radius), DARK), rim, Part(ellipse(x, y, 0.22 * radius), DARK)]
