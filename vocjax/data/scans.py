"""How often a JPEG decoder would pass the pixels of a file, counted before anything is decoded."""

import math
import re

from PIL import ImageFile

# A marker within packed bytes: 255 followed by neither 0 (stuffed), 255 (fill) nor a restart.
_MARKER = re.compile(rb"\xff[\x01-\xcf\xd8-\xfe]")
_SCAN, _END, _ALONE = 0xDA, 0xD9, (0x01, 0xD8)  # the last have no length behind them
# Tags of TIFF: where strips and tiles begin, and the bytes of each; how they are packed.
_STARTS, _SIZES, _COMPRESSION = (273, 324), (279, 325), 259
_TILE, _TILE_STARTS, _SAMPLES, _PLANES = (322, 323), (324,), 277, 284
_JPEG_IN_TIFF = (6, 7)


def counted_scans(content: bytes, picture: ImageFile.ImageFile) -> int:
    """Return the scans of a JPEG, or the most of a part of a TIFF; 0 for what has none.

    `picture` is the content as Pillow opened it. What lies behind the end of a JPEG, as the film of
    a motion photo, is not its own.
    """
    if picture.format in ("JPEG", "MPO"):
        return _scans(content, 0, len(content))
    if picture.format != "TIFF" or picture.tag_v2.get(_COMPRESSION) not in _JPEG_IN_TIFF:  # type: ignore[attr-defined]
        return 0
    starts, sizes = _numbers(picture, _STARTS), _numbers(picture, _SIZES)
    return max(
        (_scans(content, at, at + n) for at, n in zip(starts, sizes, strict=False)), default=0
    )


def packed_bytes(picture: ImageFile.ImageFile) -> int:
    """Return the bytes of all strips and tiles of a TIFF, which can be the same ones; else 0."""
    return sum(_numbers(picture, _SIZES)) if picture.format == "TIFF" else 0


def tiled_numbers(picture: ImageFile.ImageFile) -> int:
    """Return the numbers in all tiles of a TIFF, which can be larger than the image; else 0."""
    if picture.format != "TIFF":
        return 0
    tags = picture.tag_v2  # type: ignore[attr-defined]
    samples = 1 if tags.get(_PLANES, 1) == 2 else tags.get(_SAMPLES, 1)  # 2: a tile has one channel
    return math.prod(_numbers(picture, _TILE)) * len(_numbers(picture, _TILE_STARTS)) * samples


def _numbers(picture: ImageFile.ImageFile, tags: tuple[int, ...]) -> list[int]:
    found = [picture.tag_v2.get(tag, ()) for tag in tags]  # type: ignore[attr-defined]
    return [n for part in found for n in (part if isinstance(part, tuple) else (part,))]


def _scans(content: bytes, start: int, end: int) -> int:
    """Count the scans of the JPEG in a part of a content, up to its end, as a decoder walks."""
    scans = 0
    while found := _MARKER.search(content, start, end):
        start, marker = found.end(), found.group()[1]
        if marker == _END:
            break
        scans += marker == _SCAN
        if marker not in _ALONE:
            start += max(2, int.from_bytes(content[start : start + 2], "big"))
    return scans
