"""What lies behind and before the objects of a toy scene: sky and ground, walls and floors, clutter."""

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
    polygon,
    tone,
)  # fmt: skip
from vocjax.data.toy.render import Picture, fractal, lay, noise

INDOORS = ("room",)
GROUNDS = {
    "air": (120, 140, 96), "field": (98, 128, 60), "road": (112, 110, 108), "water": (70, 104, 124),
    "sand": (186, 164, 124), "snow": (214, 218, 226), "yard": (148, 128, 112), "room": (142, 108, 78),
}  # fmt: skip
SKIES = ((118, 164, 214), (170, 190, 208), (196, 196, 196), (232, 186, 140), (92, 112, 150))
GRAINS = {"water": (2, 16), "field": (4, 1.6), "air": (6, 10), "road": (1.5, 3), "room": (2, 40)}


def backdrop(rng: Random, height: int, width: int, habitat: str, light: float) -> Picture:
    """A scene without its objects, [height, width, 3] on a scale of 0 to 255."""
    horizon = rng.uniform(0.78, 1.1) if habitat == "air" else rng.uniform(0.35, 0.7)
    level = int(height * horizon)
    wall = habitat in ("yard", "room")
    upper = _wall(rng, height, width) if wall else _sky(rng, height, width)
    picture = np.where(
        np.arange(height)[:, None, None] < level, upper, _ground(rng, height, width, habitat)
    )
    scenery: Shape = []
    if wall:
        scenery += _furnishing(rng, height, width, level)
    elif habitat == "road":
        scenery += _houses(rng, height, width, level)
    elif rng.random() < 0.75:
        scenery += _hills(rng, height, width, level)
    if habitat in ("field", "road", "sand", "snow"):
        for _ in range(rng.integers(0, 4)):
            scenery += _tree(
                rng,
                rng.uniform(0, width),
                level + rng.uniform(0, 0.1) * height,
                rng.uniform(0.2, 0.6) * height,
            )
    if habitat in ("road", "yard", "room"):
        scenery += _lines(rng, height, width, level)
    lay(picture, scenery, rng, light, 1 + 0.12 * fractal(rng, height, width, 8))
    return picture


def clutter(rng: Random, height: int, width: int) -> Shape:
    """One thing of no class in the foreground: a bough, a post, a box or a ball at the border."""
    x, colour = (
        rng.choice([0.0, 1.0]) * width + rng.uniform(-0.12, 0.12) * width,
        tone(paint(rng), 0.8),
    )
    kind = rng.choice(4)
    if kind == 0:
        twig = limb((x, -5), (x + rng.uniform(-0.2, 0.2) * width, 0.3 * height), width=4, end=2)
        leaves = [
            ellipse(
                x + rng.normal() * 0.12 * width,
                rng.uniform(0, 0.3) * height,
                7,
                4,
                rng.uniform(-2, 2),
            )
            for _ in range(14)
        ]
        green = np.array([70.0, 104, 48])
        return [
            Part(twig, DARK),
            *[Part(leaf, tone(green, rng.uniform(0.6, 1.4))) for leaf in leaves],
        ]
    if kind == 1:
        return [Part(limb((x, -9), (x, height + 9), width=rng.uniform(4, 10)), colour)]
    if kind == 2:
        top = height * rng.uniform(0.7, 0.9)
        wide = 0.16 * width
        return [
            Part(box(x - wide, top, x + wide, height + 4), colour),
            Part(box(x - wide, top, x + wide, top + 5), tone(colour, 1.3)),
        ]
    radius = rng.uniform(0.06, 0.13) * width
    ball = ellipse(x, height - radius, radius)
    return [
        Part(ball, colour),
        Part(ellipse(x, height - radius, 0.3 * radius, radius), tone(colour, 0.6)),
    ]


def _sky(rng: Random, height: int, width: int) -> Picture:
    high = (
        np.array(SKIES[rng.integers(len(SKIES))])
        * rng.uniform(0.8, 1.1)
        * rng.uniform(0.94, 1.06, 3)
    )
    low = tone(high, rng.uniform(1.0, 1.3))
    fall = np.linspace(0, 1, height)[:, None, None]
    cloud = np.clip(
        fractal(rng, height, width, rng.uniform(16, 40)) - rng.uniform(-0.2, 0.6), 0, 1
    )[..., None]
    cloud = cloud * rng.uniform(0.3, 1.2)
    return (high * (1 - fall) + low * fall) * (1 - cloud) + 238 * cloud


