"""Image files of people: any common format, any orientation, broken ones too."""

import warnings
from pathlib import Path
from typing import IO

import numpy as np
from PIL import Image, ImageOps

from vocjax.errors import UserError

# What browsers and cameras write. Pillow can do more, some of it by starting other programs.
FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF")


def read_photo(file: Path | IO[bytes]) -> np.ndarray:
    """Read an image file, upright, as uint8 [height, width, 3]; 16 bits are scaled to 8.

    Raises `UserError` for what isn't an image of `FORMATS`, is damaged, or has more pixels than
    Pillow takes for harmless. It sets warning filters for a moment, which all threads share, so
    only one may be in here.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of oddities that Pillow copes with
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(file, formats=FORMATS) as picture:
                upright = ImageOps.exif_transpose(picture)
                if upright.mode.startswith("I;16"):  # Pillow would clip 16 bits, not scale them
                    upright = Image.fromarray((np.asarray(upright) // 256).astype(np.uint8))
                return np.asarray(upright.convert("RGB"))
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise UserError(
            f"the image has more than {Image.MAX_IMAGE_PIXELS} pixels; shrink it and try again."
        ) from error
    except (FileNotFoundError, IsADirectoryError, PermissionError) as error:
        raise UserError(f"the file can't be opened: {error.strerror}.") from error
    except Exception as error:  # a damaged file fails wherever Pillow's reader happens to be
        raise UserError(
            f"the file can't be read as an image; it must be a whole {', '.join(FORMATS[:-1])} or "
            f"{FORMATS[-1]}."
        ) from error
