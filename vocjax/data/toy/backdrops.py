"""What lies behind and before the objects of a toy scene: sky, ground, walls, scenery, clutter."""

import numpy as np

from vocjax.data.toy.colours import DARK, GLASS, PALE, Colour, Random, coat, paint, rgb, tone
from vocjax.data.toy.parts import Shape, box, curve, ellipse, limb, polygon
from vocjax.data.toy.render import Picture, fractal, lay, noise

# The ground's colour and the size of its grains in pixels, (high, wide).
GROUNDS: dict[str, tuple[Colour, tuple[float, float]]] = {
    "air": (rgb(120, 140, 96), (6, 10)),
    "field": (rgb(98, 128, 60), (4, 1.6)),
    "road": (rgb(112, 110, 108), (1.5, 3)),
    "water": (rgb(70, 104, 124), (2, 16)),
    "sand": (rgb(186, 164, 124), (2.5, 2.5)),
    "snow": (rgb(214, 218, 226), (2.5, 2.5)),
    "yard": (rgb(148, 128, 112), (2.5, 2.5)),
    "room": (rgb(142, 108, 78), (2, 40)),
}
SKIES = np.array(
    [(118, 164, 214), (170, 190, 208), (196, 196, 196), (232, 186, 140), (92, 112, 150)]
)


def backdrop(rng: Random, height: int, width: int, habitat: str, light: float) -> Picture:
    """A scene without its objects; `habitat` is a key of `GROUNDS`, `light` as in `render.lay`."""
    walled = habitat in ("yard", "room")
    level = height * (rng.uniform(0.78, 1.1) if habitat == "air" else rng.uniform(0.35, 0.7))
    upper = _wall(rng, height, width) if walled else _sky(rng, height, width)
    ground = _ground(rng, height, width, habitat)
    picture = np.where(np.arange(height)[:, None, None] < level, upper, ground)
    scenery = _scenery(rng, height, width, level, habitat)
    lay(picture, scenery, rng, light, 1 + 0.12 * fractal(rng, height, width, 8))
    return picture


def clutter(rng: Random, height: int, width: int) -> Shape:
    """One thing of no class in the foreground: a bough, a post, a box or a ball at the side."""
    x = width * (rng.integers(2) + rng.uniform(-0.12, 0.12))
    colour, kind = tone(paint(rng), 0.8), rng.integers(4)
    if kind == 0:
        shape = [limb(DARK, (x, -5), (x + rng.uniform(-12, 12), 0.3 * height), width=4, end=2)]
        for dx, y in rng.uniform((-0.2 * width, 0), (0.2 * width, 0.3 * height), (14, 2)):
            leaf = tone(rgb(70, 104, 48), rng.uniform(0.6, 1.4))
            shape.append(ellipse(leaf, x + dx, y, 7, 4, rng.uniform(-2, 2)))
        return shape
    if kind == 1:
        return [limb(colour, (x, -9), (x, height + 9), width=rng.uniform(4, 10))]
    if kind == 2:
        top, half = height * rng.uniform(0.7, 0.9), 0.16 * width
        side = box(colour, x - half, top, x + half, height + 4)
        return [side, box(tone(colour, 1.3), x - half, top, x + half, top + 5)]
    r = rng.uniform(0.06, 0.13) * width
    ball, stripe = (colour, r), (tone(colour, 0.6), 0.3 * r)
    return [ellipse(hue, x, height - r, rx, r) for hue, rx in (ball, stripe)]


def _sky(rng: Random, height: int, width: int) -> Picture:
    high = SKIES[rng.integers(len(SKIES))] * rng.uniform(0.8, 1.1) * rng.uniform(0.94, 1.06, 3)
    low = tone(high, rng.uniform(1.0, 1.3))
    fall = np.linspace(0, 1, height)[:, None, None]
    billow = fractal(rng, height, width, rng.uniform(16, 40)) - rng.uniform(-0.2, 0.6)
    cloud = rng.uniform(0.3, 1.2) * np.clip(billow, 0, 1)[..., None]
    return (high * (1 - fall) + low * fall) * (1 - cloud) + 238 * cloud


def _ground(rng: Random, height: int, width: int, habitat: str) -> Picture:
    base, grain = GROUNDS[habitat]
    colour = base * rng.uniform(0.7, 1.2) * rng.uniform(0.88, 1.12, 3)
    relief = rng.uniform(0.06, 0.2) * noise(rng, height, width, grain)
    relief += 0.12 * fractal(rng, height, width, 24)
    return colour * (1 + relief)[..., None] * np.linspace(0.9, 1.12, height)[:, None, None]


