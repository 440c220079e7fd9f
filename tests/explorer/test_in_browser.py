"""The explorer's page, used in a real browser."""

import numpy as np
import pytest
from client import answering
from PIL import Image
from small_space import DIRECTIONS, SIZE, smooth_images

from vocjax.explorer.server import Route, Server

FIRST, SECOND = (f"#first .slider:nth-child({n}) input" for n in (1, 2))
ARRIVED = "!drawing && point !== undefined && document.querySelector('#time').textContent !== ''"
COMPLAINTS = ("Runtime.consoleAPICalled", "Runtime.exceptionThrown", "Log.entryAdded")
SAID = "document.querySelector('#errors').textContent"


@pytest.fixture
def tab(browser, server):
    """The page on a desktop, loaded."""
    with browser.tab(server.url) as tab:
        tab.wait(ARRIVED)
        yield tab


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """Three PNG files; the third has coordinates beyond the sliders."""
    images = smooth_images(3, SIZE, 3, seed=7)
    images[2] = (0.5 + 8 * (images[2] - 0.5)).clip(0, 1)
    paths = [tmp_path_factory.mktemp("photos") / f"photo_{i}.png" for i in range(3)]
    for path, image in zip(paths, images, strict=True):
        Image.fromarray(np.uint8(255 * image)).save(path)
    return paths


def image(tab):
    """What the page shows, uint8 [height, width, 4]."""
    tab.wait(ARRIVED)
    data = tab.evaluate(f"""(() => {{
        const context = new OffscreenCanvas({SIZE}, {SIZE}).getContext("2d");
        context.drawImage(document.querySelector("#image"), 0, 0);
        return Array.from(context.getImageData(0, 0, {SIZE}, {SIZE}).data);
    }})()""")
    return np.array(data).reshape(SIZE, SIZE, 4)


def far(a, b):
    return np.abs(a - b).max() > 3


def text(tab, selector):
    return tab.evaluate(f"document.querySelector({selector!r}).textContent")


def sliders(tab):
    """The true coordinates, and where the sliders on the page stand."""
    shown = "[...document.querySelectorAll('.slider input')].map((input) => input.valueAsNumber)"
    return np.array(tab.evaluate("point.coordinates")), np.array(tab.evaluate(shown))


def start_from(tab, photo):
    tab.choose("#start input", photo)
    tab.wait("!document.querySelector('#start canvas').hidden")


def test_a_drag_redraws_and_everything_stays_on_this_server(tab, server):
    assert text(tab, "h1") == "a run <of> mine"
    assert text(tab, ".slider").startswith("direction 1 · ")
    assert "% of the variance" in text(tab, ".slider")
    mean = image(tab)
    tab.drag(FIRST, 0.5, 0.9)
    assert far(mean, image(tab))
    true, _ = sliders(tab)
    assert 1.5 < true[0] <= 3
    assert not true[1:].any()
    assert text(tab, "#time").endswith(" ms · ")
    tab.click("#reset")
    np.testing.assert_array_equal(image(tab), mean)
    tab.click("#random")
    assert far(image(tab), mean)
    assert np.abs(sliders(tab)[0]).min() > 0
    urls = [sent["request"]["url"] for sent in tab.events("Network.requestWillBeSent")]
    assert {url.rpartition("/")[0] + "/" for url in urls} == {server.url}
    assert tab.events(*COMPLAINTS) == []


def test_the_policy_stops_foreign_scripts_and_addresses(tab):
    tab.evaluate(
        "document.body.append(Object.assign(document.createElement('script'),"
        "{textContent: 'window.foreign = 1'}))"
    )
    assert tab.evaluate("window.foreign") is None
    elsewhere = tab.evaluate("fetch('http://127.0.0.1:9/').then(() => 'sent', () => 'stopped')")
    assert elsewhere == "stopped"
    complaints = str(tab.events(*COMPLAINTS))
    assert "script-src" in complaints
    assert "connect-src" in complaints


def test_keys_reach_everything(tab):
    for name in ("an image to start from", "an image to interpolate to", "reset", "random", ""):
        tab.press("Tab", 9)
        reached = tab.evaluate("document.activeElement.ariaLabel ?? document.activeElement.id")
        assert reached == name
    tab.press("ArrowRight", 39)
    assert sliders(tab)[0][0] == pytest.approx(0.01)


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
    assert tab.evaluate("[most, count, last]") == [1, 2, 2]


def test_an_image_to_start_from_and_one_to_interpolate_to(tab, photos):
    mean = image(tab)
    start_from(tab, photos[0])
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
    assert far(image(tab), started)
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
    assert tab.events(*COMPLAINTS) == []


def test_moving_one_slider_leaves_the_coordinates_beyond_the_others(tab, photos):
    start_from(tab, photos[2])
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
    tab.wait(f"document.querySelectorAll('.slider').length === {DIRECTIONS}")
    mean = image(tab)
    tab.drag("#others .slider:last-child input", 0.5, 1)
    assert sliders(tab)[0][-1] == 3
    assert not np.array_equal(image(tab), mean)


def test_files_that_cannot_be_read(tab, tmp_path, photos):
    for name, content, sentence in (
        ("no.txt", b"no image", "can`t be read as an image"),
        ("large.png", bytes(10 * 10**6 + 1), "larger than 10 MB"),
    ):
        file = tmp_path / name
        file.write_bytes(content)
        tab.choose("#start input", file)
        tab.wait(f"{SAID}.replace(/'/, '`').includes('{sentence}')")
        assert tab.evaluate(SAID).startswith(f"{name}: ")
    assert tab.evaluate("document.querySelector('#start canvas').hidden")
    start_from(tab, photos[0])
    tab.wait(f"{SAID} === ''")


def test_a_server_that_fails_or_is_gone(browser, server):
    def fail(body):
        raise ZeroDivisionError

    routes = server.routes | {"POST /decode": Route("image/png", fail)}
    with answering(Server("127.0.0.1", 0, routes)) as broken, browser.tab(broken.url) as tab:
        tab.wait(f"{SAID}.includes('the explorer failed (ZeroDivisionError)')")
        broken.shutdown()
        broken.server_close()
        tab.drag(FIRST, 0.5, 0.6)
        tab.wait(f"{SAID}.includes('is vocjax explore still running?')")


def test_a_phones_width_is_enough(browser, server, photos):
    with browser.tab(server.url, 320, 844) as tab:
        start_from(tab, photos[0])
        tab.choose("#end input", photos[1])
        tab.wait("!document.querySelector('#mixing').hidden")
        assert tab.evaluate("document.documentElement.scrollWidth <= innerWidth")
        tab.place("#first .slider:last-child")  # far down: the image stays in sight
        corner = tab.evaluate("document.querySelector('#image').getBoundingClientRect().toJSON()")
        assert corner["top"] >= 0
        assert corner["bottom"] < 844
        assert corner["width"] > 100
        before = image(tab)
        tab.drag(FIRST, 0.5, 0.1)
        assert far(image(tab), before)
