"""Reads image files of any common format, upright, as 8-bit RGB.

One rule for each kind of pixel, in preparation as in prediction: grey is repeated in the three
channels, CMYK converted without a profile, transparency laid over white, 16 bits cut to their
higher byte, floats from 0 to 1 multiplied by 255. Of several frames the first is read.
"""

import io
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import numpy as np
from PIL import Image, ImageFile, features

from vocjax.bounds import IMAGE, PIXELS, SCANS, SIDE, read_bytes
from vocjax.data.scans import counted_scans, packed_bytes, tiled_numbers
from vocjax.errors import UserError

# What browsers and cameras write, by the first bytes. Pillow reads more formats, some of them by
# starting other programs.
SIGNATURES = {
    "JPEG": rb"\xff\xd8\xff",
    "PNG": rb"\x89PNG\r\n\x1a\n",
    "WEBP": rb"RIFF.{4}WEBP",
    "GIF": rb"GIF8[79]a",
    "BMP": rb"BM.{12}[\x0c\x28\x34\x38\x40\x6c\x7c]\0\0\0",  # the last four: the header's length
    "TIFF": rb"II[*+]\0|MM\0[*+]",
    "AVIF": rb".{4}ftyp(?:avi[fs]|(?:mif1|msf1|miaf).{4}(?:.{4})*?avi[fs])",
    "HEIF": rb".{4}ftyp(?:hei[cxms]|hev[cxms]|mif1|msf1)",
}
_NAMES = "JPEG, PNG, WEBP, GIF, BMP, TIFF, AVIF or HEIC"
# Of names of image files, in small letters. AVIF and HEIC may need plug-ins; people who have none
# should hear of their images.
ENDINGS = {
    ".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff", ".avif",
    ".heic", ".heif",
}  # fmt: skip
HEAD = 64  # bytes of a file that its signature needs
_ORIENTATION = 0x0112  # the tag of EXIF and TIFF


def image_bytes(path: Path) -> bytes:
    """Return what an image file holds; `UserError` for one that is larger than any image."""
    try:
        return read_bytes(path, IMAGE)
    except ValueError as error:
        raise UserError(f"{path} is no image: {error}. Remove it.") from error


def is_image(head: bytes) -> bool:
    """Tell by the first 64 bytes of a file whether it has one of the formats of `SIGNATURES`."""
    return _format(head) is not None


def read_photo(file: Path | IO[bytes]) -> np.ndarray:
    """Read an image file, upright, as uint8 [height, width, 3].

    All threads share the warning filters that it sets, so only one may call it at a time. Raises
    `UserError` for a file that is damaged or of no format in `SIGNATURES`, for pixels that have no
    place in 8 bits, and for more pixels than Pillow takes for harmless.
    """
    with opened(file) as picture:
        return upright(_rgb(picture), turned(picture))


def stored_image(content: bytes, path: Path) -> tuple[bytes, tuple[int, int]]:
    """Return the bytes of an image that a prepared data set keeps, and their height and width.

    A whole, upright JPEG or PNG of 8 bits, RGB or grey, whose tags can be read, stays as it is;
    anything else becomes a PNG of what `read_photo` reads. Raises `UserError`, which names `path`,
    as `read_photo` does.
    """
    try:
        with opened(io.BytesIO(content)) as picture:
            plain = _is_plain(picture) and _opens_silently(content)
            picture.load()
            if plain and turned(picture) == 1:
                return content, (picture.height, picture.width)
            pixels = upright(_rgb(picture), turned(picture))
    except UserError as error:
        raise UserError(f"{path}: {error}") from error
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG", compress_level=1)  # half the time, a tenth larger
    return file.getvalue(), pixels.shape[:2]


def stored_pixels(content: bytes, channels: int) -> np.ndarray:
    """Decode what a prepared data set keeps, an image (3 channels) or a mask (1).

    Returns uint8 [height, width, channels]. Threads may share it.
    """
    picture = Image.open(io.BytesIO(content), formats=("JPEG", "PNG"))
    _check_cost(content, picture)
    return _rgb(picture) if channels == 3 else np.asarray(picture)[..., None]


def orientation(content: bytes) -> int:
    """Return how the image in a file is turned, 1 to 8 as in EXIF; 1, upright, where none says."""
    with opened(io.BytesIO(content)) as picture:
        return turned(picture)


def turned(picture: Image.Image) -> int:
    """Return how the pixels of an open image are turned; 1 after Pillow turned them, as in TIFF."""
    try:  # of its tags this one alone is decoded, so that no other can be wrong
        value = picture.getexif().get(_ORIENTATION, 1)
    except Exception:  # broken tags fail anywhere in Pillow
        return 1
    return int(value) if value in range(1, 9) else 1


def stored_mode(picture: ImageFile.ImageFile) -> str:
    """Return Pillow's name of the pixels in a file that isn't decoded yet, with their bits.

    For one that hides them, as WEBP does, it is the mode.
    """
    if not picture.tile:
        return picture.mode
    stored = picture.tile[0].args
    return str(stored[0] if isinstance(stored, tuple) else stored)


