"""Toy scenes: a backdrop, one to three objects of VOC's classes, clutter, a camera's noise."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from PIL.ImageFilter import MaxFilter, MinFilter

from vocjax.data.classes import VOC, VOID
from vocjax.data.toy import aircraft, animals, indoor, people, pets, vehicles
from vocjax.data.toy.backdrops import backdrop, clutter
from vocjax.data.toy.colours import Random
from vocjax.data.toy.parts import Part, Shape, bounds
from vocjax.data.toy.render import Picture, cast_shadow, fractal, lay

Draw = Callable[[Random], Shape]

# Who draws a class, and where it is at home. Half of the scenes are where their subject is at home,
# the others anywhere: the background is no more than a hint of the class. Every drawing function
# takes view, pose, proportions and colours from its generator alone, and faces to the right. The
# scene scales, mirrors, tilts and lights the shape.
KINDS: dict[str, tuple[Draw, tuple[str, ...]]] = {
    "aeroplane": (aircraft.aeroplane, ("air", "road", "field")),
    "bicycle": (vehicles.bicycle, ("road", "field", "yard")),
    "bird": (animals.bird, ("air", "field", "water")),
    "boat": (vehicles.boat, ("water",)),
    "bottle": (indoor.bottle, ("room",)),
    "bus": (vehicles.bus, ("road",)),
    "car": (vehicles.car, ("road", "yard")),
    "cat": (pets.cat, ("room", "yard")),
    "chair": (indoor.chair, ("room",)),
    "cow": (animals.cow, ("field",)),
    "diningtable": (indoor.diningtable, ("room",)),
    "dog": (pets.dog, ("field", "room", "road", "sand")),
    "horse": (animals.horse, ("field", "sand")),
    "motorbike": (vehicles.motorbike, ("road", "yard")),
    "person": (people.person, ("road", "room", "field")),
    "pottedplant": (indoor.pottedplant, ("room", "yard")),
    "sheep": (animals.sheep, ("field",)),
    "sofa": (indoor.sofa, ("room",)),
    "train": (vehicles.train, ("road", "field")),
    "tvmonitor": (indoor.tvmonitor, ("room",)),
}
# Close-ups, which the lower edge of the image cuts off.
PORTRAITS: dict[str, Draw] = {
    "cat": pets.cat_portrait,
    "dog": pets.dog_portrait,
    "person": people.person_portrait,
}
ANYWHERE = ("field", "road", "water", "sand", "snow", "yard", "room")
COMPANIONS_INDOORS = (
    *("person", "person", "chair", "chair", "bottle", "diningtable"),
    *("sofa", "tvmonitor", "pottedplant", "cat", "dog"),
)
COMPANIONS_OUTDOORS = (
    *("person", "person", "person", "car", "car", "bicycle", "bird", "boat"),
    *("bus", "cow", "dog", "horse", "motorbike", "sheep", "aeroplane"),
)


class Annotation(NamedTuple):
    """One object: its class, its box (left, top, right, bottom; from 1) and VOC's flags."""

    name: str
    box: tuple[int, int, int, int]
    truncated: bool
    occluded: bool
    difficult: bool


class Scene(NamedTuple):
    """An image [height, width, 3], its class mask [height, width], both uint8, and its objects."""

    image: NDArray[np.uint8]
    mask: NDArray[np.uint8]
    objects: tuple[Annotation, ...]


class Posed(NamedTuple):
    """An object where it will be drawn, in pixels, y downwards."""

    name: str
    shape: Shape
    airborne: bool


def compose(rng: Random, subject: str) -> Scene:
    """Draw a scene about `subject`, a VOC class; its sides are 84 to 160 pixels long."""
    height, width = int(rng.integers(84, 121)), int(rng.integers(112, 161))
    if rng.random() < 0.3:
        height, width = width, height
    _, habitats = KINDS[subject]
    habitat = str(rng.choice(habitats if rng.random() < 0.5 else ANYWHERE))
    light = rng.uniform(-1, 1)
    picture = backdrop(rng, height, width, habitat, light)
    posed = [_pose(rng, subject, rng.uniform(0.4, 0.85), height, width, habitat)]
    for name in _companions(rng, subject, habitat):
        posed.append(_pose(rng, name, 0.02 + 0.3 * rng.random() ** 2, height, width, habitat))
    posed.sort(key=lambda one: float(bounds(one.shape)[1][1]))  # what stands lower is nearer
    owner = np.zeros((height, width), np.uint8)
    footprints = [_draw(rng, picture, one, light) for one in posed]
    for number, footprint in enumerate(footprints, start=1):
        owner[footprint] = number
    if rng.random() < 0.35:
        plain = np.ones((height, width))
        owner[lay(picture, clutter(rng, height, width), rng, light, plain)] = 0
    mask, objects = _annotate(owner, posed, [int(one.sum()) for one in footprints])
    return Scene(_photograph(rng, picture), mask, objects)


