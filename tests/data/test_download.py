import hashlib
import io
import re
import socket
import tarfile
from collections.abc import Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import numpy as np
import pytest

from vocjax.data import download
from vocjax.data.download import ARCHIVES, Archive
from vocjax.errors import UserError

CONTENT = np.random.default_rng(0).bytes(300_000)
MD5 = hashlib.md5(CONTENT).hexdigest()


class Handler(BaseHTTPRequestHandler):
    """/good resumes, /plain ignores Range, /cut stops halfway, /wrong lies, /endless goes on."""

    server: "Server"

    def do_GET(self):
        asked = self.headers["Range"]
        self.server.requests.append((self.path, asked))
        resumes = asked and self.path != "/plain"
        start = int(asked.removeprefix("bytes=").removesuffix("-")) if resumes else 0
        if self.path == "/endless":
            self.send_response(200)
            self.end_headers()
            with suppress(OSError):  # nobody listens any more
                while True:
                    self.wfile.write(CONTENT)
            return None
        if self.path not in ("/good", "/plain", "/cut", "/wrong"):
            return self.send_error(404)
        if start >= len(CONTENT):
            return self.send_error(416)
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(CONTENT) - start))
        self.end_headers()
        content = CONTENT[::-1] if self.path == "/wrong" else CONTENT
        self.wfile.write(content[start : len(CONTENT) // (2 if self.path == "/cut" else 1)])
        return None

    def log_message(self, *_):
        pass


class Server(ThreadingHTTPServer):
    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.requests: list[tuple[str, str | None]] = []

    def archive(self, *paths: str) -> Archive:
        base = f"http://127.0.0.1:{self.server_port}"
        return Archive("voc.tar", MD5, tuple(base + path for path in paths))


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with Server() as server:
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize(
    ("part", "paths", "requests"),
    [
        (None, ["/good"], [("/good", None)]),
        (None, ["/cut", "/good"], [("/cut", None), ("/good", "bytes=150000-")]),
        (None, ["/wrong", "/good"], [("/wrong", None), ("/good", None)]),
        (CONTENT[:1000], ["/plain"], [("/plain", "bytes=1000-")]),  # a server that cannot resume
        (CONTENT, ["/good"], [("/good", "bytes=300000-")]),
        (b"<html>login first</html>", ["/good"], [("/good", "bytes=24-"), ("/good", None)]),
    ],
)
def test_a_part_is_continued_if_it_is_good(
    server: Server, tmp_path: Path, capsys: pytest.CaptureFixture, part, paths, requests
):
    downloads = tmp_path / "downloads"
    if part is not None:
        downloads.mkdir()
        (downloads / "voc.tar.part").write_bytes(part)
    path = download.fetch(server.archive(*paths), downloads)
    assert path == downloads / "voc.tar"
    assert path.read_bytes() == CONTENT
    assert names(downloads) == ["voc.tar"]
    assert server.requests == requests
    output = capsys.readouterr()
    assert output.out == ""
    if part != CONTENT:
        assert f"downloading http://127.0.0.1:{server.server_port}{paths[-1]}" in output.err


def test_the_file_that_is_there_is_taken(server: Server, tmp_path: Path):
    (tmp_path / "voc.tar").write_bytes(CONTENT)
    assert download.fetch(server.archive("/good"), tmp_path).read_bytes() == CONTENT
    assert server.requests == []
    (tmp_path / "voc.tar").write_bytes(CONTENT[:-1])
    with pytest.raises(UserError, match=rf"voc\.tar has the md5 .*{MD5}"):
        download.fetch(server.archive("/good"), tmp_path)
    assert (tmp_path / "voc.tar").exists()  # it is the user's own


def test_a_failure_keeps_what_is_good_alone(server: Server, tmp_path: Path):
    with pytest.raises(UserError, match=f"has the md5 .*, not {MD5}"):
        download.fetch(server.archive("/wrong"), tmp_path)
    assert names(tmp_path) == []
    with pytest.raises(UserError, match="ended after 150000 of 300000 bytes"):
        download.fetch(server.archive("/cut"), tmp_path)
    assert names(tmp_path) == ["voc.tar.part"]


def test_dead_addresses_are_passed_over_and_listed(server: Server, tmp_path: Path):
    with socket.socket() as refusing:  # bound, but it does not listen
        refusing.bind(("127.0.0.1", 0))
        dead = f"http://127.0.0.1:{refusing.getsockname()[1]}/x"
        archive = server.archive("/missing", "/good")
        first = archive._replace(addresses=(dead, *archive.addresses))
        assert download.fetch(first, tmp_path / "a").read_bytes() == CONTENT
        none = archive._replace(addresses=(dead, *archive.addresses[:1]))
        with pytest.raises(UserError) as error:
            download.fetch(none, tmp_path / "b")
    said = [f"{dead}: <urlopen error", "/missing: HTTP Error 404", str(tmp_path / "b/voc.tar")]
    for part in (*said, "--archive", "--devkit"):
        assert part in str(error.value)


@pytest.mark.parametrize("path", ["/good", "/endless"])
def test_a_server_that_sends_too_much_is_left(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: str
):
    monkeypatch.setattr(download, "DOWNLOAD", 200_000)
    with pytest.raises(UserError, match=r"200000 (bytes|at most)"):
        download.fetch(server.archive(path), tmp_path)
    assert not list(tmp_path.glob("voc.tar*"))


def test_every_year_has_an_official_archive():
    assert list(ARCHIVES) == list(range(2007, 2013))
    assert ARCHIVES[2009].checksum == "a3e00b113cfcfebf17e343f59da3caa1"
    for year, archive in ARCHIVES.items():
        assert len(archive.checksum) == 32 and len(archive.addresses) >= 2
        assert all(address.endswith(f"/{archive.file}") for address in archive.addresses)
        assert archive.file.endswith(f"-{year}.tar")
    assert len({archive.checksum for archive in ARCHIVES.values()}) == 6


def write_tar(folder: Path, *members: tuple[tarfile.TarInfo, bytes]) -> Path:
    with tarfile.open(folder / "voc.tar", "w") as tar:
        for info, content in members:
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return folder / "voc.tar"


def member(name: str, kind: bytes = tarfile.REGTYPE, target: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname, info.mode = kind, target, 0o7777
    return info


def test_unpacks_what_is_needed(tmp_path: Path):
    path = write_tar(
        tmp_path,
        (member("VOCdevkit/VOC2009/JPEGImages", tarfile.DIRTYPE), b""),
        (member("VOCdevkit/VOC2009/JPEGImages/a.jpg"), b"image"),
        (member("VOCdevkit/VOC2009/ImageSets/Main/train.txt"), b"a"),
        (member("VOCdevkit/VOC2009/SegmentationObject/a.png"), b"not needed"),
        (member("VOCdevkit/VOCcode/VOCinit.m"), b"not needed"),
    )
    download.unpack(path, tmp_path / "out")
    year = tmp_path / "out/VOCdevkit/VOC2009"
    assert names(tmp_path / "out/VOCdevkit") == ["VOC2009"]
    assert names(year) == ["ImageSets", "JPEGImages"]
    assert (year / "JPEGImages/a.jpg").read_bytes() == b"image"
    assert (year / "JPEGImages/a.jpg").stat().st_mode & 0o7111 == 0


@pytest.mark.parametrize(
    "bad",
    [
        member("VOC2009/JPEGImages/a.jpg", tarfile.SYMTYPE, "/etc/hostname"),
        member("VOC2009/JPEGImages", tarfile.SYMTYPE, "../.."),
        member("VOC2009/JPEGImages/a.jpg", tarfile.LNKTYPE, "VOC2009/JPEGImages/b.jpg"),
        member("VOC2009/JPEGImages/a.jpg", tarfile.FIFOTYPE),
        member("../VOC2009/JPEGImages/a.jpg"),
        member("VOC2009/../../JPEGImages/a.jpg"),
        member("/nowhere/JPEGImages/a.jpg"),
    ],
    ids=lambda info: f"{info.name} {info.type.decode()}",
)
def test_refuses_links_and_ways_out(tmp_path: Path, bad: tarfile.TarInfo):
    path = write_tar(tmp_path, (bad, b""))
    with pytest.raises(UserError, match=re.escape(f"{path}: its member {bad.name!r}")):
        download.unpack(path, tmp_path / "out")
    assert names(tmp_path) == ["voc.tar"]


def test_refuses_what_is_no_whole_tar(tmp_path: Path):
    path = write_tar(tmp_path, (member("VOC2009/JPEGImages/a.jpg"), CONTENT))
    for content in (path.read_bytes()[:100_000], b"<html>404</html>" * 100, b""):
        path.write_bytes(content)
        with pytest.raises(UserError, match=r"voc\.tar isn't a whole tar archive"):
            download.unpack(path, tmp_path / "out")


@pytest.mark.parametrize(
    "name", ["JPEGImages/" + "a" * 300, "JPEGImages/a.jpg/b.jpg", "JPEGImages"]
)
def test_refuses_a_name_that_no_file_can_have(tmp_path: Path, name: str):
    path = write_tar(tmp_path, (member("JPEGImages/a.jpg"), b"a"), (member(f"{name}/x"), b"b"))
    if name == "JPEGImages":
        path = write_tar(tmp_path, (member("JPEGImages/a/b"), b"a"), (member("JPEGImages/a"), b"b"))
    with pytest.raises(UserError, match=r"voc\.tar isn't a whole tar archive"):
        download.unpack(path, tmp_path / "out")


@pytest.mark.parametrize("name", ["JPEGImages/a\0.jpg", f"JPEGImages/{'a' * 60}.jpg"])
def test_refuses_a_damaged_extended_header(tmp_path: Path, name: str):
    info = member("JPEGImages/a.jpg")
    info.pax_headers = {"path": name}
    with tarfile.open(tmp_path / "voc.tar", "w", format=tarfile.PAX_FORMAT) as tar:
        tar.addfile(info)
    if "\0" not in name:  # a length of its only record that is no number of the machine
        content, length = (tmp_path / "voc.tar").read_bytes(), b"9" * 24 + b" path="
        start = content.index(b" path=") - 2
        changed = content[:start] + length + content[start + len(length) :]
        (tmp_path / "voc.tar").write_bytes(changed)
    with pytest.raises(UserError, match=r"voc\.tar isn't a whole tar archive"):
        download.unpack(tmp_path / "voc.tar", tmp_path / "out")
