"""Everything that the explorer's server refuses; it goes on, and prints nothing."""

import contextlib
import http.client
import json
import socket
import struct
import zlib

import pytest
from client import DIRECTIONS, JSON, OCTETS, encode, file_of, point, refused, send
from PIL import Image
from small_space import NUMBERS

from vocjax.explorer.explore import IMAGE_BYTES, JSON_BYTES
from vocjax.explorer.server import Handler

pytestmark = pytest.mark.usefixtures("quiet")


def test_other_host_names_are_refused(server):
    port = server.server_port
    for host in ("localhost", "LOCALHOST", "[::1]", "127.0.0.1"):
        assert send(server, "GET", "/", Host=f"{host}:{port}")[0] == 200
    bad = ["evil.example", "", "127.0.0.1", "localhost", f"127.0.0.1:{port + 1}", "localhost:80"]
    bad += [f"evil.example:{port}", f"127.0.0.1.evil.example:{port}", f"10.0.0.1:{port}"]
    for host in [*bad, [], [f"localhost:{port}", f"evil.example:{port}"]]:
        assert refused(send(server, "GET", "/", Host=host)) == 403
        assert refused(send(server, "POST", "/decode", b"{}", JSON, Host=host)) == 403


def test_other_origins_are_refused(server):
    port = server.server_port
    own = f"http://127.0.0.1:{port}"
    body = json.dumps(point()).encode()
    assert send(server, "POST", "/decode", body, JSON, Origin=own)[0] == 200
    others = ["null", "", "http://evil.example", f"https://127.0.0.1:{port}", own + "0"]
    for origin in [*others, f"http://localhost:{port}", [own, "http://evil.example"]]:
        assert refused(send(server, "POST", "/decode", body, JSON, Origin=origin)) == 403


@pytest.mark.parametrize(
    "path", ["/no", "/index.html", "/decode/", "/../../etc/passwd", "/%2e%2e/x", "*", "x"]
)
def test_unknown_paths(server, path):
    assert refused(send(server, "GET", path)) == 404
    assert refused(send(server, "POST", path, b"{}", JSON)) == 404


def test_wrong_methods(server):
    allowed = {"/": "GET", "/space": "GET", "/decode": "POST", "/encode": "POST"}
    for path, right in allowed.items():
        for method in {"GET", "POST", "PUT", "DELETE", "OPTIONS", "PATCH"} - {right}:
            answer = send(server, method, path)
            assert refused(answer) == 405
            assert answer[1]["Allow"] == right
    status, _, content = send(server, "HEAD", "/")
    assert (status, content) == (405, b"")
    assert refused(send(server, "BREW", "/")) == 501


@pytest.mark.parametrize(
    "kind", ["", "text/plain", "application/x-www-form-urlencoded", "multipart/form-data", "x"]
)
def test_wrong_content_types(server, kind):
    for path in ("/decode", "/encode"):
        assert refused(send(server, "POST", path, b"{}", kind)) == 415


def test_lengths_are_wanted_and_limited(server):
    def status(length, **headers):
        return refused(send(server, "POST", "/decode", b"", JSON, Content_Length=length, **headers))

    assert status([]) == 411
    assert status([], Transfer_Encoding="chunked") == 411
    assert status("2", Transfer_Encoding="chunked") == 411
    for length in ("", "-1", "+2", "1.5", "1e3", "0x10", "1_0", "two", ["2", "2"], ["2", "3"]):
        assert status(length) == 400
    for length in (JSON_BYTES + 1, 10**12, "9" * 5000):
        assert status(str(length)) == 413
    answer = send(server, "POST", "/encode", b"", OCTETS, Content_Length=str(IMAGE_BYTES + 1))
    assert refused(answer) == 413


def test_who_sends_too_much_still_gets_the_answer(server):
    assert refused(send(server, "POST", "/decode", bytes(3 * 10**6), JSON)) == 413


