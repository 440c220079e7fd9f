"""The scatter of images: where its points stand, and which image each of them shows."""

import base64
import io
import re

import numpy as np
import pytest
from example_runs import Page, codes_of
from PIL import Image

from vocjax.reporting.figures import COLOURS
from vocjax.reporting.hover import Scatter, scatter, to_html

SIDE = 8  # of a thumbnail: one block of JPEG


def scatter_of(n, channels=3, **changes):
    """n flat images of random brightness at random places."""
    rng = np.random.default_rng(n)
    grey = np.repeat(rng.integers(0, 256, (n, 1, 1, 1), np.uint8), channels, axis=3)
    drawn = Scatter(
        {"plane": rng.normal(size=(n, 2))},
        np.arange(n) % 2,
        ["cat", "dog"],
        np.arange(n) % 3 == 0,
        np.tile(grey, (1, SIDE, SIDE, 1)),
        np.array([f"2008_{i:06d}" for i in range(n)]),
    )
    return drawn._replace(**changes)


def points(html, view=0):
    """id -> (style as a dict, whether it is marked as held out) of the points of a view."""
    planes = html.split('<div class="plane"')[1:]
    found = re.findall(r'<i( class=v)? style="([^"]*)" data-id="([^"]*)"></i>', planes[view])
    styles = {
        name: (dict(pair.split(":") for pair in style.split(";")), bool(held_out))
        for held_out, style, name in found
    }
    assert len(styles) == len(found)
    return styles


def places(html, ids, view=0):
    styles = [points(html, view)[name][0] for name in ids]
    return np.array([[float(style[side][:-1]) for side in ("left", "bottom")] for style in styles])


def sheet(html):
    (data,) = re.findall(r"--sheet:url\(data:image/jpeg;base64,([^)]*)\)", html)
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(data))))


def test_every_image_is_a_point_in_the_colour_of_its_group_and_hollow_if_held_out():
    drawn = scatter_of(7)
    of = points(to_html(drawn))
    assert list(of) == list(drawn.ids)
    for i, name in enumerate(drawn.ids):
        style, held_out = of[name]
        assert style["--c"] == COLOURS[i % 2]
        assert held_out == drawn.held_out[i]


def test_distances_are_those_of_the_points_on_one_scale():
    drawn = scatter_of(20)
    flat = drawn.views["plane"] * [3, 1]
    shown = places(to_html(drawn._replace(views={"plane": flat})), drawn.ids)
    assert ((shown >= 0) & (shown <= 100)).all()
    scale = np.ptp(shown[:, 0]) / np.ptp(flat[:, 0])
    np.testing.assert_allclose(shown - shown[0], scale * (flat - flat[0]), atol=0.11)  # one digit


def test_each_view_has_every_point():
    views = {"a": np.array([[0.0, 0], [1, 1], [2, 0]]), "b": np.array([[5.0, 5], [5, 4], [5, 3]])}
    html = to_html(scatter_of(3, views=views))
    ids = scatter_of(3).ids
    assert places(html, ids, 0)[:, 0].tolist() == sorted(places(html, ids, 0)[:, 0])
    assert places(html, ids, 1)[:, 1].tolist() == sorted(places(html, ids, 1)[:, 1])[::-1]
    assert Page(html).text.startswith("ab")


@pytest.mark.parametrize(("n", "channels"), [(5, 3), (70, 3), (40, 1)])
def test_a_point_shows_its_own_image_of_the_sheet(n, channels):
    drawn = scatter_of(n, channels)
    html = to_html(drawn)
    picture = sheet(html)
    columns, rows = (int(re.findall(rf"--{name}:(\d+)", html)[0]) for name in ("columns", "rows"))
    assert picture.shape == (rows * SIDE, columns * SIDE, 3)
    for i, name in enumerate(drawn.ids):
        style, _ = points(html)[name]
        x, y = SIDE * int(style["--x"]), SIDE * int(style["--y"])
        shown = picture[y : y + SIDE, x : x + SIDE].astype(int)
        assert np.abs(shown - drawn.thumbnails[i]).max() <= 3, name  # what JPEG loses


def test_points_in_one_place_are_drawn_in_the_middle_and_the_legend_names_groups_and_splits():
    html = to_html(scatter_of(3, views={"plane": np.ones((3, 2))}))
    assert places(html, scatter_of(3).ids).tolist() == [[50, 50]] * 3
    assert Page(html).text == "planecatdogtrainval"


def test_the_scatter_of_a_run_has_the_embedded_images_of_both_splits():
    samples = codes_of()
    found = scatter(samples, ("cat", "dog"))
    assert [*found.ids] == [f"train{i}" for i in range(4)] + [f"val{i}" for i in range(3)]
    assert found.held_out.tolist() == [False] * 4 + [True] * 3
    assert [found.names[group] for group in found.groups] == ["dog"] * 7
    thumbnails = [samples["train/thumbnail"][:4], samples["val/thumbnail"][:3]]
    np.testing.assert_array_equal(found.thumbnails, np.concatenate(thumbnails))
    alone = scatter(samples, ())
    assert (alone.names, alone.groups.tolist()) == (("image",), [0] * 7)
    assert scatter(samples, ("dog",), "before/") is None
