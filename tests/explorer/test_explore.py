"""What the explorer answers for a latent space."""

import base64
import io
import json
import statistics
import time
from concurrent.futures import ThreadPoolExecutor

import jax.numpy as jnp
import numpy as np
import pytest
from client import refused, send
from PIL import Image
from small_space import DIRECTIONS, NUMBERS, SIZE, smooth_images

from vocjax.data.pipeline import resize_image
from vocjax.errors import UserError
from vocjax.explorer.explore import make_decoder, make_encoder, make_server, parse_point
from vocjax.latent import LatentSpace


def point(values=(), residual=None):
    start = list(values) + [0] * (DIRECTIONS - len(values))
    return {"coordinates": start, "residual": residual or [0] * NUMBERS}


def decode(server, body):
    return send(server, "POST", "/decode", json.dumps(body).encode())


def pixels(png):
    return np.asarray(Image.open(io.BytesIO(png)))


PHOTO = (255 * smooth_images(1, 40, 3, seed=5)[0, :, :30]).astype(np.uint8)
PHOTO_FILE = io.BytesIO()
Image.fromarray(PHOTO).save(PHOTO_FILE, "PNG")


def test_the_page_and_the_space(server, space):
    for path, kind in (("/", "html"), ("/page.css", "css"), ("/page.js", "javascript")):
        status, headers, content = send(server, "GET", path)
        assert (status, headers["Content-Type"]) == (200, f"text/{kind}; charset=utf-8")
        assert content
    said = json.loads(send(server, "GET", "/space")[2])
    assert (said["title"], said["numbers"]) == ("a run <of> mine", NUMBERS)
    share = space.axes.variance / space.axes.variance.sum()
    np.testing.assert_allclose(said["share"], share, rtol=1e-6)


def test_decode_draws_the_code_of_the_coordinates(server, space):
    rng = np.random.default_rng(0)
    where = rng.normal(size=(3, DIRECTIONS)).astype(np.float32)
    residual = 0.3 * rng.normal(size=(3, NUMBERS)).astype(np.float32)
    mean, directions, variance, _ = space.axes
    codes = mean + (np.sqrt(variance) * where) @ directions + residual
    expected = np.round(255 * space.decode(codes).clip(0, 1))
    for i in range(3):
        status, headers, png = decode(server, point(where[i].tolist(), residual[i].tolist()))
        assert (status, headers["Content-Type"]) == (200, "image/png")
        np.testing.assert_allclose(pixels(png), expected[i], atol=1)
    assert np.abs(expected[0] - expected[1]).max() > 20
    for beyond_the_sliders in (1e6, -4.5):
        assert decode(server, point([beyond_the_sliders]))[0] == 200
    assert refused(decode(server, {})) == 400


def test_encode_finds_the_point_that_decodes_to_the_reconstruction(server, space):
    found = json.loads(send(server, "POST", "/encode", PHOTO_FILE.getvalue())[2])
    resized = resize_image(PHOTO, SIZE, 3)
    np.testing.assert_array_equal(pixels(base64.b64decode(found["input"])), resized)
    image = resized[None] / np.float32(255)
    code = space.encode(image)
    mean, directions, variance, _ = space.axes
    expected = (code - mean) @ directions.T / np.sqrt(variance)
    np.testing.assert_allclose(found["coordinates"], expected[0], rtol=1e-3, atol=1e-3)
    assert np.linalg.norm(found["residual"]) > 0.1
    reconstruction = space.decode(code)
    np.testing.assert_allclose(found["mse"], np.mean((reconstruction - image) ** 2), rtol=1e-4)
    redrawn = decode(server, point(found["coordinates"], found["residual"]))[2]
    shown = np.round(255 * reconstruction[0].clip(0, 1))
    np.testing.assert_allclose(pixels(redrawn), shown, atol=1)
    assert refused(send(server, "POST", "/encode", b"no image")) == 400


def test_grey_spaces_draw_grey(space):
    grey = LatentSpace(
        lambda images: space.encode(jnp.repeat(images, 3, -1)),
        lambda codes: space.decode(codes)[..., :1],
        space.axes,
    )
    found = make_encoder(grey, SIZE, 1)(PHOTO_FILE.getvalue())
    expected = resize_image(PHOTO, SIZE, 1)[..., 0]
    np.testing.assert_array_equal(pixels(base64.b64decode(found["input"])), expected)
    mean = make_decoder(grey)(np.zeros(DIRECTIONS), np.zeros(NUMBERS))
    assert pixels(mean).shape == (SIZE, SIZE)


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


def test_spaces_that_cannot_be_explored(space):
    diverged = space._replace(encode=lambda images: jnp.full((len(images), NUMBERS), jnp.nan))
    alike = space._replace(axes=space.axes._replace(variance=jnp.zeros(1)))
    same = "the codes of all training images are the same"
    for broken, message in ((diverged, "aren't finite"), (alike, same)):
        with pytest.raises(UserError, match=message):
            make_server(broken, size=SIZE, channels=3, title="broken")


COUNTS = {"coordinates": 2, "residual": 3}


def test_a_point_is_read():
    read = parse_point(b'{"residual": [0, 1e6, 2], "coordinates": [-1.5, -1000000]}', COUNTS)
    np.testing.assert_array_equal(read["coordinates"], np.float32([-1.5, -1e6]))
    np.testing.assert_array_equal(read["residual"], np.float32([0, 1e6, 2]))


NO_NUMBERS = ["NaN", "-Infinity", "1e999", "1e7", "-2000000", "1" + 500 * "0", '"1"', "null"]
NO_NUMBERS += ["true", "[1]"]
NO_POINTS = ["", "{", "\xff\xfe", "[" * 60000, "[]", "3", '{"coordinates": [0, 0]}', "9" * 5000]
NO_POINTS += [
    f'{{"coordinates": {coordinates}, "residual": {residual}}}'
    for coordinates, residual in (
        *(("[0, 0]", f"[0, 0, {number}]") for number in NO_NUMBERS),
        ("[NaN, 0]", "[0, 0, 0]"),
        ("[0, 0, 0]", "[0, 0, 0]"),
        ("[0, 0]", "[0, 0]"),
        ("[0, 0]", '[0, 0, 0], "more": 1'),
        ('"00"', "[0, 0, 0]"),
    )
]


@pytest.mark.parametrize("body", NO_POINTS, ids=lambda body: body[:60])
def test_json_that_is_no_point(body):
    with pytest.raises(UserError, match=r"the request|must be"):
        parse_point(body.encode("latin-1"), COUNTS)
