"""The explorer's page, used in a real browser."""

import numpy as np
import pytest
from browser import Browser, find_browser
from PIL import Image
from small_space import SIZE, smooth_images

from vocjax.explorer.server import Route, Server

FIRST, SECOND = (f"#first .slider:nth-child({n}) input" for n in (1, 2))
ARRIVED = "!drawing && point !== undefined && document.querySelector('#time').textContent !== ''"
DIRECTIONS = 16


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    path = find_browser()
    if path is None:
        pytest.skip("no browser: install chromium (or google-chrome) and have it on the PATH")
    with Browser(path, tmp_path_factory.mktemp("profile")) as browser:
        yield browser


@pytest.fixture
def tab(browser, server):
    """The page on a desktop, loaded."""
    tab = browser.open(server.url, 1200, 850)
    tab.wait(ARRIVED)
    yield tab
    tab.close()


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """Three PNG files; the third has coordinates beyond the sliders."""
    folder = tmp_path_factory.mktemp("photos")
    images = smooth_images(3, SIZE, 3, seed=7)
    images[2] = (0.5 + 8 * (images[2] - 0.5)).clip(0, 1)
    paths = [folder / f"photo_{i}.png" for i in range(3)]
    for path, image in zip(paths, images, strict=True):
        Image.fromarray(np.uint8(255 * image)).save(path)
    return paths


def image(tab):
    """What the page shows, uint8 [height, width, 4]."""
    tab.wait(ARRIVED)
    size = tab.evaluate("document.querySelector('#image').width")
    data = tab.evaluate(f"""(() => {{
        const copy = new OffscreenCanvas({size}, {size});
        const context = copy.getContext("2d", {{ willReadFrequently: true }});
        context.drawImage(document.querySelector("#image"), 0, 0);
        return Array.from(context.getImageData(0, 0, {size}, {size}).data);
    }})()""")
    return np.array(data).reshape(size, size, 4)


def far(a, b):
    return np.abs(a - b).max() > 3


def text(tab, selector):
    return tab.evaluate(f"document.querySelector({selector!r}).textContent")


def sliders(tab):
    """The true coordinates, and where the sliders on the page stand."""
    shown = "[...document.querySelectorAll('.slider input')].map((input) => input.valueAsNumber)"
    return np.array(tab.evaluate("point.coordinates")), np.array(tab.evaluate(shown))


def test_a_drag_redraws_and_everything_stays_on_this_server(tab, server):
    assert text(tab, "h1") == "a run <of> mine"
    assert text(tab, ".slider").startswith("direction 1 · ")
    assert "% of the variance" in text(tab, ".slider")
    mean = image(tab)
    assert mean.shape == (SIZE, SIZE, 4)
    tab.drag(FIRST, 0.5, 0.9)
    moved = image(tab)
    assert far(mean, moved)
    true, _ = sliders(tab)
    assert 1.5 < true[0] <= 3
    assert not true[1:].any()
    assert text(tab, "#time").endswith(" ms · ")
    tab.click("#reset")
    np.testing.assert_array_equal(image(tab), mean)
    tab.click("#random")
    assert far(image(tab), mean)
    assert np.abs(sliders(tab)[0]).min() > 0
    assert {url.rpartition("/")[0] + "/" for url in tab.requests()} == {server.url}
    assert tab.complaints() == []


def test_the_policy_stops_foreign_scripts_and_addresses(tab):
    tab.evaluate(
        "document.body.append(Object.assign(document.createElement('script'),"
        "{textContent: 'window.foreign = 1'}))"
    )
    assert tab.evaluate("window.foreign") is None
    elsewhere = tab.evaluate("fetch('http://127.0.0.1:9/').then(() => 'sent', () => 'stopped')")
    assert elsewhere == "stopped"
    complaints = " ".join(tab.complaints())
    assert "script-src" in complaints
    assert "connect-src" in complaints


def test_keys_reach_everything(tab):
    order = []
    for _ in range(5):
        tab.press("Tab", 9)
        order.append(tab.evaluate("document.activeElement.ariaLabel ?? document.activeElement.id"))
    wanted = ["an image to start from", "an image to interpolate to", "reset", "random"]
    assert order == [*wanted, ""]
    tab.press("ArrowRight", 39)
    tab.press("ArrowRight", 39)
    assert sliders(tab)[0][0] == pytest.approx(0.02)


def test_requests_never_overlap_and_the_last_value_wins(tab):
    tab.evaluate("""(() => {
        const real = window.fetch;
        window.open_ = 0; window.most = 0; window.count = 0; window.last = null;
        window.fetch = async (...args) => {
            window.count += 1; window.most = Math.max(window.most, ++window.open_);
            window.last = JSON.parse(args[1].body).coordinates[0];
            await new Promise((done) => setTimeout(done, 30));
            try { return await real(...args); } finally { window.open_ -= 1; }
        };
        const input = document.querySelector('#first input');
        for (let i = 1; i <= 100; i++) {
            input.value = i / 50;
            input.dispatchEvent(new Event('input'));
        }
    })()""")
    tab.wait(ARRIVED)
    assert tab.evaluate("most") == 1
    assert tab.evaluate("count") == 2
    assert tab.evaluate("last") == 2