def _companions(rng: Random, subject: str, habitat: str) -> list[str]:
    """Up to two classes beside the subject; a dog and an aeroplane seldom meet."""
    likely = COMPANIONS_INDOORS if habitat == "room" else COMPANIONS_OUTDOORS
    names = [str(name) for name in rng.choice(likely, rng.choice(3, p=[0.45, 0.38, 0.17]))]
    if {"dog", "aeroplane"} <= {subject, *names} and rng.random() < 0.8:
        return ["person" if name in ("dog", "aeroplane") else name for name in names]
    return names


def _pose(rng: Random, name: str, size: float, height: int, width: int, habitat: str) -> Posed:
    """An object whose bounding box is at most `size` of the image, in it or partly outside."""
    large = size > 0.3
    portrait = large and name in PORTRAITS and rng.random() < 0.35
    airborne = name in ("aeroplane", "bird") and rng.random() < (0.95 if habitat == "air" else 0.35)
    shape = (PORTRAITS[name] if portrait else KINDS[name][0])(rng)
    low, high = bounds(shape)
    wide, tall = high - low
    fit = np.sqrt(size * height * width / (wide * tall))
    scale = min(fit, 1.12 * width / wide, 1.08 * height / tall)
    x = width * (0.5 + rng.choice((-1, 1)) * rng.uniform(0.15, 0.45))
    if large:
        x = width / 2 + rng.uniform(-0.5, 0.5) * max(width - scale * wide, 0.3 * scale * wide)
    base = height * (rng.uniform(0.56, 0.72) + 0.48 * np.sqrt(size))  # larger is nearer: lower
    if portrait:
        base = height + 0.02 * scale * tall
    elif airborne:
        room = max(height - scale * tall, 0.1 * scale * tall)
        base = (height + scale * tall) / 2 + rng.uniform(-0.5, 0.3) * room
    stretch, lean = rng.uniform(0.9, 1.1), rng.uniform(-0.06, 0.06)
    across = stretch * (-1 if rng.random() < 0.5 else 1)
    parts = []
    for colour, outline in shape:
        right = scale * (outline[:, 0] - (low[0] + high[0]) / 2)
        up = scale * (outline[:, 1] - low[1])
        points = np.stack([x + across * right + lean * up, base - up / stretch], axis=1)
        parts.append(Part(colour, points))
    return Posed(name, parts, airborne)


def _draw(rng: Random, picture: Picture, posed: Posed, light: float) -> NDArray[np.bool_]:
    height, width, _ = picture.shape
    if not posed.airborne:
        (left, _), (right, bottom) = bounds(posed.shape)
        rx, ry = 0.55 * (right - left), 0.03 * height + 1
        cast_shadow(picture, (left + right) / 2, bottom, rx, ry)
    texture = 1 + rng.uniform(0.04, 0.2) * fractal(rng, height, width, rng.uniform(3, 12))
    return lay(picture, posed.shape, rng, light, texture)


def _photograph(rng: Random, picture: Picture) -> NDArray[np.uint8]:
    """The picture as a camera takes it: uneven light, exposure, a colour cast, contrast, noise."""
    height, width, _ = picture.shape
    across = 1 + rng.uniform(-0.2, 0.2) * np.linspace(-1, 1, width)[None, :, None]
    down = rng.uniform(-0.2, 0.2) * np.linspace(-1, 1, height)[:, None, None]
    seen = picture * (across + down) * rng.uniform(0.78, 1.22) * rng.uniform(0.93, 1.07, 3)
    seen = 110 + rng.uniform(0.9, 1.35) * (seen - 110)
    seen += rng.uniform(2, 14) * (rng.random(seen.shape) - 0.5)
    return np.clip(np.rint(seen), 0, 255).astype(np.uint8)


def _annotate(
    owner: NDArray[np.uint8], posed: list[Posed], drawn: list[int]
) -> tuple[NDArray[np.uint8], tuple[Annotation, ...]]:
    """Class mask and annotations. Borders and difficult (tiny or mostly hidden) objects are void.

    `owner` [height, width] has the number of the object that each pixel shows, from 1; `drawn` the
    pixels of each object before others hid some. Less than a dozen pixels are no object.
    """
    height, width = owner.shape
    grey = Image.fromarray(owner)
    highest, lowest = (np.asarray(grey.filter(rank(3))) for rank in (MaxFilter, MinFilter))
    border = highest != lowest
    values, objects = np.zeros(len(posed) + 1, np.uint8), []
    for number, (one, full) in enumerate(zip(posed, drawn, strict=True), start=1):
        own = owner == number
        visible = int(own.sum())
        if visible < 12:
            continue
        difficult = bool((own & ~border).sum() < 0.006 * owner.size or visible < 0.3 * full)
        values[number] = VOID if difficult else VOC.names.index(one.name) + 1
        low, high = bounds(one.shape)
        outside = low[0] < -1 or low[1] < -1 or high[0] > width + 1 or high[1] > height + 1
        (top, *_, bottom), (left, *_, right) = (
            np.flatnonzero(own.any(axis)) + 1 for axis in (1, 0)
        )
        box = (int(left), int(top), int(right), int(bottom))
        objects.append(Annotation(one.name, box, bool(outside), visible < 0.95 * full, difficult))
    return np.where(border, np.uint8(VOID), values[owner]), tuple(objects)