def _wall(rng: Random, height: int, width: int) -> Picture:
    """A plain, a striped or a brick wall."""
    colour, pattern = 0.5 * paint(rng) + 0.5 * PALE * rng.uniform(0.4, 1), rng.integers(3)
    relief, step = 1 + 0.07 * fractal(rng, height, width, 20), rng.integers(5, 9)
    y, x = np.arange(height)[:, None], np.arange(width)[None]
    if pattern == 0:
        relief += 0.1 * (x // step % 2)
    elif pattern == 1:
        joints = (y % step == 0) | ((x + (y // step % 2) * step) % (2 * step) == 0)
        relief -= 0.25 * joints
    return colour * relief[..., None]


def _scenery(rng: Random, height: int, width: int, level: float, habitat: str) -> Shape:
    """What stands at the horizon or on the wall, and the lines on the ground."""
    shape: Shape = []
    if habitat in ("yard", "room"):
        shape += _furnishing(rng, width, level)
    elif habitat == "road":
        shape += _houses(rng, height, width, level)
    elif rng.random() < 0.75:
        shape += _hills(rng, height, width, level)
    if habitat in ("field", "road", "sand", "snow"):
        for x in rng.uniform(0, width, rng.integers(0, 4)):
            base, tall = level + rng.uniform(0, 0.1) * height, rng.uniform(0.2, 0.6) * height
            shape += _tree(rng, x, base, tall)
    if habitat in ("road", "yard", "room"):
        shape += _lines(rng, height, width, level)
    return shape


def _hills(rng: Random, height: int, width: int, level: float) -> Shape:
    green, shape = rgb(92, 112, 92) * rng.uniform(0.6, 1.2, 3), []
    for distance in (1.25, 1.0):
        tops = level - distance * height * rng.uniform(0.02, 0.22, 6)
        ridge = zip(np.linspace(-30, width + 30, 6), tops, strict=True)
        feet = (width + 60, level + 1), (-60, level + 1)
        shape.append(curve(tone(green, distance), *ridge, *feet))
    return shape


def _houses(rng: Random, height: int, width: int, level: float) -> Shape:
    shape: Shape = []
    left = -rng.uniform(0, 20)
    while left < width:
        right, top = left + rng.uniform(18, 45), level - rng.uniform(0.15, 0.6) * height
        colour = 0.6 * paint(rng) + 0.4 * rgb(150, 130, 118)
        shape.append(box(colour, left, top, right, level + 2))
        if rng.random() < 0.5:
            ridge = (0.5 * (left + right), top - 12)
            shape.append(polygon(tone(colour, 0.6), (left - 2, top), (right + 2, top), ridge))
        for x in np.arange(left + 4, right - 6, 9):
            floors = np.arange(top + 4, level - 8, 12)
            shape += [box(GLASS * 0.8, x, y, x + 4, y + 6) for y in floors]
        left = right + rng.uniform(-2, 14)
    return shape


def _furnishing(rng: Random, width: int, level: float) -> Shape:
    """A skirting board, windows and pictures."""
    shape = [box(tone(PALE, rng.uniform(0.4, 1)), -5, level - 3, width + 5, level + 1)]
    for _ in range(rng.integers(0, 4)):
        x, y = rng.uniform(0, width), rng.uniform(0.05, 0.6) * level
        rx, ry = rng.uniform(8, 22, 2)
        inside = tone(GLASS, 1.6) if rng.random() < 0.5 else paint(rng)
        shape += [
            box(coat(rng), x - rx, y - ry, x + rx, y + ry),
            box(inside, x - rx + 3, y - ry + 3, x + rx - 3, y + ry - 3),
            limb(tone(inside, 0.7), (x, y - ry + 3), (x, y + ry - 3), width=1.5),
        ]
    return shape


def _tree(rng: Random, x: float, base: float, tall: float) -> Shape:
    green, crown = rgb(78, 106, 56) * rng.uniform(0.6, 1.2, 3), base - 0.6 * tall
    shape = [limb(rgb(84, 66, 52), (x, base), (x, crown), width=0.1 * tall, end=0.06 * tall)]
    for dx, dy, radius in tall * rng.uniform((-0.28, 0.45, 0.12), (0.28, 0.95, 0.22), (9, 3)):
        shape.append(ellipse(tone(green, rng.uniform(0.75, 1.25)), x + dx, base - dy, radius))
    return shape


def _lines(rng: Random, height: int, width: int, level: float) -> Shape:
    """Lines that run to a vanishing point: lanes, paving, planks."""
    x, colour = rng.uniform(0.2, 0.8) * width, tone(PALE, rng.uniform(0.3, 1))
    ends = width * np.arange(-1.5, 2.5, rng.uniform(0.25, 0.9))
    away = 0.9 * x + 0.1 * ends
    pairs = zip(away, ends, strict=True)
    return [polygon(colour, (a, level), (b, height), (b + 3, height)) for a, b in pairs]
