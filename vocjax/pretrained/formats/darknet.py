"""Darknet's `.weights`: a header, then float32 numbers in the order of the network's layers.

Format: `load_weights_upto` in Darknet's parser.c (Redmon 2016).
"""

import struct
from pathlib import Path

import numpy as np

NUMBERS = "darknet numbers"  # the name of the one array of such a file
VERSIONS = range(1000)  # larger ones have another meaning in Darknet


def has_header(start: bytes) -> bool:
    """Return whether a file's first bytes can be Darknet's version: major, minor and revision."""
    return len(start) >= 12 and all(part in VERSIONS for part in struct.unpack("<3i", start[:12]))


def read(path: Path) -> dict[str, np.ndarray]:
    """Return all numbers as one array [numbers] float32; raises ValueError for a cut-off file."""
    data = path.read_bytes()
    major, minor, _ = struct.unpack("<3i", data[:12])
    # Next comes the count of images that the network has seen, in 64 bits since version 0.2.
    start = 12 + (8 if 10 * major + minor >= 2 else 4)
    if len(data) <= start or (len(data) - start) % 4:
        raise ValueError(
            f"it has {len(data) - start} bytes after its header of {start}, expected float32 "
            "numbers of 4 bytes each"
        )
    return {NUMBERS: np.frombuffer(data, "<f4", offset=start)}