def _ground(rng: Random, height: int, width: int, habitat: str) -> Picture:
    colour = np.array(GROUNDS[habitat]) * rng.uniform(0.7, 1.2) * rng.uniform(0.88, 1.12, 3)
    grain = GRAINS.get(habitat, (2.5, 2.5))
    relief = rng.uniform(0.06, 0.2) * noise(rng, height, width, grain) + 0.12 * fractal(
        rng, height, width, 24
    )
    return colour * (1 + relief)[..., None] * np.linspace(0.9, 1.12, height)[:, None, None]


def _wall(rng: Random, height: int, width: int) -> Picture:
    colour, pattern = 0.5 * paint(rng) + 0.5 * PALE * rng.uniform(0.4, 1), rng.choice(3)
    relief = 0.07 * fractal(rng, height, width, 20)
    if pattern == 0:
        relief = relief + 0.1 * ((np.arange(width) // rng.integers(4, 10)) % 2)
    elif pattern == 1:
        rows, step = np.arange(height)[:, None], rng.integers(5, 9)
        shifted = np.arange(width)[None] + (rows // step % 2) * step
        relief = relief - 0.25 * ((rows % step == 0) | (shifted % (2 * step) == 0))
    return colour * (1 + relief)[..., None]


def _hills(rng: Random, height: int, width: int, level: int) -> Shape:
    shape: Shape = []
    green = np.array([92.0, 112, 92]) * rng.uniform(0.6, 1.2, 3)
    for distance in (1.25, 1.0):
        tops = [
            (x, level - distance * rng.uniform(0.02, 0.22) * height)
            for x in np.linspace(-30, width + 30, 6)
        ]
        shape.append(
            Part(curve((-60, level + 1), *tops, (width + 60, level + 1)), tone(green, distance))
        )
    return shape


def _houses(rng: Random, height: int, width: int, level: int) -> Shape:
    shape: Shape = []
    left = -rng.uniform(0, 20)
    while left < width:
        right, top = left + rng.uniform(18, 45), level - rng.uniform(0.15, 0.6) * height
        colour = 0.6 * paint(rng) + 0.4 * np.array([150.0, 130, 118])
        shape.append(Part(box(left, top, right, level + 2), colour))
        if rng.random() < 0.5:
            shape.append(
                Part(
                    polygon((left - 2, top), (right + 2, top), ((left + right) / 2, top - 12)),
                    tone(colour, 0.6),
                )
            )
        for x in np.arange(left + 4, right - 6, 9):
            shape += [
                Part(box(x, y, x + 4, y + 6), GLASS * 0.8)
                for y in np.arange(top + 4, level - 8, 12)
            ]
        left = right + rng.uniform(-2, 14)
    return shape


def _furnishing(rng: Random, height: int, width: int, level: int) -> Shape:
    shape = [Part(box(-5, level - 3, width + 5, level + 1), tone(PALE, rng.uniform(0.4, 1)))]
    for _ in range(rng.integers(0, 4)):
        x, y = rng.uniform(0, width), rng.uniform(0.05, 0.6) * level
        wide, tall = rng.uniform(8, 22), rng.uniform(8, 22)
        shape.append(Part(box(x - wide, y - tall, x + wide, y + tall), coat(rng)))
        inside: Colour = tone(GLASS, 1.6) if rng.random() < 0.5 else paint(rng)
        shape.append(Part(box(x - wide + 3, y - tall + 3, x + wide - 3, y + tall - 3), inside))
        shape.append(Part(limb((x, y - tall + 3), (x, y + tall - 3), width=1.5), tone(inside, 0.7)))
    return shape


def _tree(rng: Random, x: float, base: float, tall: float) -> Shape:
    green = np.array([78.0, 106, 56]) * rng.uniform(0.6, 1.2, 3)
    shape = [
        Part(
            limb((x, base), (x, base - 0.6 * tall), width=0.1 * tall, end=0.06 * tall),
            np.array([84.0, 66, 52]),
        )
    ]
    for _ in range(9):
        dx, dy, radius = rng.uniform(-0.28, 0.28), rng.uniform(0.45, 0.95), rng.uniform(0.12, 0.22)
        shape.append(
            Part(
                ellipse(x + dx * tall, base - dy * tall, radius * tall),
                tone(green, rng.uniform(0.75, 1.25)),
            )
        )
    return shape


def _lines(rng: Random, height: int, width: int, level: int) -> Shape:
    """Lines on the ground that run to a vanishing point: lanes, paving, planks."""
    x, colour = rng.uniform(0.2, 0.8) * width, tone(PALE, rng.uniform(0.3, 1))
    ends = np.arange(-1.5, 2.5, rng.uniform(0.25, 0.9)) * width
    return [
        Part(polygon((x + 0.1 * (end - x), level), (end, height), (end + 3, height)), colour)
        for end in ends
    ]
