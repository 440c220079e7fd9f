"""A scatter plot of images in HTML: a point for each image, and its thumbnail under the pointer.

There is no script: every point is an element, and all share one sheet of thumbnails.
"""

import base64
import io
import math
from collections.abc import Mapping, Sequence
from html import escape
from typing import NamedTuple

import numpy as np
from matplotlib.figure import Figure
from PIL import Image

from vocjax import painting
from vocjax.data.devkit import PRESENT
from vocjax.reporting.figures import COLOURS
from vocjax.runs.reader import SPLITS

COLUMNS = 32  # thumbnails in a row of the sheet
JPEG_QUALITY = 80


class Scatter(NamedTuple):
    """Images as points in one or more planes."""

    views: Mapping[str, np.ndarray]  # by title: points [n, 2]
    groups: np.ndarray  # [n], indices into `names`
    names: Sequence[str]
    held_out: np.ndarray  # [n], True for validation images
    thumbnails: np.ndarray  # uint8 [n, height, width, 3 or 1]
    ids: np.ndarray  # [n]


Drawn = dict[str, Figure | Scatter]  # by caption


def scatter(
    samples: Mapping[str, np.ndarray], classes: Sequence[str], stage: str = ""
) -> Scatter | None:
    """Return the scatter of a run's codes, as `latent.embeddings` placed them in the plane.

    `samples` have, of each split, `ids`, `labels`, `thumbnail`, and of the codes `embedded` (which
    images have a place), `principal` and `tsne`; `None` is returned where one is missing. A point's
    group is the first of `classes`, the columns of `labels`, that its image shows. `stage` is a
    prefix of the names of the codes, "before/" for those before training.
    """
    views = {"first two principal directions": "principal", "t-SNE": "tsne"}
    images, codes = ("labels", "ids", "thumbnail"), ("embedded", *views.values())
    names = [f"{split}/{name}" for split in SPLITS for name in images]
    names += [f"{stage}{split}/{name}" for split in SPLITS for name in codes]
    if not samples.keys() >= set(names):
        return None
    places = [samples[f"{stage}{split}/embedded"] for split in SPLITS]
    labels, ids, thumbnails = (
        np.concatenate([samples[f"{s}/{name}"][p] for s, p in zip(SPLITS, places, strict=True)])
        for name in images
    )
    present = labels == PRESENT
    return Scatter(
        {
            title: np.concatenate([samples[f"{stage}{split}/{name}"] for split in SPLITS])
            for title, name in views.items()
        },
        present.argmax(axis=1) if classes else np.zeros(len(labels), int),
        tuple(classes) or ("image",),
        np.repeat([False, True], [len(place) for place in places]),
        thumbnails,
        ids,
    )


def to_html(scatter: Scatter) -> str:
    """Return the views of a scatter side by side, with one legend. The page's style draws them."""
    legend = "".join(
        f'<li><i style="--c:{_colour(i)}"></i>{escape(str(name))}</li>'
        for i, name in enumerate(scatter.names)
    )
    views = "".join(
        f'<div><p>{escape(title)}</p><div class="plane" role="img" aria-label="{escape(title)}">'
        f"{_points(scatter, points)}</div></div>"
        for title, points in scatter.views.items()
    )
    return (
        f'<div class="hover" style="--sheet:url({_sheet(scatter.thumbnails)});--columns:{COLUMNS};'
        f'--rows:{math.ceil(len(scatter.ids) / COLUMNS)}"><div class="panels">{views}</div>'
        f'<ul>{legend}<li><i style="--c:#777"></i>train</li>'
        '<li><i class="v" style="--c:#777"></i>val</li></ul></div>'
    )


def _colour(group: int) -> str:
    # After the sixth, hues at the golden angle: most of 20 classes stay distinct.
    return COLOURS[group] if group < len(COLOURS) else f"hsl({137.5 * group % 360:.0f} 60% 45%)"


def _points(scatter: Scatter, points: np.ndarray) -> str:
    low, high = points.min(axis=0), points.max(axis=0)
    # The picture shows distances, so both axes have one scale.
    extent = max(float((high - low).max()), 1e-12)
    places = 4 + 92 * (0.5 + (points - (low + high) / 2) / extent)
    of_points = zip(places, scatter.groups, scatter.held_out, scatter.ids, strict=True)
    return "".join(
        f'<i{" class=v" if held_out else ""} style="--c:{_colour(group)};'
        f'left:{x:.1f}%;bottom:{y:.1f}%;--x:{i % COLUMNS};--y:{i // COLUMNS}" '
        f'data-id="{escape(str(name))}"></i>'
        for i, ((x, y), group, held_out, name) in enumerate(of_points)
    )


def _sheet(thumbnails: np.ndarray) -> str:
    """The thumbnails in rows of `COLUMNS`, as the URL of a JPEG."""
    missing = -len(thumbnails) % COLUMNS
    side = max(thumbnails.shape[1:3])  # the page's style has squares
    below, beside = (side - n for n in thumbnails.shape[1:3])
    padded = np.pad(thumbnails, ((0, missing), (0, below), (0, beside), (0, 0)))
    sheet = painting.grid(padded.reshape(-1, COLUMNS, *padded.shape[1:]), 0)
    buffer = io.BytesIO()
    Image.fromarray(sheet).save(buffer, format="JPEG", quality=JPEG_QUALITY)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")
