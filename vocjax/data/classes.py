"""The classes of a data set: their names, and the colours of its masks."""

from typing import NamedTuple

import numpy as np

from vocjax.errors import UserError

VOID = 255  # of a mask: a pixel that counts for nothing
MOST = 254  # classes: 0 is background

# VOC's colours, uint8 [256, 3]: the bits of an index, lowest first, go to R, G and B in turn.
_BITS = np.arange(256)[:, None] >> np.arange(3)
PALETTE = np.asarray(sum(((_BITS >> 3 * k) & 1) << (7 - k) for k in range(3)), np.uint8)
PALETTE.setflags(write=False)


class Classes(NamedTuple):
    """The classes of a data set: index k + 1 of a mask is `names[k]`, and column k of `labels`.

    Index 0 is background and 255 void, which are no classes and have no name here. `palette`,
    uint8 [256, 3], is the colour of each index of a mask.
    """

    names: tuple[str, ...]
    palette: np.ndarray = PALETTE


VOC = Classes(
    (
        "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow",
        "diningtable", "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa",
        "train", "tvmonitor",
    )
)  # fmt: skip


def check_names(names: tuple[str, ...], where: str) -> None:
    """Raise `UserError` unless the names of classes are 0 to 254, each once and none empty.

    `where` says in the message where the names come from.
    """
    if len(names) > MOST:
        raise UserError(
            f"{where} names {len(names)} classes; a mask of one byte a pixel has room for {MOST} "
            "beside background and void. Merge classes, or leave some out."
        )
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None or "" in names:
        what = f"names {twice!r} twice" if twice else "has an empty name"
        raise UserError(f"{where} {what}; each class has a name of its own.")
