"""Toy scenes: a backdrop, one to three objects of the VOC classes, clutter, light and noise."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from vocjax.data.toy.backdrops import INDOORS, backdrop, clutter
from vocjax.data.toy.parts import Part, Random, Shape
from vocjax.data.toy.render import Picture, bounds, cast_shadow, fractal, lay
from vocjax.data.toy.shapes import PORTRAITS, SHAPES

CLASSES = tuple(SHAPES)
VOID = 255

HABITATS = {
    "aeroplane": ("air", "road", "field"), "bicycle": ("road", "field", "yard"), "bird": ("air", "field", "water"),
    "boat": ("water",), "bottle": ("room",), "bus": ("road",), "car": ("road", "yard"), "cat": ("room", "yard"),
    "chair": ("room",), "cow": ("field",), "diningtable": ("room",), "dog": ("field", "room", "road", "sand"),
    "horse": ("field", "sand"), "motorbike": ("road", "yard"), "person": ("road", "room", "field"),
    "pottedplant": ("room", "yard"), "sheep": ("field",), "sofa": ("room",), "train": ("road", "field"), "tvmonitor": ("room",),
}  # fmt: skip
ANYWHERE = ("field", "road", "water", "sand", "snow", "yard", "room")
COMPANIONS = {
    True: ("person", "person", "chair", "chair", "bottle", "diningtable", "sofa", "tvmonitor", "pottedplant", "cat", "dog"),
    False: ("person", "person", "person", "car", "car", "bicycle", "bird", "boat", "bus", "cow", "dog", "horse", "motorbike", "sheep", "aeroplane"),
}  # fmt: skip


@dataclass(frozen=True)
class Annotation:
    """One object: its class, its `box` (left, top, right, bottom; pixels counted from 1) and VOC's flags."""

    name: str
    box: tuple[int, int, int, int]
    truncated: bool
    occluded: bool
    difficult: bool


@dataclass(frozen=True)
class Scene:
    """An image [height, width, 3] and its class mask [height, width], uint8, with what is in it."""

    image: NDArray[np.uint8]
    mask: NDArray[np.uint8]
    objects: tuple[Annotation, ...]


def compose(rng: Random, subject: str) -> Scene:
    """Draw a scene about a `subject` of the VOC classes."""
    long, short = rng.integers(112, 161), rng.integers(84, 121)
    height, width = (long, short) if rng.random() < 0.3 else (short, long)
    habitat = str(rng.choice(HABITATS[subject] if rng.random() < 0.5 else ANYWHERE))
    light = rng.uniform(-1, 1)
    picture = backdrop(rng, height, width, habitat, light)
    ids = np.zeros((height, width), np.uint8)
    names, footprints, truncated = [], [], []
    posed = [pose(rng, subject, rng.uniform(0.4, 0.85), height, width, habitat)]
    for name in companions(rng, subject, habitat in INDOORS):
        posed.append(pose(rng, name, 0.02 + 0.3 * rng.random() ** 2, height, width, habitat))
    for name, shape, airborne in sorted(posed, key=lambda one: bounds(one[1])[1][1]):  # far to near
        low, high = bounds(shape)
        if not airborne:
            cast_shadow(
                picture,
                (low[0] + high[0]) / 2,
                high[1],
                0.55 * (high[0] - low[0]),
                0.03 * height + 1,
            )
        texture = 1 + rng.uniform(0.04, 0.2) * fractal(rng, height, width, rng.uniform(3, 12))
        covered = lay(picture, shape, rng, light, texture)
        names.append(name)
        ids[covered] = len(names)
        footprints.append(covered.sum())
        truncated.append(bool(low.min() < -1 or high[0] > width + 1 or high[1] > height + 1))
    if rng.random() < 0.35:
        ids[lay(picture, clutter(rng, height, width), rng, light, np.ones((height, width)))] = 0
    return Scene(photograph(rng, picture), *annotate(ids, names, footprints, truncated))


def companions(rng: Random, subject: str, indoors: bool) -> list[str]:
    """Up to two classes for the scene beside its subject; a dog and an aeroplane seldom meet."""
    names = [
        str(name) for name in rng.choice(COMPANIONS[indoors], rng.choice(3, p=[0.45, 0.38, 0.17]))
    ]
    meets = {"dog", "aeroplane"} <= {subject, *names} and rng.random() < 0.8
    return ["person" if meets and name in ("dog", "aeroplane") else name for name in names]


