"""Aeroplanes, from three sides."""

import numpy as np

from vocjax.data.toy.colours import DARK, GLASS, PALE, Colour, Random, coat, paint, tone
from vocjax.data.toy.parts import Shape, box, curve, ellipse, limb, place, polygon


def aeroplane(rng: Random) -> Shape:
    """An airliner or a small aircraft from its side, from below or from its front."""
    body, trim = coat(rng) if rng.random() < 0.4 else paint(rng), paint(rng)
    view = rng.random()
    if view < 0.6:
        return place(_side(rng, body, trim), 0, 0, angle=rng.uniform(-0.25, 0.45))
    if view < 0.8:
        return place(_below(rng, body, trim), 0, 0, angle=rng.uniform(-np.pi, np.pi))
    return place(_front(rng, body, trim), 0, 0, angle=rng.uniform(-0.3, 0.3))


def _side(rng: Random, body: Colour, trim: Colour) -> Shape:
    girth, sweep, drop = rng.uniform(0.12, 0.2), rng.uniform(0.25, 0.6), rng.uniform(0.3, 0.6)
    shade, tip, pod = tone(body, 0.85), -0.1 - sweep, -0.35 * drop - girth
    far_wing = polygon(tone(body, 0.65), (0.3, 0), (tip, 0.42), (tip - 0.18, 0.42), (-0.2, 0))
    fin = polygon(trim, (-0.7, 0.5 * girth), (-1.0, 0.55), (-1.22, 0.55), (-1.05, 0))
    top = [(-1.25, girth), (-0.6, girth), (0.8, girth), (1.1, 0.02)]
    hull = curve(body, *top, (1.05, -0.07), (0.8, -girth), (-0.6, -girth))
    stripe = box(trim, -0.85, -0.25 * girth, 0.85, 0.05 * girth)
    cockpit = curve(GLASS, (0.86, 0.3 * girth), (0.84, 0.95 * girth), (1.0, 0.4 * girth))
    seats = np.arange(-0.7, 0.7, rng.uniform(0.13, 0.3))
    windows = [ellipse(GLASS * 0.6, x, 0.4 * girth, 0.035, 0.04) for x in seats]
    tailplane = polygon(shade, (-0.8, 0), (-1.15, -0.12), (-1.3, -0.12), (-1.1, 0.03))
    root = (0.35, -0.3 * girth), (-0.25, -0.5 * girth)
    wing = polygon(shade, root[0], (tip, -drop), (tip - 0.22, -drop), root[1])
    shape = [far_wing, fin, hull, stripe, cockpit, *windows, tailplane]
    if rng.random() < 0.7:
        shape += [ellipse(trim, 0.02, pod, 0.2, 0.085), ellipse(DARK, 0.17, pod, 0.05, 0.08)]
    shape.append(wing)
    if rng.random() < 0.5:
        struts = [limb(DARK, (x, 0), (x, -0.42), width=0.05) for x in (0.75, -0.1, -0.3)]
        shape = [*struts, *(ellipse(DARK, x, -0.45, 0.08) for x in (0.75, -0.1, -0.3)), *shape]
    if rng.random() < 0.25:
        shape.append(ellipse(tone(PALE, 0.7), 1.1, 0, 0.03, 0.32))
    return shape


def _below(rng: Random, body: Colour, trim: Colour) -> Shape:
    span, sweep, girth = rng.uniform(0.8, 1.2), rng.uniform(0.05, 0.6), rng.uniform(0.1, 0.15)
    shape: Shape = []
    for side, light in ((rng.uniform(0.5, 1.0), 0.75), (-1.0, 0.92)):
        tip, tail, back = side * span, 0.38 * side * span, 0.3 * sweep
        edge = (0.08 - sweep, tip), (-0.12 - sweep, tip)
        stabiliser = (-0.9 - back, tail), (-1.04 - back, tail)
        pod = 0.3 - 0.4 * sweep
        shape += [
            limb(trim, (pod, 0.4 * tip), (pod - 0.32, 0.4 * tip), width=0.12),
            polygon(tone(body, light), (0.35, 0), *edge, (-0.2, 0)),
            polygon(tone(trim, light), (-0.75, 0), *stabiliser, (-0.98, 0)),
            polygon(trim, (0.02, 0.9 * tip), *edge),
        ]
    axis = (1.0, 0), (0.7, 0), (-0.5, 0), (-1.1, 0)
    hull = limb(body, *axis, width=2 * girth, end=0.5 * girth)
    fin = limb(trim, (-0.75, 0.02), (-1.15, 0.1), width=0.06)
    return [*shape, hull, fin, ellipse(GLASS, 0.95, 0, 0.07, 0.06)]


def _front(rng: Random, body: Colour, trim: Colour) -> Shape:
    span, lift, girth = rng.uniform(0.9, 1.3), rng.uniform(0.0, 0.25), rng.uniform(0.2, 0.3)
    shape = [polygon(trim, (-0.05, 0.1), (-0.03, 0.75), (0.03, 0.75), (0.05, 0.1))]
    for x in (-0.22, 0, 0.22):
        shape.append(limb(DARK, (0.9 * x, 0), (x, -0.5), width=0.05))
        shape.append(ellipse(DARK, x, -0.5, 0.06, 0.09))
    engines = (0.4, 0.68)[: rng.integers(1, 3)]
    for side in (-1, 1):
        tip = side * span
        edge = (tip, lift), (tip, lift - 0.05)
        shape.append(polygon(tone(body, 0.8), (0, -0.02), *edge, (0, -0.2)))
        shape.append(limb(tone(body, 0.7), (0, 0.2), (0.42 * tip, 0.28), width=0.06, end=0.03))
        for x in engines:
            shape.append(ellipse(trim, x * tip, x * lift - 0.16, 0.11))
            shape.append(ellipse(DARK, x * tip, x * lift - 0.16, 0.075))
    low, high, wide = 0.25 * girth, 0.6 * girth, 0.6 * girth
    glass = polygon(GLASS, (-wide, low), (wide, low), (0.6 * wide, high), (-0.6 * wide, high))
    nose = ellipse(trim, 0, -0.1, 0.4 * girth, 0.2 * girth)
    return [*shape, ellipse(body, 0, 0, girth), nose, glass]
