"""What the explorer's server answers."""

import base64
import json
import statistics
import time
from concurrent.futures import ThreadPoolExecutor

import jax.numpy as jnp
import numpy as np
import pytest
from client import DIRECTIONS, decode, encode, file_of, pixels, point, send
from PIL import Image
from small_space import NUMBERS, SIZE, make_space

from vocjax.data.pipeline import resize_image
from vocjax.errors import UserError
from vocjax.explorer.explore import make_server
from vocjax.latent import coordinates, from_coordinates

pytestmark = pytest.mark.usefixtures("quiet")
ORIENTATION, TURNED = 0x0112, 6  # EXIF: shown turned by a quarter


def test_the_page_and_the_space(server, space):
    status, headers, page = send(server, "GET", "/")
    assert status == 200
    assert headers["Content-Type"] == "text/html; charset=utf-8"
    assert page.startswith(b"<!DOCTYPE html>")
    said = json.loads(send(server, "GET", "/space")[2])
    assert said["title"] == "a run <of> mine"
    assert said["numbers"] == NUMBERS
    share = np.asarray(space.axes.variance) / np.asarray(space.axes.variance).sum()
    np.testing.assert_allclose(said["share"], share, rtol=1e-6)
    assert len(said["share"]) == DIRECTIONS


def test_every_answer_has_the_headers_that_protect_it(server):
    answers = [send(server, "GET", "/"), send(server, "GET", "/no"), decode(server, point())]
    for _, headers, _ in answers:
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["Cache-Control"] == "no-store"
        assert headers["Cross-Origin-Resource-Policy"] == "same-origin"
        assert headers["X-Frame-Options"] == "DENY"
        policy = dict(
            part.split(maxsplit=1) for part in headers["Content-Security-Policy"].split("; ")
        )
        assert policy["default-src"] == policy["frame-ancestors"] == "'none'"
        assert policy["connect-src"] == "'self'"
        assert policy["script-src"].startswith("'sha256-")
        assert "Python" not in headers["Server"]


def test_decode_draws_the_code_of_the_coordinates(server, space):
    rng = np.random.default_rng(0)
    where = rng.normal(size=(3, DIRECTIONS)).astype(np.float32)
    residual = 0.3 * rng.normal(size=(3, NUMBERS)).astype(np.float32)
    expected = space.decode(from_coordinates(space.axes, where) + residual)
    expected = np.round(255 * np.clip(expected, 0, 1))
    for i in range(3):
        status, headers, png = decode(server, point(where[i].tolist(), residual[i].tolist()))
        assert (status, headers["Content-Type"]) == (200, "image/png")
        np.testing.assert_allclose(pixels(png), expected[i], atol=1)
    assert np.abs(expected[0] - expected[1]).max() > 20


def test_encode_finds_the_point_that_decodes_to_the_reconstruction(server, space, photo):
    status, _, content = encode(server, file_of(Image.fromarray(photo)))
    assert status == 200
    found = json.loads(content)
    resized = resize_image(photo, SIZE, 3)
    np.testing.assert_array_equal(pixels(base64.b64decode(found["input"])), resized)
    image = jnp.asarray(resized[None] / np.float32(255))
    code = space.encode(image)
    expected = coordinates(space.axes, code)
    np.testing.assert_allclose(found["coordinates"], expected[0], rtol=1e-3, atol=1e-3)
    assert np.linalg.norm(found["residual"]) > 0.1
    reconstruction = np.asarray(space.decode(code))
    np.testing.assert_allclose(found["mse"], np.mean((reconstruction - image) ** 2), rtol=1e-4)
    redrawn = decode(server, point(found["coordinates"], found["residual"]))[2]
    shown = np.round(255 * reconstruction[0].clip(0, 1))
    np.testing.assert_allclose(pixels(redrawn), shown, atol=1)


def test_every_kind_of_image_is_read(server, photo):
    def seen(file):
        status, _, content = encode(server, file)
        assert status == 200, content
        return pixels(base64.b64decode(json.loads(content)["input"]))

    picture = Image.fromarray(photo)
    expected = resize_image(photo, SIZE, 3)
    for kind in ("PNG", "BMP", "TIFF"):
        np.testing.assert_array_equal(seen(file_of(picture, kind)), expected)
    exif = Image.Exif()
    exif[ORIENTATION] = TURNED
    turned = picture.transpose(Image.Transpose.ROTATE_90)
    np.testing.assert_array_equal(seen(file_of(turned, exif=exif)), expected)
    np.testing.assert_array_equal(seen(file_of(picture.convert("RGBA"))), expected)
    palette = picture.quantize(200)
    transparent = file_of(palette, transparency=bytes(range(200)))
    np.testing.assert_array_equal(seen(transparent), seen(file_of(palette)))
    for kind in ("JPEG", "WEBP"):
        assert np.abs(seen(file_of(picture, kind, quality=95)) - expected.astype(int)).mean() < 4
    grey = photo[..., 0]
    sixteen = Image.fromarray(grey.astype(np.uint16) * 256 + 7)
    np.testing.assert_array_equal(seen(file_of(sixteen)), seen(file_of(Image.fromarray(grey))))


def test_grey_spaces_draw_grey(serving, photo):
    server = serving(make_server(make_space(8, 1), size=8, channels=1, title="grey"))
    found = json.loads(encode(server, file_of(Image.fromarray(photo)))[2])
    expected = resize_image(photo, 8, 1)[..., 0]
    np.testing.assert_array_equal(pixels(base64.b64decode(found["input"])), expected)
    assert pixels(decode(server, point())[2]).shape == (8, 8)


def test_coordinates_beyond_the_sliders_are_drawn(server):
    assert decode(server, point([1e6]))[0] == decode(server, point([-4.5]))[0] == 200


def test_a_redraw_takes_less_than_50_ms(server):
    taken = []
    for step in range(40):
        begun = time.perf_counter()
        assert decode(server, point([step / 20]))[0] == 200
        taken.append(time.perf_counter() - begun)
    assert statistics.median(taken) < 0.05


def test_requests_at_the_same_time_get_their_own_answers(server):
    bodies = [point([value]) for value in np.linspace(-3, 3, 12).tolist()]
    alone = [decode(server, body)[2] for body in bodies]
    assert len(set(alone)) == len(bodies)
    with ThreadPoolExecutor(6) as pool:
        together = list(pool.map(lambda body: decode(server, body)[2], bodies))
    assert together == alone


def test_spaces_whose_numbers_are_not_finite(space):
    broken = space._replace(encode=lambda images: space.encode(images) * jnp.nan)
    with pytest.raises(UserError, match="aren't finite"):
        make_server(broken, size=SIZE, channels=3, title="diverged")
