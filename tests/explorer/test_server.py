"""What the server answers and refuses, where it listens, how it ends."""

import os
import signal
import socket
import sys
import threading
import time

import pytest
from client import answering, refused, send

from vocjax.errors import UserError
from vocjax.explorer.explore import serve
from vocjax.explorer.server import REQUEST_BYTES, Handler, Route, Server


def fail(body):
    raise ZeroDivisionError("by design")


ROUTES = {
    "GET /": Route("text/plain", lambda body: b"page"),
    "POST /echo": Route("text/plain", lambda body: body),
    "POST /fail": Route("text/plain", fail),
}


@pytest.fixture(scope="module")
def echo():
    """A server that computes nothing."""
    with answering(Server("127.0.0.1", 0, ROUTES)) as server:
        yield server


def test_answers_have_the_headers_that_protect_the_page(echo):
    for answer in (send(echo, "GET", "/"), send(echo, "GET", "/no")):
        headers = answer[1]
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["Cache-Control"] == "no-store"
        assert headers["Cross-Origin-Resource-Policy"] == "same-origin"
        assert "Python" not in headers["Server"]
        policy = dict(p.split(maxsplit=1) for p in headers["Content-Security-Policy"].split("; "))
        assert policy["default-src"] == policy["frame-ancestors"] == "'none'"
        assert policy["script-src"] == policy["connect-src"] == "'self'"


def test_other_host_names_are_refused(echo):
    port = echo.server_port
    good = [f"{name}:{port}" for name in ("localhost", "LOCALHOST", "[::1]", "127.0.0.1")]
    for host in [*good, "localhost"]:  # without a port: a browser leaves out :80
        assert send(echo, "GET", "/", Host=host)[0] == 200
    for name in ("evil.example", "", "127.0.0.1.evil.example", "10.0.0.1", "x.localhost", "::1"):
        assert refused(send(echo, "GET", "/", Host=f"{name}:{port}")) == 403
        assert refused(send(echo, "POST", "/echo", b"{}", Host=name)) == 403


def test_other_origins_are_refused(echo):
    port = echo.server_port
    own = f"http://127.0.0.1:{port}"
    assert send(echo, "POST", "/echo", b"mine", Origin=own)[2] == b"mine"
    others = ["null", "", "http://evil.example", own.replace("http", "https"), own + "0"]
    for origin in [*others, f"http://localhost:{port}", "http://127.0.0.1:1"]:
        assert refused(send(echo, "POST", "/echo", b"mine", Origin=origin)) == 403


def test_unknown_paths_and_methods(echo):
    for path in ("/no", "/index.html", "/../../etc/passwd", "/%2e%2e/x", "*", "x", "/echo"):
        assert refused(send(echo, "GET", path)) == 404
    for path in ("/", "/echo/", "/page.html"):
        assert refused(send(echo, "POST", path, b"{}")) == 404
    for method in ("PUT", "DELETE", "OPTIONS", "BREW"):
        assert refused(send(echo, method, "/")) == 501


def test_bodies_are_limited(echo):
    most = bytes(REQUEST_BYTES)
    assert send(echo, "POST", "/echo", most)[2] == most
    for length in (str(REQUEST_BYTES + 1), "9" * 5000, "-1", "1.5", "1e3", "0x10", "two", ""):
        assert refused(send(echo, "POST", "/echo", Content_Length=length)) == 413


def test_an_error_of_our_own_is_one_line(echo, capfd):
    assert refused(send(echo, "POST", "/fail", b"")) == 500
    assert capfd.readouterr().err == "vocjax explore: ZeroDivisionError: by design\n"


def test_clients_that_speak_no_http_are_silent_or_leave(echo, monkeypatch, capfd):
    monkeypatch.setattr(Handler, "timeout", 0.1)

    def connect():
        return socket.create_connection(("127.0.0.1", echo.server_port), timeout=10)

    for junk in (b"\x16\x03\x01\x02\x00\x01\x00", b"GET", b"GET / HTTP/9.x", b"G" * 70000):
        with connect() as client:
            client.sendall(junk + b"\r\n\r\n")
            assert b'{"error": ' in client.makefile("rb").read()
    host = f"Host: localhost:{echo.server_port}"
    for part in ("", "GET / HT", f"POST /echo HTTP/1.1\r\n{host}\r\nContent-Length: 9\r\n\r\n{{"):
        with connect() as silent, connect() as leaving:
            silent.sendall(part.encode())
            assert silent.recv(1) == b""
            leaving.sendall(part.encode())
    assert send(echo, "GET", "/")[0] == 200
    assert capfd.readouterr().err == ""


def test_places_where_nothing_can_listen(echo):
    for host, port, message in (
        ("127.0.0.1", -1, "the port is -1"),
        ("127.0.0.1", 65536, "the port is 65536"),
        ("192.0.2.1", 0, "can't listen"),
        ("no such host.invalid", 0, "has no address"),
        ("127.0.0.1", echo.server_port, f"port {echo.server_port} of 127.0.0.1: it is in use"),
    ):
        with pytest.raises(UserError, match=message):
            Server(host, port, {})


def test_a_host_that_the_user_chose(serving):
    local = serving(Server("localhost", 0, ROUTES))
    assert (local.url, local.is_local) == (f"http://localhost:{local.server_port}/", True)
    everywhere = serving(Server("0.0.0.0", 0, ROUTES))
    assert everywhere.url == f"http://localhost:{everywhere.server_port}/"
    assert not everywhere.is_local
    assert refused(send(everywhere, "GET", "/", Host="evil.example")) == 403
    if sys.platform == "linux":  # where 127.0.0.2 needs no setting up
        assert send(everywhere, "GET", "/", address="127.0.0.2", Host="127.0.0.2")[0] == 200
        assert refused(send(everywhere, "GET", "/", address="127.0.0.1", Host="127.0.0.2")) == 403


def test_ipv6(serving):
    try:
        server = serving(Server("::1", 0, ROUTES))
    except UserError as error:
        pytest.skip(f"this machine has no IPv6: {error}")
    assert (server.url, server.is_local) == (f"http://[::1]:{server.server_port}/", True)
    assert send(server, "GET", "/", address="::1", Host="[::1]")[0] == 200


@pytest.mark.parametrize(
    ("number", "host", "name", "warning"),
    [
        (signal.SIGTERM, "127.0.0.1", "127.0.0.1", ""),
        (signal.SIGINT, "0.0.0.0", "localhost", "vocjax explore: warning: 0.0.0.0 isn't only"),
    ],
)
def test_serve_ends_once_nothing_computes(capfd, number, host, name, warning):
    finished = []

    def compute(body):
        time.sleep(0.1)  # until the server waits for the next request
        os.kill(os.getpid(), number)
        time.sleep(0.1)
        finished.append(True)
        return b"done"

    server = Server(host, 0, {"GET /": Route("text/plain", compute)})
    before = signal.getsignal(number)
    client = threading.Thread(target=send, args=(server, "GET", "/"))
    client.start()
    serve(server)
    assert finished == [True]
    client.join()
    said = capfd.readouterr()
    assert said.out == f"explore at http://{name}:{server.server_port}/ (Ctrl-C ends it)\n"
    assert said.err.startswith(warning)
    assert said.err.count("\n") == bool(warning)
    assert signal.getsignal(number) == before
