"""The explorer: a latent space behind a page on this machine."""

import base64
import hashlib
import json
import re
import signal
import sys
from collections.abc import Mapping
from importlib import resources

import numpy as np

from vocjax.errors import UserError
from vocjax.explorer.codec import Codec, make_codec
from vocjax.explorer.server import Route, Server
from vocjax.latent import LatentSpace

JSON_BYTES = 64 * 2**10  # at least
BYTES_OF_NUMBER = 32  # of one number as a page writes it, with room to spare
IMAGE_BYTES = 10 * 10**6
LARGEST_NUMBER = 1e6  # in standard deviations or units of the code; images stay far below


def serve(
    space: LatentSpace, *, size: int, channels: int, title: str, host: str, port: int
) -> None:
    """Serve the page until Ctrl-C or SIGTERM, and print its address once it is ready.

    Args:
      space: what is explored.
      size: pixels of the squared images.
      channels: 3 for RGB, 1 for grey.
      title: the page's heading, a run's name for example.
      host: address to listen on; 127.0.0.1 keeps the page to this machine.
      port: port to listen on; 0 picks a free one.

    Raises:
      UserError: nothing can listen there, or the model's numbers aren't finite.
    """
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        with make_server(
            space, size=size, channels=channels, title=title, host=host, port=port
        ) as server:
            if not server.is_local:
                print(
                    f"vocjax explore: warning: {host} isn't only this machine; whoever reaches "
                    f"port {server.server_port} can use the model.",
                    file=sys.stderr,
                )
            print(f"explore at {server.url} (Ctrl-C ends it)", flush=True)
            server.serve_forever()
    except KeyboardInterrupt:
        pass
    finally:
        signal.signal(signal.SIGTERM, before)


def make_server(
    space: LatentSpace,
    *,
    size: int,
    channels: int,
    title: str,
    host: str = "127.0.0.1",
    port: int = 0,
) -> Server:
    """Compile the space's functions and listen; arguments and errors are those of `serve`."""
    page = resources.files("vocjax.explorer").joinpath("page.html").read_text(encoding="utf-8")
    routes = make_routes(make_codec(space, size, channels), title, page)
    return Server(host, port, routes, {"Content-Security-Policy": content_policy(page)})


def make_routes(codec: Codec, title: str, page: str) -> Mapping[str, Route]:
    """Return what the paths answer.

    - GET / is the page;
    - GET /space: {"title", "share" [directions], "numbers" in a code, "image_bytes" at most};
    - POST /decode {"coordinates": [directions], "residual": [numbers]}: a PNG;
    - POST /encode, the bytes of an image file: an `Encoded`.
    """
    description = {
        "title": title,
        "share": codec.share,
        "numbers": codec.numbers,
        "image_bytes": IMAGE_BYTES,
    }
    counts = {"coordinates": len(codec.share), "residual": codec.numbers}

    def decode(body: bytes) -> bytes:
        point = parse_point(body, counts)
        return codec.decode(point["coordinates"], point["residual"])

    def encode(body: bytes) -> bytes:
        return _json(codec.encode(body))

    json_bytes = max(JSON_BYTES, BYTES_OF_NUMBER * sum(counts.values()))
    octets = "application/octet-stream"  # a type that no other page may send without asking first
    return {
        "/": Route("GET", "text/html; charset=utf-8", lambda _: page.encode()),
        "/space": Route("GET", "application/json", lambda _: _json(description)),
        "/decode": Route("POST", "image/png", decode, "application/json", json_bytes),
        "/encode": Route("POST", "application/json", encode, octets, IMAGE_BYTES),
    }


def parse_point(body: bytes, counts: Mapping[str, int]) -> dict[str, np.ndarray]:
    """Read a JSON object of lists of `counts` numbers each as float32 arrays.

    Raises `UserError` for anything else, and for numbers that aren't finite or beyond
    `LARGEST_NUMBER`.
    """
    try:
        point = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise UserError("the request is not JSON; send an object with lists of numbers.") from error
    if not isinstance(point, dict) or set(point) != set(counts):
        raise UserError(f"the request must be an object with {' and '.join(counts)}.")
    for name, count in counts.items():
        values = point[name]
        if not isinstance(values, list) or len(values) != count:
            raise UserError(f"{name} must be a list of {count} numbers.")
        if not all(type(v) in (int, float) and abs(v) <= LARGEST_NUMBER for v in values):
            raise UserError(f"{name} must be numbers between -1e6 and 1e6.")
    return {name: np.array(point[name], np.float32) for name in counts}


def content_policy(page: str) -> str:
    """Return the Content-Security-Policy that lets a page's own script and style run, only."""
    hashes = {
        tag: " ".join(
            f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
            for text in re.findall(rf"<{tag}>(.*?)</{tag}>", page, re.DOTALL)
        )
        for tag in ("script", "style")
    }
    return (
        f"default-src 'none'; script-src {hashes['script']}; style-src {hashes['style']}; "
        "img-src data:; connect-src 'self'; base-uri 'none'; form-action 'none'; "
        "frame-ancestors 'none'"
    )


def _json(value: object) -> bytes:
    return json.dumps(value, allow_nan=False).encode()
