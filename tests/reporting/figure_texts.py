"""The texts of a figure: what they are, and whether they can be read."""

import matplotlib
import pytest
from matplotlib.text import Text

from vocjax.reporting import figures as draw


def named(figures, start):
    """The figure whose caption starts with a text."""
    (figure,) = (figure for title, figure in figures.items() if title.startswith(start))
    return figure


def dots_of(comparison, runs):
    """The caption of a comparison; the rows by panel and the levels, as `draw.dots` takes them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(draw, "dots", lambda panels, _, levels, __: (panels, levels))
        ((caption, (panels, levels)),) = comparison(runs).items()
    return caption, panels, levels


def titles(figure):
    return [axis.get_title(loc="left") for axis in figure.axes]


def legend(figure):
    return [text.get_text() for text in figure.legends[0].get_texts()]


def ticks(axis, side="y"):
    return [tick.get_text() for tick in getattr(axis, f"get_{side}ticklabels")()]


@matplotlib.rc_context(draw.STYLE)
def assert_readable(figure, title):
    """No text that is drawn is cut, and none overlaps another."""
    figure.draw_without_rendering()
    shown = {
        tick.get_text(): low <= tick.get_position()[side] <= high
        for axis in figure.axes
        for side, of_side in enumerate((axis.xaxis, axis.yaxis))
        for low, high in [sorted(of_side.get_view_interval())]
        for tick in of_side.get_ticklabels()
    }
    texts = [t for t in figure.findobj(Text) if t.get_visible() and t.get_text().strip()]
    texts = [t for t in texts if shown.get(t.get_text(), True)]
    boxes, whole = [text.get_window_extent() for text in texts], figure.bbox
    assert boxes
    for i, box in enumerate(boxes):
        assert whole.x0 <= box.x0 and box.x1 <= whole.x1, title
        assert whole.y0 <= box.y0 and box.y1 <= whole.y1, title
        assert box.count_overlaps(boxes[i + 1 :]) == 0, title
