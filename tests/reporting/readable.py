"""Whether the text of a figure can be read."""

import matplotlib
from matplotlib.text import Text

from vocjax.reporting import figures as draw


@matplotlib.rc_context(draw.STYLE)
def boxes_of(figure):
    """Where each text stands that is drawn, in pixels, and the figure itself."""
    figure.draw_without_rendering()
    ticks = {
        tick.get_text(): low <= place <= high
        for axis in figure.axes
        for side, ticks in enumerate((axis.xaxis, axis.yaxis))
        for low, high in [sorted(ticks.get_view_interval())]
        for tick in ticks.get_ticklabels()
        for place in [tick.get_position()[side]]
    }
    texts = [t for t in figure.findobj(Text) if t.get_visible() and t.get_text().strip()]
    texts = [t for t in texts if ticks.get(t.get_text(), True)]
    return [text.get_window_extent() for text in texts], figure.bbox


def assert_readable(figure, title):
    boxes, whole = boxes_of(figure)
    assert boxes
    for i, box in enumerate(boxes):
        assert whole.x0 <= box.x0 and box.x1 <= whole.x1, title
        assert whole.y0 <= box.y0 and box.y1 <= whole.y1, title
        assert box.count_overlaps(boxes[i + 1 :]) == 0, title
