"""Aeroplanes."""

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
    coat,
    curve,
    ellipse,
    limb,
    paint,
    place,
    polygon,
    tone,
)


def aeroplane(rng: Random) -> Shape:
    """An airliner or a small aircraft from its side, from below or from its front."""
    body, trim = coat(rng) if rng.random() < 0.4 else paint(rng), paint(rng)
    view = rng.choice(["side", "below", "front"], p=[0.6, 0.2, 0.2])
    if view == "side":
        return place(_aeroplane_side(rng, body, trim), 0, 0, angle=rng.uniform(-0.25, 0.45))
    if view == "below":
        return place(_aeroplane_below(rng, body, trim), 0, 0, angle=rng.uniform(-np.pi, np.pi))
    return place(_aeroplane_front(rng, body, trim), 0, 0, angle=rng.uniform(-0.3, 0.3))


def _aeroplane_side(rng: Random, body: Colour, trim: Colour) -> Shape:
    girth, sweep = rng.uniform(0.12, 0.2), rng.uniform(0.25, 0.6)
    fin = polygon((-0.7, 0.5 * girth), (-1.0, 0.55), (-1.22, 0.55), (-1.05, 0))
    hull = [(-1.25, girth), (-0.6, girth), (0.8, girth), (1.1, 0.02), (1.05, -0.07), (0.8, -girth)]
    shape = [
        Part(
            polygon((0.3, 0), (-0.1 - sweep, 0.42), (-0.28 - sweep, 0.42), (-0.2, 0)),
            tone(body, 0.65),
        ),
        Part(fin, trim),
        Part(curve(*hull, (-0.6, -girth)), body),
        Part(box(-0.85, -0.25 * girth, 0.85, 0.05 * girth), trim),
        Part(curve((0.86, 0.3 * girth), (0.84, 0.95 * girth), (1.0, 0.4 * girth)), GLASS),
    ]
    windows = np.arange(-0.7, 0.7, rng.uniform(0.13, 0.3))
    shape += [Part(ellipse(x, 0.4 * girth, 0.035, 0.04), GLASS * 0.6) for x in windows]
    drop = rng.uniform(0.3, 0.6)
    wing = [
        (0.35, -0.3 * girth),
        (-0.1 - sweep, -drop),
        (-0.32 - sweep, -drop),
        (-0.25, -0.5 * girth),
    ]
    shape.append(
        Part(polygon((-0.8, 0), (-1.15, -0.12), (-1.3, -0.12), (-1.1, 0.03)), tone(body, 0.85))
    )
    if rng.random() < 0.7:
        pod = ellipse(0.02, -0.35 * drop - girth, 0.2, 0.085)
        shape += [Part(pod, trim), Part(ellipse(0.17, -0.35 * drop - girth, 0.05, 0.08), DARK)]
    shape.append(Part(polygon(*wing), tone(body, 0.85)))
    if rng.random() < 0.5:
        for x in (0.75, -0.1, -0.3):
            shape.insert(0, Part(limb((x, 0), (x, -0.42), width=0.05), DARK))
            shape.insert(0, Part(ellipse(x, -0.45, 0.08), DARK))
    if rng.random() < 0.25:
        shape.append(Part(ellipse(1.1, 0, 0.03, 0.32), tone(PALE, 0.7)))
    return shape


def _aeroplane_below(rng: Random, body: Colour, trim: Colour) -> Shape:
    span, sweep, girth = rng.uniform(0.8, 1.2), rng.uniform(0.05, 0.6), rng.uniform(0.1, 0.15)
    squash = rng.uniform(0.5, 1.0)
    shape = []
    for side, light in ((squash, 0.75), (-1.0, 0.92)):
        tip, tail = side * span, 0.38 * side * span
        wing = polygon((0.35, 0), (0.08 - sweep, tip), (-0.12 - sweep, tip), (-0.2, 0))
        fin = polygon(
            (-0.75, 0), (-0.9 - 0.3 * sweep, tail), (-1.04 - 0.3 * sweep, tail), (-0.98, 0)
        )
        engine = limb((0.3 - 0.4 * sweep, 0.4 * tip), (-0.02 - 0.4 * sweep, 0.4 * tip), width=0.12)
        shape += [Part(engine, trim), Part(wing, tone(body, light)), Part(fin, tone(trim, light))]
        shape.append(
            Part(polygon((0.02, 0.9 * tip), (0.08 - sweep, tip), (-0.12 - sweep, tip)), trim)
        )
    hull = limb((1.0, 0), (0.7, 0), (-0.5, 0), (-1.1, 0), width=2 * girth, end=0.5 * girth)
    fin = limb((-0.75, 0.02), (-1.15, 0.1), width=0.06)
    return [*shape, Part(hull, body), Part(fin, trim), Part(ellipse(0.95, 0, 0.07, 0.06), GLASS)]


def _aeroplane_front(rng: Random, body: Colour, trim: Colour) -> Shape:
    span, lift, girth = rng.uniform(0.9, 1.3), rng.uniform(0.0, 0.25), rng.uniform(0.2, 0.3)
    shape = [Part(polygon((-0.05, 0.1), (-0.03, 0.75), (0.03, 0.75), (0.05, 0.1)), trim)]
    shape += [
        Part(limb((0, 0), (0, -0.5), width=0.05), DARK),
        Part(ellipse(0, -0.5, 0.05, 0.09), DARK),
    ]
    for side in (-1, 1):
        wing = [(0, -0.02), (side * span, lift), (side * span, lift - 0.05), (0, -0.2)]
        stabiliser = limb((0, 0.2), (side * 0.42 * span, 0.28), width=0.06, end=0.03)
        shape += [Part(polygon(*wing), tone(body, 0.8)), Part(stabiliser, tone(body, 0.7))]
        for x in (0.4, 0.68)[: rng.integers(1, 3)]:
            pod = (side * x * span, x * lift - 0.16)
            shape += [Part(ellipse(*pod, 0.11), trim), Part(ellipse(*pod, 0.075), DARK)]
        shape.append(Part(limb((side * 0.2, 0), (side * 0.24, -0.5), width=0.05), DARK))
        shape.append(Part(ellipse(side * 0.24, -0.5, 0.06, 0.09), DARK))
    glass = polygon(
        (-0.6 * girth, 0.25 * girth), (0.6 * girth, 0.25 * girth), (0.4 * girth, 0.6 * girth)
    )
    shape += [
        Part(ellipse(0, 0, girth), body),
        Part(ellipse(0, -0.1, 0.4 * girth, 0.2 * girth), trim),
    ]
    return [*shape, Part(np.concatenate([glass, [(-0.4 * girth, 0.6 * girth)]]), GLASS)]
