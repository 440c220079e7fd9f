"""The explorer: a page on which sliders move a code through a latent space.

A point of the page is a code in two parts: its coordinates along the principal directions, and the
residual, which is the part of the code outside of them. The directions span at most the codes of
the training images, so the code of another image has a residual, and its reconstruction needs it.
"""

import base64
import io
import json
import signal
import sys
from collections.abc import Callable, Mapping
from importlib import resources
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from PIL import Image

from vocjax import losses
from vocjax.data.frame import Size
from vocjax.data.photo import read_photo
from vocjax.data.pipeline import fit_image
from vocjax.errors import UserError
from vocjax.explorer.server import REQUEST_BYTES, Route, Server
from vocjax.files import to_json
from vocjax.latent import LatentSpace, coordinates, from_coordinates

LARGEST_NUMBER = 1e6  # in standard deviations or units of the code; images stay far below


def serve(server: Server) -> None:
    """Print the server's address, and answer until Ctrl-C or SIGTERM."""
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        with server:
            if not server.is_local:
                print(
                    f"vocjax explore: warning: {server.host} isn't only this machine; whoever "
                    f"reaches port {server.server_port} can use the model.",
                    file=sys.stderr,
                )
            print(f"explore at {server.url} (Ctrl-C ends it)", flush=True)
            server.serve_forever()
    except KeyboardInterrupt:
        pass
    finally:
        # For good: the interpreter crashes if it ends while a thread computes inside of JAX.
        server.computing.acquire()
        signal.signal(signal.SIGTERM, before)


def make_server(
    space: LatentSpace,
    *,
    size: Size,
    channels: int,
    title: str,
    fit: str = "squash",
    host: str = "127.0.0.1",
    port: int = 0,
) -> Server:
    """Compile encoder and decoder of a space, and listen.

    `size` is the images' (height, width), or the side of squares; `fit` is their config's.

    Only this machine reaches the page at 127.0.0.1; port 0 picks a free one. The server answers

    - GET / and the files that it names: the page, with `title` as its heading;
    - GET /space: {"title", "share" [directions] of the codes' variance, "numbers" in a code,
      "image_bytes" at most};
    - POST /decode {"coordinates": [directions], "residual": [numbers]}: a PNG;
    - POST /encode, the bytes of an image file: see `make_encoder`.

    Raises `UserError` where nothing can listen, or the model's numbers aren't finite.
    """
    variance, numbers = np.asarray(space.axes.variance), len(space.axes.mean)
    if not variance.sum() > 0:
        raise UserError(
            "the codes of all training images are the same, so there is no direction to explore; "
            "take another run, with a lower optimizer.learning_rate for instance."
        )
    encode, decode = make_encoder(space, size, channels, fit), make_decoder(space)
    encode(_png(np.full((8, 8, 3), 128, np.uint8)))  # compiles, so that nobody waits later
    decode(np.zeros(len(variance), np.float32), np.zeros(numbers, np.float32))
    counts = {"coordinates": len(variance), "residual": numbers}
    description = {
        "title": title,
        "share": (variance / variance.sum()).tolist(),
        "numbers": numbers,
        "image_bytes": REQUEST_BYTES,
    }
    routes = {
        "GET /": _file("page.html", "text/html"),
        "GET /page.css": _file("page.css", "text/css"),
        "GET /page.js": _file("page.js", "text/javascript"),
        "GET /space": Route("application/json", lambda _: _json(description)),
        "POST /decode": Route("image/png", lambda body: decode(**parse_point(body, counts))),
        "POST /encode": Route("application/json", lambda body: _json(encode(body))),
    }
    return Server(host, port, routes)


def make_decoder(space: LatentSpace) -> Callable[..., bytes]:
    """Return `decode(coordinates, residual)`: float32 [directions] and [numbers] to a PNG."""

    @jax.jit
    def draw(point: jax.Array, residual: jax.Array) -> jax.Array:
        image = space.decode(from_coordinates(space.axes, point[None]) + residual[None])[0]
        return jnp.round(255 * image.clip(0, 1)).astype(jnp.uint8)

    def decode(coordinates: np.ndarray, residual: np.ndarray) -> bytes:
        return _png(np.asarray(draw(coordinates, residual)))

    return decode


def make_encoder(
    space: LatentSpace, size: Size, channels: int, fit: str = "squash"
) -> Callable[[bytes], dict[str, Any]]:
    """Return `encode(file)`: the bytes of an image file to its point, ready for JSON.

    The point has `coordinates` [directions] in standard deviations and `residual` [numbers], with
    six significant digits; `mse`, the error of the reconstruction for values in [0, 1]; `input`,
    the image [height, width, channels] that the model saw, a PNG in base64. `encode` raises
    `UserError` for a file that can't be read, and where the model's numbers aren't finite.
    """

    @jax.jit
    def locate(pixels: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
        images = pixels[None].astype(jnp.float32) / 255
        code = space.encode(images)
        point = coordinates(space.axes, code)
        mse = losses.mse(space.decode(code), images)
        return point[0], (code - from_coordinates(space.axes, point))[0], mse[0]

    def encode(file: bytes) -> dict[str, Any]:
        pixels = fit_image(read_photo(io.BytesIO(file)), size, channels, fit)
        point, residual, mse = jax.device_get(locate(pixels))
        if not all(np.isfinite(values).all() for values in (point, residual, mse)):
            raise UserError(
                "the model's numbers for this image aren't finite; its training may have diverged, "
                "or its codes are all the same: explore another run or checkpoint."
            )
        return {
            "coordinates": _rounded(point),
            "residual": _rounded(residual),
            "mse": float(mse),
            "input": base64.b64encode(_png(pixels)).decode("ascii"),
        }

    return encode


def parse_point(body: bytes, counts: Mapping[str, int]) -> dict[str, np.ndarray]:
    """Read a JSON object of lists of `counts` numbers each as float32 arrays.

    Raises `UserError` for anything else, and for numbers beyond `LARGEST_NUMBER`.
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


def _file(name: str, kind: str) -> Route:
    content = resources.files("vocjax.explorer").joinpath(name).read_bytes()
    return Route(f"{kind}; charset=utf-8", lambda _: content)


def _png(pixels: np.ndarray) -> bytes:
    file = io.BytesIO()
    grey = pixels.shape[-1] == 1
    Image.fromarray(pixels[..., 0] if grey else pixels).save(file, "PNG", compress_level=1)
    return file.getvalue()


def _json(value: object) -> bytes:
    return to_json(value).encode()


def _rounded(values: np.ndarray) -> list[float]:
    return [float(f"{value:.6g}") for value in values.tolist()]
