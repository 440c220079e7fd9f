"""The colours of a toy scene: RGB on a scale of 0 to 255."""

import numpy as np
from numpy.typing import NDArray

Random = np.random.Generator
Colour = NDArray[np.float64]  # [3]


def rgb(red: float, green: float, blue: float) -> Colour:
    """The colour with these components."""
    return np.array([red, green, blue], np.float64)


DARK, PALE, GLASS, PINK = rgb(34, 33, 36), rgb(226, 224, 218), rgb(88, 112, 132), rgb(212, 148, 142)
COATS = np.array(
    [(150, 104, 62), (92, 62, 42), (52, 47, 46), (222, 214, 200), (196, 152, 98), (132, 128, 126)]
)


def tone(colour: Colour, factor: float) -> Colour:
    """The colour darker (`factor` below 1) or lighter."""
    return np.clip(colour * factor + (8 if factor > 1 else 0), 0, 255)


def paint(rng: Random) -> Colour:
    """A colour of things people make: any hue, vivid or dull, dark or light."""
    hue = rng.uniform(0, 255, 3)
    return rng.uniform(40, 235) + rng.uniform(0.05, 0.7) * (hue - hue.mean())


def coat(rng: Random) -> Colour:
    """A colour of fur, hide or feathers."""
    return COATS[rng.integers(len(COATS))] * rng.uniform(0.75, 1.15) * rng.uniform(0.94, 1.06, 3)