def test_an_image_to_start_from_and_one_to_interpolate_to(tab, photos):
    mean = image(tab)
    tab.choose("#start input", photos[0])
    tab.wait("!document.querySelector('#start canvas').hidden")
    started = image(tab)
    assert far(started, mean)
    true, shown = sliders(tab)
    np.testing.assert_allclose(shown, true[:12].clip(-3, 3), atol=0.006)
    assert np.abs(true).max() > 0.2
    assert text(tab, "#start + figcaption").startswith("MSE 0.0")
    assert photos[0].name in text(tab, "#start + figcaption")
    assert text(tab, "#caption").startswith("reconstruction, MSE 0.0")

    tab.drop("#end", photos[1])
    tab.wait("!document.querySelector('#mixing').hidden")
    np.testing.assert_array_equal(image(tab), started)
    tab.drag("#mixing input", 0.03, 1)
    ended = image(tab)
    assert far(ended, started)
    end = tab.evaluate("end.point.coordinates")
    np.testing.assert_allclose(sliders(tab)[0], end, rtol=1e-5)
    tab.drag("#mixing input", 0.97, 0.5)
    share = tab.evaluate("document.querySelector('#mixing input').valueAsNumber")
    assert 0.4 < share < 0.6
    between = true + share * (np.array(end) - true)
    np.testing.assert_allclose(sliders(tab)[0], between, rtol=1e-4, atol=1e-5)
    assert text(tab, "#caption") == f"{round(100 * share)} % of the way to {photos[1].name}"
    tab.drag("#mixing input", share, 0)
    np.testing.assert_allclose(image(tab), started, atol=1)

    tab.choose("#end input", photos[0])
    tab.wait("document.querySelector('#end + figcaption').textContent.includes('photo_0')")
    assert tab.complaints() == []


def test_moving_one_slider_leaves_the_coordinates_beyond_the_others(tab, photos):
    tab.choose("#start input", photos[2])
    tab.wait("!document.querySelector('#start canvas').hidden")
    before, shown = sliders(tab)
    beyond = np.abs(before) > 3
    assert beyond.any()
    assert np.abs(shown).max() == 3
    assert tab.evaluate("document.querySelectorAll('.beyond').length") == beyond[:12].sum()
    tab.drag(SECOND, 0.5, 0.7)
    after, _ = sliders(tab)
    assert after[1] != before[1]
    np.testing.assert_array_equal(np.delete(after, 1), np.delete(before, 1))


def test_every_direction_is_reachable(tab):
    assert tab.evaluate("document.querySelectorAll('.slider').length") == 12
    tab.click("#more summary")
    tab.wait("document.querySelectorAll('.slider').length > 12")
    assert tab.evaluate("document.querySelectorAll('.slider').length") == DIRECTIONS
    mean = image(tab)
    tab.drag("#others .slider:last-child input", 0.5, 1)
    assert sliders(tab)[0][-1] == 3
    assert not np.array_equal(image(tab), mean)


def test_what_can_not_be_read_is_said(tab, tmp_path, photos):
    said = "document.querySelector('#errors').textContent"
    for name, content, sentence in (
        ("no.txt", b"no image", "can't be read as an image"),
        ("empty.png", b"", "can't be read as an image"),
        ("large.png", bytes(10 * 10**6 + 1), "larger than 10 MB"),
    ):
        file = tmp_path / name
        file.write_bytes(content)
        tab.choose("#start input", file)
        tab.wait(f"{said}.includes({sentence!r})".replace('"', "`"))
        assert tab.evaluate(said).startswith(f"{name}: ")
    assert tab.evaluate("document.querySelector('#start canvas').hidden")
    tab.choose("#start input", photos[0])
    tab.wait(f"{said} === ''")


def test_a_server_that_fails_or_is_gone_is_said(browser, server, serving):
    def fail(body):
        raise ZeroDivisionError

    failing = Route("POST", "image/png", fail, "application/json", 2**16)
    routes = {**server.routes, "/decode": failing}
    broken = serving(Server("127.0.0.1", 0, routes, server.headers))
    tab = browser.open(broken.url, 1200, 850)
    said = "document.querySelector('#errors').textContent"
    tab.wait(f"{said}.includes('the explorer failed (ZeroDivisionError)')")
    broken.shutdown()
    broken.server_close()
    tab.drag(FIRST, 0.5, 0.6)
    tab.wait(f"{said}.includes('is vocjax explore still running?')")
    tab.close()


@pytest.mark.parametrize("width", [320, 390])
def test_a_phones_width_is_enough(browser, server, photos, width):
    tab = browser.open(server.url, width, 844)
    tab.choose("#start input", photos[0])
    tab.wait("!document.querySelector('#start canvas').hidden")
    tab.choose("#end input", photos[1])
    tab.wait("!document.querySelector('#mixing').hidden")
    assert tab.evaluate("document.documentElement.scrollWidth <= innerWidth")
    tab.box("#first .slider:last-child")  # far down: the image stays in sight
    corner = tab.evaluate("document.querySelector('#image').getBoundingClientRect().toJSON()")
    assert corner["top"] >= 0
    assert corner["bottom"] < 844
    assert corner["width"] > 100
    before = image(tab)
    tab.drag(FIRST, 0.5, 0.1)
    assert far(image(tab), before)
    tab.close()
