"""Image files as people have them, some of which Pillow can't write."""

import io
import zlib
from typing import Any

import numpy as np
from PIL import Image

GREY, RGB = 0, 2  # colour types of PNG


def encoded(picture: Image.Image | np.ndarray, kind: str = "PNG", **options: Any) -> bytes:
    if isinstance(picture, np.ndarray):
        picture = Image.fromarray(picture)
    file = io.BytesIO()
    picture.save(file, kind, **options)
    return file.getvalue()


def png(rows: list[bytes], width: int, bits: int, colour: int) -> bytes:
    """A PNG of these rows of bytes, unfiltered, of any number of bits a value."""
    header = (
        width.to_bytes(4, "big") + len(rows).to_bytes(4, "big") + bytes([bits, colour, 0, 0, 0])
    )
    content = b"\x89PNG\r\n\x1a\n"
    for kind, data in (
        (b"IHDR", header),
        (b"IDAT", zlib.compress(b"".join(b"\0" + row for row in rows))),
        (b"IEND", b""),
    ):
        crc = zlib.crc32(kind + data).to_bytes(4, "big")
        content += len(data).to_bytes(4, "big") + kind + data + crc
    return content


def oriented(orientation: Any) -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return exif
