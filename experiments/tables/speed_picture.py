"""The picture of the benchmark: a step beside ours, and the seconds to the first one."""

from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, NullLocator

from experiments.tables.speed import TITLES, clock_of, title_of
from vocjax.reporting import figures as draw

SHAPES = ("o", "s", "^", "D", "v")
APART = 0.15  # of a row's height, from one framework's mark to the next


@draw.styled
def speed_picture(records: list[dict[str, Any]]) -> Figure:
    """Draw a mark for each row and framework; the rows are from above, the axes logarithmic.

    On the left the time of a step divided by ours, on the right the seconds from the start of the
    process to the end of the first step. There a hollow mark is a second start, with programs from
    the cache.
    """
    _, suffix = clock_of(records)
    names = [name for name in TITLES if any(name in record["frameworks"] for record in records)]
    figure = Figure(figsize=(1.6 * draw.WIDTH, 1.3 + 0.62 * len(records)))
    step, first = figure.subplots(1, 2, sharey=True)
    for y, record in enumerate(records):
        ours = record["frameworks"]["ours"][f"step{suffix}"]["median"]
        for i, name in enumerate(names):
            found = record["frameworks"].get(name, {"missing": "not run"})
            if "missing" in found:
                continue
            place = y + APART * (i - (len(names) - 1) / 2)
            _mark(step, place, i, found[f"step{suffix}"]["median"] / ours, start=1.0)
            cold, warm = found[f"first{suffix}"], found[f"warm_first{suffix}"]
            seconds = [one["median"] for one in (cold, warm) if one]
            _mark(first, place, i, *seconds, start=seconds[-1])
    _finish(figure, step, first, records, names)
    return figure


def _mark(axis: Axes, y: float, number: int, value: float, *hollow: float, start: float) -> None:
    """Draw a framework's mark, number `number`, and a line to it."""
    style: dict[str, Any] = {"color": draw.COLOURS[number], "marker": SHAPES[number], "ms": 5}
    axis.plot([start, value], [y, y], color=draw.COLOURS[number], lw=1.6, alpha=0.6)
    axis.plot([value], [y], ls="none", **style)
    for other in hollow:
        axis.plot([other], [y], ls="none", markerfacecolor="white", **style)


def _finish(
    figure: Figure, step: Axes, first: Axes, records: list[dict[str, Any]], names: list[str]
) -> None:
    """Write titles, axes and the legend."""
    unit = "seconds of a processor" if clock_of(records)[1] else "seconds"
    step.set(title="A training step", xlabel="times ours (right of 1: slower than ours)")
    first.set(title="From the start to the end of the first step", xlabel=unit)
    step.axvline(1, color=draw.QUIET, lw=1)
    labels = ["\n".join(title_of(record).rsplit(", ", 1)) for record in records]
    step.set_yticks(range(len(records)), labels, fontsize=9)
    step.set_ylim(len(records) - 0.5, -0.5)
    for axis in (step, first):
        axis.set_xscale("log")
        axis.grid(axis="x")
        axis.tick_params(axis="y", length=0)
        for y in range(1, len(records)):
            axis.axhline(y - 0.5, color="#e4e4e4", lw=0.8)
        axis.xaxis.set_minor_locator(NullLocator())
        axis.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    step.xaxis.set_major_locator(FixedLocator([0.5, 0.7, 1, 1.5, 2, 3, 5, 10, 20]))
    first.xaxis.set_major_locator(LogLocator(base=10, subs=(1.0, 2.0, 5.0)))
    marks = [
        step.plot([], [], ls="none", marker=shape, color=colour, label=TITLES[name])[0]
        for name, shape, colour in zip(names, SHAPES, draw.COLOURS, strict=False)
    ]
    hollow: Any = {"marker": "o", "markerfacecolor": "white", "color": draw.QUIET}
    marks += step.plot([], [], ls="none", label="hollow: a second start, programs kept", **hollow)
    figure.legend(handles=marks, ncols=3, **draw.BELOW)