def test_a_body_that_ends_early_or_never_comes(server, monkeypatch):
    def cut(leave):
        head = f"POST /decode HTTP/1.1\r\nHost: localhost:{server.server_port}\r\n"
        head += f"Content-Type: {JSON}\r\nContent-Length: 100\r\n\r\n{{"
        with socket.create_connection(("127.0.0.1", server.server_port), timeout=10) as client:
            client.sendall(head.encode())
            if leave:
                client.shutdown(socket.SHUT_WR)
            answer = http.client.HTTPResponse(client)
            answer.begin()
            return refused((answer.status, answer.headers, answer.read()))

    assert cut(leave=True) == 400
    monkeypatch.setattr(Handler, "timeout", 0.1)
    assert cut(leave=False) == 408


def test_what_is_not_http_at_all(server):
    for junk in (b"\x16\x03\x01\x02\x00\x01\x00", b"GET", b"GET / HTTP/9.x", b"G" * 70000):
        with socket.create_connection(("127.0.0.1", server.server_port), timeout=10) as client:
            client.sendall(junk + b"\r\n\r\n")
            answer = http.client.HTTPResponse(client)
            with contextlib.suppress(http.client.BadStatusLine):  # HTTP/0.9 has no status line
                answer.begin()
                assert answer.status in (400, 414)
    with socket.create_connection(("127.0.0.1", server.server_port)) as client:
        client.sendall(b"GET / HT")  # and leaves
    assert send(server, "GET", "/")[0] == 200


BAD_NUMBERS = ["NaN", "Infinity", "-Infinity", "1e999", "1e7", "-2000000", "1" + 500 * "0"]
BAD_NUMBERS += ['"1"', "null", "true", "[1]", "{}"]


@pytest.mark.parametrize("number", BAD_NUMBERS)
def test_numbers_that_are_none(server, number):
    for name in ("coordinates", "residual"):
        body = json.dumps(point([0.5], [0.5] * NUMBERS) | {name: "?"})
        count = DIRECTIONS if name == "coordinates" else NUMBERS
        body = body.replace('"?"', f"[{', '.join(['0'] * (count - 1) + [number])}]")
        assert refused(send(server, "POST", "/decode", body.encode(), JSON)) == 400


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"\xff\xfe",
        b"[" * 60000,
        b"[]",
        b"3",
        b"{}",
        b'{"coordinates": [], "residual": []}',
        json.dumps(point() | {"more": 1}).encode(),
        json.dumps({"coordinates": [0] * DIRECTIONS}).encode(),
        json.dumps(point() | {"coordinates": [0] * (DIRECTIONS + 1)}).encode(),
        json.dumps(point() | {"residual": [0] * (NUMBERS - 1)}).encode(),
        json.dumps(point() | {"coordinates": {"0": 0}}).encode(),
        json.dumps(point() | {"coordinates": "0" * DIRECTIONS}).encode(),
        b"9" * 5000,
    ],
    ids=lambda body: body[:20].decode(errors="replace"),
)
def test_json_that_is_no_point(server, body):
    assert refused(send(server, "POST", "/decode", body, JSON)) == 400


def png_of_size(width, height):
    """A PNG's beginning that announces a size."""

    def chunk(kind, data):
        sum_ = struct.pack(">I", zlib.crc32(kind + data))
        return struct.pack(">I", len(data)) + kind + data + sum_

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(bytes(1000)))


def test_files_that_are_no_image(server, photo):
    jpeg, png = (file_of(Image.fromarray(photo), kind) for kind in ("JPEG", "PNG"))
    broken = [jpeg[: len(jpeg) // 2], png[: len(png) // 2], jpeg[:2], png[:33], b"\0" * 1000]
    postscript = file_of(Image.fromarray(photo), "EPS")
    for file in (b"", b"text", b"GIF89a", b"<svg/>", png_of_size(3, 0), postscript, *broken):
        assert refused(encode(server, file)) == 400


@pytest.mark.parametrize("side", [10_000, 20_000, 2**31 - 1])
def test_decompression_bombs(server, side):
    answer = encode(server, png_of_size(side, side))
    assert refused(answer) == 400
    assert b"pixels" in answer[2]
