"""A small web server for the browser of one person on this machine.

http.server suffices: with Starlette and uvicorn the checks below would have to be written too.
"""

import errno
import http.server
import ipaddress
import re
import socket
import socketserver
import sys
import threading
from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Any, NamedTuple

from vocjax.errors import UserError, check_range
from vocjax.files import to_json

REQUEST_BYTES = 10 * 10**6  # at most
HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src data:; "
        "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
    "Cross-Origin-Resource-Policy": "same-origin",
}


class Route(NamedTuple):
    """A content type, and the function from a request's body to the answer of that type.

    The function raises `UserError` for a body that it cannot use.
    """

    content_type: str
    respond: Callable[[bytes], bytes]


class Handler(http.server.BaseHTTPRequestHandler):
    """Answers one request per connection (HTTP/1.0)."""

    server: "Server"
    server_version, sys_version = "vocjax", ""
    timeout = 10  # seconds that a client may be silent; then the library closes the connection

    def answer(self) -> None:
        """Check a request from the outside in, then answer it."""
        host = self.headers.get("Host", "").lower()
        # DNS rebinding: a foreign page can give its own name our address, but it cannot get a name
        # of ours. An address is safe: a browser that has it in the URL did not look up any name.
        address = _bracketed(self.connection.getsockname()[0])
        names = {"localhost", "127.0.0.1", "[::1]", self.server.host, address}
        if re.sub(r":\d+$", "", host) not in names:
            sentence = f"the explorer doesn't answer to this host name; open {self.server.url}"
            return self.send_error(403, sentence)
        if self.headers.get("Origin", f"http://{host}") != f"http://{host}":
            return self.send_error(403, "the explorer answers to its own page only.")
        route = self.server.routes.get(f"{self.command} {self.path}")
        if route is None:
            return self.send_error(404, f"there is nothing here; open {self.server.url} instead.")
        length = self.headers.get("Content-Length", "0")
        if not (length.isdecimal() and len(length) < 10 and int(length) <= REQUEST_BYTES):
            return self.send_error(413, f"the explorer takes at most {REQUEST_BYTES} bytes.")
        body = self.rfile.read(int(length))
        try:
            with self.server.computing:
                content = route.respond(body)
        except UserError as error:
            return self.send_error(400, str(error))
        except Exception as error:
            print(f"vocjax explore: {type(error).__name__}: {error}", file=sys.stderr)
            sentence = f"the explorer failed ({type(error).__name__}); its terminal says more."
            return self.send_error(500, sentence)
        self._send(200, route.content_type, content)

    do_GET = do_POST = answer

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """Send a sentence as JSON {"error": ...}; the library calls this for a bad request line."""
        sentence = message or HTTPStatus(code).phrase
        self._send(code, "application/json", to_json({"error": sentence}).encode())

    def _send(self, status: int, content_type: str, content: bytes) -> None:
        self.send_response(status)
        for name, value in {"Content-Type": content_type, **HEADERS}.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: Any) -> None:
        """Print nothing: moving a slider sends hundreds of requests."""


class Server(http.server.ThreadingHTTPServer):
    """Listens on `host` and `port` (0: a free one) once it is made; `serve_forever()` answers.

    `routes` are by method and path, "GET /" for instance. `is_local` says whether only this machine
    can reach `url`; a request holds the lock `computing` while its answer is computed. Raises
    `UserError` where nothing can listen.
    """

    def __init__(self, host: str, port: int, routes: Mapping[str, Route]) -> None:
        check_range("the port", port, 0, 65536)
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
        self.routes = routes
        self.host = _bracketed(host).lower()
        bound = ipaddress.ip_address(str(self.server_address[0]))
        self.is_local = bound.is_loopback
        name = "localhost" if bound.is_unspecified else self.host
        self.server_port = self.server_address[1]
        self.url = f"http://{name}:{self.server_port}/"
        self.computing = threading.Lock()

    def server_bind(self) -> None:
        """Bind, and don't ask for the machine's name, which can take seconds."""
        socketserver.TCPServer.server_bind(self)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of a client that left; other errors are faults of this program."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


def _bracketed(address: str) -> str:
    return f"[{address}]" if ":" in address else address