def pose(
    rng: Random, name: str, size: float, height: int, width: int, habitat: str
) -> tuple[str, Shape, bool]:
    """A shape of the class in pixels, `size` of the image in its bounding box, and whether it is in the air."""
    portrait = name in PORTRAITS and size > 0.25 and rng.random() < 0.35
    shape = (PORTRAITS if portrait else SHAPES)[name](rng)
    low, high = bounds(shape)
    spread = high - low
    scale = np.sqrt(size * height * width / (spread[0] * spread[1]))
    scale = min(scale, 1.12 * width / spread[0], 1.08 * height / spread[1])
    stretch = rng.uniform(0.9, 1.1)
    across = scale * stretch * (-1 if rng.random() < 0.5 else 1)
    up, lean = scale / stretch, rng.uniform(-0.06, 0.06) * scale
    wide, tall = scale * spread
    airborne = name in ("aeroplane", "bird") and rng.random() < (0.95 if habitat == "air" else 0.35)
    if size > 0.3:
        x = width / 2 + rng.uniform(-0.5, 0.5) * max(width - wide, 0.3 * wide)
    else:
        x = width * (0.5 + rng.choice((-1, 1)) * rng.uniform(0.15, 0.45))
    if portrait:
        base = height + 0.02 * tall
    elif airborne:
        base = height / 2 + tall / 2 + rng.uniform(-0.5, 0.3) * max(height - tall, 0.1 * tall)
    else:
        base = height * (rng.uniform(0.56, 0.72) + 0.48 * np.sqrt(size))
    centre = (low[0] + high[0]) / 2
    parts = []
    for outline, colour in shape:
        right, above = outline[:, 0] - centre, outline[:, 1] - low[1]
        parts.append(
            Part(np.stack([x + right * across + above * lean, base - above * up], axis=1), colour)
        )
    return name, parts, airborne


def photograph(rng: Random, picture: Picture) -> NDArray[np.uint8]:
    """The picture [height, width, 3] as a camera takes it: exposure, colour cast, uneven light, noise."""
    height, width, _ = picture.shape
    ramp = np.linspace(-1, 1, width)[None] * rng.uniform(-0.2, 0.2)
    ramp = ramp + np.linspace(-1, 1, height)[:, None] * rng.uniform(-0.2, 0.2)
    seen = picture * (1 + ramp)[..., None] * rng.uniform(0.78, 1.22) * rng.uniform(0.93, 1.07, 3)
    contrast = rng.uniform(0.9, 1.35)
    seen = (seen - 110) * contrast + 110
    seen += rng.uniform(2, 14) * (rng.random(seen.shape) - 0.5)
    return np.clip(np.rint(seen), 0, 255).astype(np.uint8)


def annotate(
    ids: NDArray[np.uint8], names: list[str], footprints: list[int], truncated: list[bool]
) -> tuple[NDArray[np.uint8], tuple[Annotation, ...]]:
    """The class mask, void along every border, and the annotations, from object numbers per pixel.

    As in VOC an object that is small or mostly hidden is difficult, and void throughout.
    """
    classes, objects = np.zeros(len(names) + 1, np.uint8), []
    for number, name in enumerate(names, start=1):
        rows, columns = np.nonzero(ids == number)
        if len(rows) < 12:
            ids[rows, columns] = 0
            continue
        shown = len(rows) / footprints[number - 1]
        difficult = bool(len(rows) < 0.012 * ids.size or shown < 0.3)
        classes[number] = VOID if difficult else CLASSES.index(name) + 1
        box = (columns.min() + 1, rows.min() + 1, columns.max() + 1, rows.max() + 1)
        left, top, right, bottom = map(int, box)
        objects.append(
            Annotation(
                name, (left, top, right, bottom), truncated[number - 1], shown < 0.95, difficult
            )
        )
    grey = Image.fromarray(ids)
    border = np.asarray(grey.filter(ImageFilter.MaxFilter(3))) != grey.filter(
        ImageFilter.MinFilter(3)
    )
    return np.where(border, np.uint8(VOID), classes[ids]), tuple(objects)
