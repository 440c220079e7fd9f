"""The pictures of runs as HTML: their networks, and what each of them kept."""

import base64
import math
import re
from collections.abc import Callable, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from vocjax.errors import UserError
from vocjax.reporting import drawing, figures, hover
from vocjax.reporting.hover import Drawn, Scatter
from vocjax.reporting.shapes import Map, maps_of
from vocjax.reporting.shown import labelled
from vocjax.reporting.table import in_order
from vocjax.runs.reader import Run, counted, joined, lookup, read_config


def networks(runs: Sequence[Run]) -> str:
    """Return the drawing of each network of some runs, once, with the names of its runs."""
    found: dict[str, tuple[tuple[Map, ...], list[Run]]] = {}
    for run in runs:
        if maps := _maps(run):
            found.setdefault(f"{maps} {_outputs(run)}", (maps, []))[1].append(run)
    drawings = []
    for maps, of in found.values():
        names = joined(*dict.fromkeys(run.name for run in of))
        picture = drawing.draw(maps, _outputs(of[0]), f"Network of {names}")
        drawings.append(f"<figure>{picture}{_caption(_of_network(maps, of, names))}</figure>")
    return f'<div class="panels networks">{"".join(drawings)}</div>' if drawings else ""


def _maps(run: Run) -> tuple[Map, ...]:
    """The maps of a run's network; none for a network of the user's, or a config of other fields.

    The code of a user's network is not run for a drawing.
    """
    if ":" in str(run.field("model.name")):
        return ()
    try:
        return maps_of(read_config(run.directory))
    except (UserError, AttributeError, KeyError, TypeError):
        return ()


def _outputs(run: Run) -> str:
    classes = run.field("data.classes") or ()
    return joined(*classes) if 0 < len(classes) <= 3 else "classes"


def _of_network(maps: Sequence[Map], runs: Sequence[Run], names: str) -> str:
    """What is said of a network: its size, and where its encoder begins."""
    code = next(found for found in maps if found.part == "code").numbers
    parameters = runs[0].provenance.get("parameters")
    starts = dict.fromkeys(Path(start).name for run in runs if (start := run.field("init_from")))
    frozen = {run.name: None for run in runs if _is_frozen(run)}
    stays = "" if len(frozen) == len({run.name for run in runs}) else f" in {joined(*frozen)}"
    return joined(
        f"{names}: {counted(parameters, 'parameter')}" if parameters else names,
        f"a code of {code:,} numbers for the {maps[0].numbers:,} of an image",
        f"the encoder begins as that of {joined(*starts)}" if starts else "",
        f"and stays as it is{stays}" if frozen else "",
    )


def _is_frozen(run: Run) -> bool:
    """Whether no phase of a run that begins from another trains the encoder."""
    phases = run.field("optimizer.phases") or ((0, ((".*", 1.0),)),)
    path = "encoder/stage/kernel"  # stands for all: rules that tell stages apart train some of them
    factors = [
        next((factor for regex, factor in rules if re.fullmatch(regex, path)), 1.0)
        for _, rules in phases
    ]
    return bool(run.field("init_from")) and (not run.field("epochs") or not any(factors))


def run_by_run(runs: Sequence[Run], draw: Callable[[Run], Drawn]) -> str:
    """Return each run's pictures; they are folded if there are several runs."""
    found = {run.directory: body for run in runs if (body := _of_run(run, draw))}
    opened = " open" if len(found) == 1 else ""
    return "".join(
        f'<details class="run"{opened}><summary><h4>{escape(name)}</h4></summary>'
        f"{found[run.directory]}</details>"
        for name, run in zip(labelled(runs), runs, strict=True)
        if run.directory in found
    )


def _of_run(run: Run, draw: Callable[[Run], Drawn]) -> str:
    """A run's learning curves, where it has epochs; its task's figures, where it has samples."""
    best = lookup(run.results, "best", "epoch")
    pca = run.baseline("PCA")
    curves, blocks = [], []
    for name in _metrics_of_curves(run.epochs):  # a picture for each: on a phone one is below
        levels = {split: values[name] for split, values in pca.items() if name in values}
        figure = figures.learning_curve(run.epochs, name, best, levels)
        curves.append(_image(figure, f"{run.name}: {name} by epoch"))
    if curves:
        chosen = f"best {lookup(run.results, 'best', 'metric')} on val at epoch {best}"
        dotted = "dotted: PCA with as many components or all it has" if pca else ""
        caption = joined("Learning curves", chosen if best is not None else "", dotted)
        blocks.append(f'<div class="panels">{"".join(curves)}</div>{_caption(caption)}')
    pictures = draw(run) if run.samples else {}
    blocks += [drawn(figure, title, f"{run.name}: ") for title, figure in pictures.items()]
    return "".join(f"<figure>{block}</figure>" for block in blocks)


def _metrics_of_curves(epochs: Sequence[Mapping[str, Any]]) -> list[str]:
    """The loss, and the first metric that is not the loss under another name."""
    names = in_order(name for epoch in epochs for name in epoch.get("val") or {})

    def is_loss(name: str) -> bool:
        pairs = [(lookup(e, "val", name), lookup(e, "val", "loss")) for e in epochs]
        known = [pair for pair in pairs if None not in pair]
        return bool(known) and all(math.isclose(*pair, rel_tol=1e-3) for pair in known)

    of_model = in_order(name for epoch in epochs for name in epoch.get("model") or {})
    others = of_model or [name for name in names if not is_loss(name)]
    return [name for name in names if name == "loss"] + others[:1]


def drawn(figure: Figure | Scatter, title: str, run: str = "") -> str:
    """Return a figure with its title below as HTML; `run` is who it is of, for its description."""
    if isinstance(figure, Scatter):
        return hover.to_html(figure) + _caption(title)
    return _image(figure, run + title) + _caption(title)


def _image(figure: Figure, description: str) -> str:
    data = base64.b64encode(figures.encode_webp(figure)).decode("ascii")
    width, height = (round(96 * inches) for inches in figure.get_size_inches())
    return (
        f'<img src="data:image/webp;base64,{data}" alt="{escape(description)}" '
        f'width="{width}" height="{height}">'
    )


def _caption(text: str) -> str:
    return f"<figcaption>{escape(text)}</figcaption>"
