"""Where the explorer listens, how it begins and ends."""

import os
import signal
import socket
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from client import JSON, refused, send
from small_space import SIZE

from vocjax.errors import UserError
from vocjax.explorer.explore import serve
from vocjax.explorer.server import Route, Server


def test_an_error_of_our_own_is_one_line(serving, capfd):
    def fail(body):
        raise ZeroDivisionError("by design")

    server = serving(Server("127.0.0.1", 0, {"/": Route("GET", JSON, fail)}, {}))
    assert refused(send(server, "GET", "/")) == 500
    assert capfd.readouterr().err == "vocjax explore: ZeroDivisionError: by design\n"
    assert refused(send(server, "GET", "/")) == 500
    capfd.readouterr()


def test_closing_waits_for_who_computes(serving):
    inside, leave = threading.Event(), threading.Event()

    def compute(body):
        inside.set()
        assert leave.wait(10)
        return b"done"

    server = serving(Server("127.0.0.1", 0, {"/": Route("GET", "text/plain", compute)}, {}))
    with ThreadPoolExecutor(2) as pool:
        answer = pool.submit(send, server, "GET", "/")
        assert inside.wait(10)
        server.shutdown()
        closing = pool.submit(server.server_close)
        with pytest.raises(TimeoutError):
            closing.result(timeout=0.1)
        leave.set()
        assert answer.result()[2] == b"done"
        closing.result()
    assert server.closed


@pytest.mark.parametrize(
    ("host", "port", "message"),
    [
        ("127.0.0.1", -1, "the port is -1"),
        ("127.0.0.1", 65536, "the port is 65536"),
        ("192.0.2.1", 0, "can't listen"),
        ("no such host.invalid", 0, "has no address"),
    ],
)
def test_places_where_nothing_can_listen(host, port, message):
    with pytest.raises(UserError, match=message):
        Server(host, port, {}, {})


def test_a_port_that_is_in_use(server):
    with pytest.raises(UserError, match=f"port {server.server_port} of 127.0.0.1: it is in use"):
        Server("127.0.0.1", server.server_port, {}, {})


def test_a_host_that_the_user_chose(serving):
    page = {"/": Route("GET", "text/plain", lambda body: b"page")}
    server = serving(Server("localhost", 0, page, {}))
    assert server.url == f"http://localhost:{server.server_port}/"
    assert server.is_local
    everywhere = serving(Server("0.0.0.0", 0, page, {}))
    assert everywhere.url == f"http://localhost:{everywhere.server_port}/"
    assert not everywhere.is_local
    assert refused(send(everywhere, "GET", "/", Host=f"evil.example:{server.server_port}")) == 403


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has 127.0.0.2 without setting up")
def test_the_address_that_was_dialled_is_a_good_host(serving):
    page = {"/": Route("GET", "text/plain", lambda body: b"page")}
    server = serving(Server("0.0.0.0", 0, page, {}))
    host = f"127.0.0.2:{server.server_port}"
    assert send(server, "GET", "/", address="127.0.0.2", Host=host)[0] == 200
    assert refused(send(server, "GET", "/", address="127.0.0.1", Host=host)) == 403


def test_ipv6(serving):
    page = {"/": Route("GET", "text/plain", lambda body: b"page")}
    try:
        server = serving(Server("::1", 0, page, {}))
    except UserError as error:
        pytest.skip(f"this machine has no IPv6: {error}")
    assert server.url == f"http://[::1]:{server.server_port}/"
    assert server.is_local
    host = f"[::1]:{server.server_port}"
    assert send(server, "GET", "/", address="::1", Host=host)[0] == 200


@pytest.mark.parametrize(
    ("number", "host"), [(signal.SIGTERM, "127.0.0.1"), (signal.SIGINT, "0.0.0.0")]
)
def test_serve_says_where_and_ends_quietly(space, capfd, number, host):
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    before = signal.getsignal(number)

    def stop_once_it_answers():
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            try:
                with socket.create_connection(("127.0.0.1", port)) as client:
                    client.sendall(f"GET / HTTP/1.1\r\nHost: localhost:{port}\r\n\r\n".encode())
                    if client.recv(12) == b"HTTP/1.0 200":
                        return os.kill(os.getpid(), number)
            except ConnectionError:
                time.sleep(0.02)

    thread = threading.Thread(target=stop_once_it_answers)
    thread.start()
    serve(space, size=SIZE, channels=3, title="run", host=host, port=port)
    thread.join()
    said = capfd.readouterr()
    name = "localhost" if host == "0.0.0.0" else host
    assert said.out == f"explore at http://{name}:{port}/ (Ctrl-C ends it)\n"
    assert len(said.err.splitlines()) == (host == "0.0.0.0")
    assert "warning" in said.err or host == "127.0.0.1"
    assert signal.getsignal(number) == before
