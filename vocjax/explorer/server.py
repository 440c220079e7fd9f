"""A small web server for one person's browser, which refuses whatever another page could send it.

Each connection carries one request (HTTP/1.0), so nothing of a refused one is taken for the next.
"""

import contextlib
import errno
import http.server
import ipaddress
import json
import socket
import socketserver
import sys
import threading
import time
from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Any, NamedTuple

from vocjax.errors import UserError

LOOPBACK_NAMES = ("127.0.0.1", "localhost", "[::1]")
HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Cache-Control": "no-store",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
}


class Route(NamedTuple):
    """What a path answers: `respond` maps the body of a request to that of the answer.

    `method` is GET or POST. A POST's body must be of the type `accepts` and have at most `limit`
    bytes; `respond` raises `UserError` for a body that it can't use.
    """

    method: str
    content_type: str
    respond: Callable[[bytes], bytes]
    accepts: str = ""
    limit: int = 0


class Refusal(Exception):
    """A request that isn't served: the status, a sentence that says why, more headers."""

    def __init__(self, status: HTTPStatus, sentence: str, **headers: str) -> None:
        super().__init__(sentence)
        self.status = status
        self.headers = headers


class Handler(http.server.BaseHTTPRequestHandler):
    """Checks one request from the outside in, and answers it; errors are JSON {"error": ...}."""

    server: "Server"
    timeout = 10  # seconds that a client may be silent

    def answer(self) -> None:
        """Answer, whatever the method."""
        try:
            self._check_sender()
            route = self._route()
            body = self._body(route) if route.method == "POST" else b""
            with self.server.lock:
                if self.server.closed:
                    raise Refusal(HTTPStatus.SERVICE_UNAVAILABLE, "the explorer has ended.")
                content = route.respond(body)
        except Refusal as refusal:
            self._refuse(refusal.status, str(refusal), **refusal.headers)
        except UserError as error:
            self._refuse(HTTPStatus.BAD_REQUEST, str(error))
        except ConnectionError:
            raise
        except Exception as error:
            self.server.complain(error)
            self._refuse(
                HTTPStatus.INTERNAL_SERVER_ERROR,
                f"the explorer failed ({type(error).__name__}); its terminal says more.",
            )
        else:
            self._send(HTTPStatus.OK, route.content_type, content, {})

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = do_OPTIONS = answer

    def _check_sender(self) -> None:
        """Refuse other host names (DNS rebinding) and other pages (cross-site requests)."""
        hosts = self.headers.get_all("Host", [])
        address = self.connection.getsockname()[0]  # an address can't be rebound, a name can
        names = (*LOOPBACK_NAMES, self.server.host, _bracketed(address))
        port = self.server.server_port
        allowed = {f"{name}:{port}" for name in names} | (set(names) if port == 80 else set())
        if len(hosts) != 1 or hosts[0].lower() not in allowed:
            raise Refusal(
                HTTPStatus.FORBIDDEN,
                f"the explorer doesn't answer to this host name; open {self.server.url}",
            )
        if any(origin != f"http://{hosts[0]}" for origin in self.headers.get_all("Origin", [])):
            raise Refusal(HTTPStatus.FORBIDDEN, "the explorer answers to its own page only.")

    def _route(self) -> Route:
        route = self.server.routes.get(self.path)
        if route is None:
            raise Refusal(
                HTTPStatus.NOT_FOUND, f"there is nothing here; open {self.server.url} instead."
            )
        if self.command != route.method:
            raise Refusal(
                HTTPStatus.METHOD_NOT_ALLOWED,
                f"{self.path} takes {route.method}, not {self.command}.",
                Allow=route.method,
            )
        return route

    def _body(self, route: Route) -> bytes:
        if self.headers.get_content_type() != route.accepts:
            raise Refusal(
                HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
                f"{self.path} takes the Content-Type {route.accepts}.",
            )
        lengths = self.headers.get_all("Content-Length", [])
        if not lengths or "Transfer-Encoding" in self.headers:
            raise Refusal(HTTPStatus.LENGTH_REQUIRED, "the request must state its Content-Length.")
        if len(lengths) > 1 or not (lengths[0].isascii() and lengths[0].isdecimal()):
            raise Refusal(HTTPStatus.BAD_REQUEST, "Content-Length must be one whole number.")
        if len(lengths[0]) > 15 or int(lengths[0]) > route.limit:
            raise Refusal(
                HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
                f"{self.path} takes at most {route.limit} bytes.",
            )
        try:
            body = self.rfile.read(int(lengths[0]))
        except TimeoutError:
            raise Refusal(HTTPStatus.REQUEST_TIMEOUT, "the rest of the request is late.") from None
        if len(body) < int(lengths[0]):
            raise Refusal(HTTPStatus.BAD_REQUEST, "the request is shorter than it says.")
        return body

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """Send a sentence as JSON: the library calls this for what it can't parse."""
        self._refuse(code, message or HTTPStatus(code).phrase)

    def _refuse(self, status: int, sentence: str, **headers: str) -> None:
        self._send(status, "application/json", json.dumps({"error": sentence}).encode(), headers)

    def _send(
        self, status: int, content_type: str, content: bytes, headers: Mapping[str, str]
    ) -> None:
        self.send_response(status)
        own = {"Content-Type": content_type, "Content-Length": str(len(content))}
        for name, value in {**own, **HEADERS, **self.server.headers, **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def version_string(self) -> str:
        """Name the program, and not its version."""
        return "vocjax"

    def log_message(self, format: str, *args: Any) -> None:
        """Keep the terminal quiet: a drag is hundreds of requests."""


class Server(http.server.ThreadingHTTPServer):
    """Listens once made; `serve_forever()` answers and `url` is where."""

    def __init__(
        self, host: str, port: int, routes: Mapping[str, Route], headers: Mapping[str, str]
    ) -> None:
        """Listen on `host` and `port` (0: a free one); `headers` go with every answer.

        Raises `UserError` where nothing can listen there.
        """
        if not 0 <= port <= 65535:
            raise UserError(f"the port is {port}; it must be between 0 (a free one) and 65535.")
        self.lock = threading.Lock()  # one request at a time computes
        self.closed = False
        try:
            found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError) as error:
            raise UserError(
                f"the host {host!r} has no address ({error}); leave it at 127.0.0.1, or name one "
                "of this machine's addresses."
            ) from error
        self.address_family, address = found[0][0], found[0][4]
        try:
            super().__init__(address, Handler)  # type: ignore[arg-type]
        except OSError as error:
            reason = "it is in use" if error.errno == errno.EADDRINUSE else error.strerror
            raise UserError(
                f"the explorer can't listen on port {port} of {host}: {reason}. Choose another "
                "port (0: a free one) or leave the host at 127.0.0.1."
            ) from error
        self.address = ipaddress.ip_address(str(self.server_address[0]))
        self.server_port = self.server_address[1]
        self.host = _bracketed(host).lower()
        self.routes, self.headers = routes, headers

    @property
    def url(self) -> str:
        """The page's address; one for this machine where the server listens on all of them."""
        name = "localhost" if self.address.is_unspecified else self.host
        return f"http://{name}:{self.server_port}/"

    @property
    def is_local(self) -> bool:
        """Whether only this machine can reach the server."""
        return self.address.is_loopback

    def server_bind(self) -> None:
        """Bind without asking for the machine's name, which can take seconds."""
        socketserver.TCPServer.server_bind(self)

    def server_close(self) -> None:
        """Stop listening, and see to it that no thread computes any more.

        The interpreter crashes if it ends while one of them is inside of JAX.
        """
        super().server_close()
        with self.lock:
            self.closed = True

    def complain(self, error: BaseException) -> None:
        """Say in one line what went wrong here."""
        print(f"vocjax explore: {type(error).__name__}: {error}", file=sys.stderr)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Take note of an error that no answer could tell of; a client that left is none."""
        error = sys.exc_info()[1]
        if error is not None and not isinstance(error, ConnectionError | TimeoutError):
            self.complain(error)

    def shutdown_request(self, request: Any) -> None:
        """Close a connection after what the client still sends.

        Closing with unread bytes would reset it, and the client could lose the answer.
        """
        deadline = time.monotonic() + 2
        with contextlib.suppress(OSError):
            request.shutdown(socket.SHUT_WR)
            request.settimeout(1)
            while time.monotonic() < deadline and request.recv(1 << 16):
                pass
        self.close_request(request)


def _bracketed(address: str) -> str:
    return f"[{address}]" if ":" in address else address
