"""The report in a real browser: accessibility, widths, cards on a phone, print."""

import base64
import re
from importlib import resources

import pytest
from whole_story import STEPS, write_story

from vocjax.reporting.page import write_report

pytestmark = pytest.mark.slow
PHONE, DESKTOP, PAPER = 360, 1280, 688  # pixels; A4 without its margins
# What reaches beyond the right edge, or can be scrolled sideways.
WIDE = """[...document.querySelectorAll('body *')].filter((e) => {
    const box = e.getBoundingClientRect();
    const scrolls = /auto|scroll/.test(getComputedStyle(e).overflowX);
    const within = e.closest('svg, .plane, thead');
    return box.width > 0 && !within && (box.right > document.documentElement.clientWidth + 0.5
        || (scrolls && e.scrollWidth > e.clientWidth));
}).map((e) => e.tagName + ' ' + e.className + ' ' + e.textContent.slice(0, 30))"""
OPEN = "document.querySelectorAll('details').forEach((d) => { d.open = true; })"


@pytest.fixture(scope="module")
def url(tmp_path_factory):
    folder = tmp_path_factory.mktemp("story")
    write_story(folder)
    write_report([folder], folder / "report.html")
    return (folder / "report.html").as_uri()


@pytest.fixture(scope="module", params=[DESKTOP, PHONE])
def tab(browser, url, request):
    """The page from disk, with everything unfolded."""
    with browser.tab(url, width=request.param, height=800) as tab:
        tab.evaluate(OPEN)
        yield tab


def style(tab, selector, name):
    return tab.evaluate(f"getComputedStyle(document.querySelector({selector!r})).{name}")


def test_axe_finds_nothing(tab):
    axe = resources.files("axe_core_python").joinpath("axe.min.js").read_text(encoding="utf-8")
    tab.evaluate(axe + "; 0")
    passed, found = tab.evaluate("""axe.run({preload: false}).then((results) => [
        results.passes.map((rule) => rule.id),
        results.violations.map((rule) => rule.id + ': ' + rule.nodes.map((n) => n.html))])""")
    assert found == []
    rules = {"color-contrast", "heading-order", "image-alt", "region", "html-has-lang"}
    assert rules <= set(passed)


def test_nothing_is_wider_than_the_screen_or_scrolls_sideways(tab):
    root = "document.documentElement"
    assert tab.evaluate(f"{root}.scrollWidth <= {root}.clientWidth")
    assert tab.evaluate(WIDE) == []
    complaints = ("Runtime.exceptionThrown", "Log.entryAdded")
    assert tab.events(*complaints) == []


def test_every_network_is_drawn_and_described(tab):
    names = tab.evaluate("[...document.querySelectorAll('.network')].map((e) => e.ariaLabel)")
    assert len(names) == 6  # two runs of the encoder and of the classifier have one network
    assert all(re.match(r"Network of .*: image \d+", name) for name in names)
    assert len(STEPS) == 8


def test_on_a_phone_rows_are_cards_with_a_name_for_each_value(browser, url):
    cell = ".results:not(.all) td[data-label]"
    for width, display in ((DESKTOP, "table-cell"), (PHONE, "flex")):
        with browser.tab(url, width=width) as tab:
            assert style(tab, cell, "display") == display
            named = tab.evaluate(
                f"getComputedStyle(document.querySelector('{cell}'), '::before').content"
            )
            assert ("MSE" in named or "attr" in named) == (width == PHONE)


def test_print_has_what_is_folded_and_cuts_nothing(browser, url):
    with browser.tab(url, width=PAPER) as tab:
        tab.send("Emulation.setEmulatedMedia", media="print")
        folded = "document.querySelector('details.run:not([open]) figure').offsetHeight"
        assert tab.evaluate(folded) > 0
        assert style(tab, "nav", "display") == "none"
        assert tab.evaluate(WIDE) == []
        pdf = base64.b64decode(tab.send("Page.printToPDF", preferCSSPageSize=True)["data"])
        assert pdf.startswith(b"%PDF")
        assert len(re.findall(rb"/Type\s*/Page\b", pdf)) >= 6  # a page, at least, for each section
