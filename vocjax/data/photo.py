"""Reads image files of any common format and orientation."""

import warnings
from pathlib import Path
from typing import IO

import numpy as np
from PIL import Image, ImageOps

from vocjax.errors import UserError

# What browsers and cameras write. Pillow reads more, some of it by starting other programs.
FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF")


def read_photo(file: Path | IO[bytes]) -> np.ndarray:
    """Read an image file, upright, as uint8 [height, width, 3]; 16 bits are scaled to 8.

    All threads share the warning filters that it sets, so only one may call it at a time. Raises
    `UserError` for a file that is damaged or of no format in `FORMATS`, and for more pixels than
    Pillow takes for harmless.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about oddities that Pillow can read
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(file, formats=FORMATS) as picture:
                upright = ImageOps.exif_transpose(picture)
                if upright.mode.startswith("I;16"):  # Pillow would clip 16 bits instead
                    upright = Image.fromarray((np.asarray(upright) // 256).astype(np.uint8))
                return np.asarray(upright.convert("RGB"))
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise UserError(
            f"the image has more than {Image.MAX_IMAGE_PIXELS} pixels; shrink it and try again."
        ) from error
    except (FileNotFoundError, IsADirectoryError, PermissionError) as error:
        raise UserError(f"the file can't be opened: {error.strerror}.") from error
    except Exception as error:  # a damaged file can fail anywhere in Pillow
        raise UserError(
            f"the file can't be read as an image; it must be a whole {', '.join(FORMATS[:-1])} or "
            f"{FORMATS[-1]}."
        ) from error
