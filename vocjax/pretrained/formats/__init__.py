"""Weight files, read and written in the formats of other programs; nothing in a file is run."""

import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

from vocjax.errors import UserError, check_choice, naming
from vocjax.files import replacing
from vocjax.pretrained.formats import darknet, npz, safetensors, state_dict

Reader = Callable[[Path], dict[str, np.ndarray]]

WRITERS = {".npz": npz.write, ".safetensors": safetensors.write}
EXPECTED = (
    "a state dict or a checkpoint of torch (.pth, .pt, .ckpt), .safetensors, Keras's .h5, "
    ".weights.h5 or .keras, .npz, or Darknet's .weights"
)


def read(path: Path) -> dict[str, np.ndarray]:
    """Read a weight file's arrays by their foreign names; the content decides on the format.

    Floating-point arrays of any precision become float32, other arrays stay as they are. A file of
    Darknet's has no names: it becomes one array [numbers], `darknet.NUMBERS`, which
    `matching.match` cuts. Sizes are compared with the file's own size before anything is allocated.

    Raises `UserError` if there is no such file, its format is none of these, it has no weights, or
    it is truncated, damaged or hostile.
    """
    with naming(path):
        format_, reader = _format_of(path)
        return _read(path, format_, reader)


def _read(path: Path, format_: str, reader: Reader) -> dict[str, np.ndarray]:
    try:
        arrays = reader(path)
        if darknet.NUMBERS in arrays and reader is not darknet.read:
            raise UserError(f"it has an array {darknet.NUMBERS!r}, a name that no network has.")
        return arrays
    except UserError:  # a sound file, which has something other than weights
        raise
    except Exception as error:  # damage raises exceptions of zipfile, HDF5 and NumPy of any type
        reason = f"{error}" if isinstance(error, ValueError) else f"{type(error).__name__}: {error}"
        raise UserError(
            f"it can't be read as {format_}: {' '.join(reason.split())[:500]}. It is damaged, or "
            "not what it seems; get it again from where it was published, and compare its "
            "checksum with the published one."
        ) from error


def write(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Write float32 arrays by their names to a `.npz` or `.safetensors` file.

    Raises `UserError` for another ending, for a file that exists, or where none can be written.
    """
    check_choice(f"the ending of {path}", path.suffix, WRITERS)
    if path.exists():
        raise UserError(f"{path} exists; remove it, or name another file.")
    try:
        with replacing(path) as part, part.open("wb") as file:
            WRITERS[path.suffix](file, arrays)
    except OSError as error:
        raise UserError(
            f"{path} can't be written ({error.strerror}). Name a file in a folder that exists and "
            "has room."
        ) from error


def _format_of(path: Path) -> tuple[str, Reader]:
    """Return the name of a file's format and the function that reads it."""
    try:
        with path.open("rb") as file:
            start = file.read(512)
    except OSError as error:
        raise UserError(
            f"it can't be opened ({error.strerror}). Expected {EXPECTED}: name such a file."
        ) from error
    if not start:
        raise UserError(f"it is empty. Expected {EXPECTED}: get it again.")
    if start[8:9] == b"{":  # after a length, whose bytes can look like any other format
        return "safetensors", safetensors.read
    if start.startswith(b"PK\x03\x04"):
        return "a zip file of torch, NumPy or Keras", _read_zip
    if start.startswith(b"\x89HDF\r\n\x1a\n"):
        from vocjax.pretrained.formats import keras_h5  # loads the HDF5 library

        return "Keras's HDF5", keras_h5.read
    if start.startswith(state_dict.LEGACY_MAGIC):
        return "torch's state dict", state_dict.read_legacy
    if start[257:262] == b"ustar" or start.startswith(b"\x80"):
        raise UserError(
            f"it is a bare pickle, or a tar file as the first versions of torch wrote it, and "
            f"is not opened. Expected {EXPECTED}. If it is a state dict and you trust it, save it "
            "again with torch: torch.save(torch.load(old), new)."
        )
    if darknet.has_header(start):
        return "Darknet's weights", darknet.read
    raise UserError(
        f"it begins with {start[:8]!r}, as no weight file does. Expected {EXPECTED}: name such "
        "a file. A web page that was saved instead of the file looks like this, too."
    )


def _read_zip(path: Path) -> dict[str, np.ndarray]:
    with zipfile.ZipFile(path) as archive:
        names = archive.namelist()
    if any(name.endswith("/data.pkl") for name in names):
        return state_dict.read(path)
    if all(name.endswith(".npy") for name in names):
        return npz.read(path)
    if "model.weights.h5" in names:
        from vocjax.pretrained.formats import keras_h5  # loads the HDF5 library

        return keras_h5.read(path)
    raise UserError(
        f"it is a zip file with {', '.join(map(repr, names[:3]))}, none of them weights. "
        f"Expected {EXPECTED}."
    )