def upright(pixels: np.ndarray, orientation: int) -> np.ndarray:
    """Turn and mirror pixels [height, width, ...] that are stored with this orientation."""
    if orientation >= 5:
        pixels = pixels.swapaxes(0, 1)
    down, across = orientation in (3, 4, 7, 8), orientation in (2, 3, 6, 7)
    return np.ascontiguousarray(pixels[:: -1 if down else 1, :: -1 if across else 1])


@contextmanager
def opened(file: Path | IO[bytes]) -> Iterator[ImageFile.ImageFile]:
    """Open an image file; what fails in the block is a `UserError` about the file."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about oddities that Pillow can read
            content = image_bytes(file) if isinstance(file, Path) else file.read()
            kind = _format(content[:HEAD])
            _plug_in(kind)
            with Image.open(io.BytesIO(content), formats=[kind] if kind else []) as picture:
                _check_cost(content, picture)
                yield picture
    except UserError:
        raise
    except Image.DecompressionBombError as error:  # of Pillow, before its size is known here
        raise UserError(
            f"the image has more than {PIXELS} pixels; shrink it and try again."
        ) from error
    except (FileNotFoundError, IsADirectoryError, PermissionError) as error:
        raise UserError(f"the file can't be opened: {error.strerror}.") from error
    except Exception as error:  # a damaged file can fail anywhere in Pillow
        raise UserError(
            f"the file can't be read as an image; it must be a whole {_NAMES}. If other programs "
            "show it, save it there as a PNG of 8 bits."
        ) from error


def _check_cost(content: bytes, picture: ImageFile.ImageFile) -> None:
    """Raise `UserError` for an image that would take minutes or gigabytes to decode."""
    if max(picture.size) > SIDE or picture.width * picture.height > PIXELS:
        raise UserError(
            f"the image has {picture.width} x {picture.height} pixels, expected {PIXELS} in all "
            f"and {SIDE} a side at most; shrink it and try again."
        )
    if (tiled := tiled_numbers(picture)) > 4 * PIXELS:  # channels
        raise UserError(
            f"the image has tiles of {tiled} numbers in all, expected {4 * PIXELS} at most. Open "
            "it in another program and save it as a PNG."
        )
    packed = packed_bytes(picture)
    scans = counted_scans(content, picture) if packed <= len(content) else 0
    if scans > SCANS or packed > len(content):
        raise UserError(
            f"the image would take too long to decode: its {len(content)} bytes hold {scans} scans "
            f"and {packed} bytes of parts. Open it in another program and save it as a PNG."
        )


def _format(head: bytes) -> str | None:
    """Return Pillow's name of a file's format."""
    kinds = (k for k, signature in SIGNATURES.items() if re.match(signature, head, re.DOTALL))
    return next(kinds, None)


def _plug_in(kind: str | None) -> None:
    """Make Pillow read HEIC, and AVIF where it is built without, if the plug-in is installed."""
    try:
        if kind == "HEIF":
            import pillow_heif

            pillow_heif.register_heif_opener()
        if kind == "AVIF" and not features.check("avif"):
            import pillow_avif  # noqa: F401 (its import registers it)
    except ImportError as error:
        name, package = (
            ("HEIC", "pillow-heif") if kind == "HEIF" else ("AVIF", "pillow-avif-plugin")
        )
        raise UserError(
            f"the image is a {name} file, which Pillow reads with a plug-in: pip install "
            f"{package}. Or convert it to JPEG or PNG."
        ) from error


def _is_plain(picture: ImageFile.ImageFile) -> bool:
    """Return whether every decoder reads the file as `_rgb` does; asked before it is decoded."""
    kept = picture.format in ("JPEG", "MPO", "PNG") and "transparency" not in picture.info
    return kept and stored_mode(picture) in ("RGB", "L")


def _opens_silently(content: bytes) -> bool:
    """Return whether Pillow warns of nothing, of broken tags say, when it opens what is stored.

    `stored_pixels` can't silence it, as threads share the filters of warnings.
    """
    with warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("always")
        Image.open(io.BytesIO(content), formats=("JPEG", "PNG")).close()
    return not heard


def _rgb(picture: Image.Image) -> np.ndarray:
    """Decode the pixels as they are stored, uint8 [height, width, 3]."""
    if picture.mode == "F" or picture.mode.startswith("I"):
        picture = Image.fromarray(_eight_bits(np.asarray(picture)))
    elif picture.has_transparency_data:
        drawn = picture.convert("RGBA")
        picture = Image.alpha_composite(Image.new("RGBA", drawn.size, "white"), drawn)
    return np.asarray(picture if picture.mode == "RGB" else picture.convert("RGB"))


def _eight_bits(values: np.ndarray) -> np.ndarray:
    """Scale grey [height, width] of 16 or 32 bits, or floats, to uint8."""
    least, most = values.min(), values.max()
    if values.dtype.kind == "f":
        expected = "floats from 0 to 1"
        if least >= 0 and most <= 1:
            return np.round(values * 255).astype(np.uint8)
    else:
        # Where none reaches the higher byte all would be black: another range is meant.
        expected = "16 or 32 bits from 0 to 65535, the largest above 255"
        if least >= 0 and (most == 0 or 256 <= most < 65536):
            return (values >> 8).astype(np.uint8)
    raise UserError(
        f"the image has values from {least:g} to {most:g}; expected {expected}. Save it with 8 "
        "bits, from 0 for black to 255 for white."
    )
