"""Image files of people, which the explorer and `vocjax predict` read."""

import io

import numpy as np
import pytest
from PIL import Image

from vocjax.data.photo import read_photo
from vocjax.errors import UserError

ORIENTATION, TURNED = 0x0112, 6  # EXIF: shown turned by a quarter
PHOTO = np.linspace(0, 255, 40 * 30 * 3).reshape(40, 30, 3).astype(np.uint8)


def file_of(picture, kind="PNG", **options):
    file = io.BytesIO()
    picture.save(file, kind, **options)
    return file.getvalue()


def read(file):
    return read_photo(io.BytesIO(file))


def test_every_kind_of_image_is_read():
    picture = Image.fromarray(PHOTO)
    for kind in ("PNG", "BMP", "TIFF"):
        np.testing.assert_array_equal(read(file_of(picture, kind)), PHOTO)
    for kind in ("JPEG", "WEBP"):
        decoded = read(file_of(picture, kind, quality=95)).astype(int)
        assert np.abs(decoded - PHOTO).mean() < 4
    exif = Image.Exif()
    exif[ORIENTATION] = TURNED
    turned = picture.transpose(Image.Transpose.ROTATE_90)
    np.testing.assert_array_equal(read(file_of(turned, exif=exif)), PHOTO)
    np.testing.assert_array_equal(read(file_of(picture.convert("RGBA"))), PHOTO)
    palette = picture.quantize(200)
    transparent = file_of(palette, transparency=bytes(range(200)))
    np.testing.assert_array_equal(read(transparent), read(file_of(palette)))
    grey = PHOTO[..., 0]
    sixteen = Image.fromarray(grey.astype(np.uint16) * 256 + 7)
    np.testing.assert_array_equal(read(file_of(sixteen)), read(file_of(Image.fromarray(grey))))


def test_files_that_are_no_image():
    jpeg, png, postscript = (file_of(Image.fromarray(PHOTO), k) for k in ("JPEG", "PNG", "EPS"))
    broken = [jpeg[: len(jpeg) // 2], png[: len(png) // 2], jpeg[:2], png[:33], b"\0" * 1000]
    for file in (b"", b"text", b"GIF89a", b"<svg/>", postscript, *broken):
        with pytest.raises(UserError, match="can't be read as an image"):
            read(file)


@pytest.mark.parametrize("most", [500, 1000])  # Pillow fails for twice as many, warns for fewer
def test_decompression_bombs(most, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", most)
    with pytest.raises(UserError, match=f"more than {most} pixels"):
        read(file_of(Image.fromarray(PHOTO)))
