"""A scatter plot of images in HTML: a point an image, its thumbnail where the pointer rests.

No script: every point is an element, and one sheet of thumbnails is shared by all of them.
"""

import base64
import io
import math
from collections.abc import Mapping, Sequence
from html import escape
from typing import NamedTuple

import numpy as np
from PIL import Image

from vocjax.data.splits import class_columns, group_by_class
from vocjax.reporting.figures import COLOURS

COLUMNS = 32  # thumbnails in a row of the sheet
JPEG_QUALITY = 80


class Scatter(NamedTuple):
    """Images as points in one or more planes.

    `views` maps a title to points [n, 2]; `groups` [n] are indices into `names`; `held_out` [n] is
    True for validation images; `thumbnails` [n, height, width, 3 or 1] uint8; `ids` [n].
    """

    views: Mapping[str, np.ndarray]
    groups: np.ndarray
    names: Sequence[str]
    held_out: np.ndarray
    thumbnails: np.ndarray
    ids: np.ndarray


def scatter(samples: Mapping[str, np.ndarray], classes: tuple[str, ...]) -> Scatter:
    """Return the scatter of a run's codes, as `latent.embeddings` placed them in the plane.

    `samples` has `SPLIT/embedded`, `principal`, `tsne`, `labels`, `thumbnail` and `ids`; a point's
    group is the first of `classes` that its image shows.
    """

    def both(name: str) -> np.ndarray:
        return np.concatenate(
            [samples[f"{split}/{name}"][samples[f"{split}/embedded"]] for split in ("train", "val")]
        )

    planar = {
        title: np.concatenate([samples[f"{split}/{name}"] for split in ("train", "val")])
        for title, name in (("first two principal directions", "principal"), ("t-SNE", "tsne"))
    }
    counts = [len(samples[f"{split}/embedded"]) for split in ("train", "val")]
    return Scatter(
        planar,
        group_by_class(both("labels"), class_columns(classes)),
        classes or ("image",),
        np.repeat([False, True], counts),
        both("thumbnail"),
        both("ids"),
    )


def to_html(scatter: Scatter) -> str:
    """The views of a scatter side by side, with one legend. The page's style draws them."""
    side = COLUMNS
    legend = "".join(
        f'<li><i style="--c:{_colour(i)}"></i>{escape(str(name))}</li>'
        for i, name in enumerate(scatter.names)
    )
    views = "".join(
        f'<div><p>{escape(title)}</p><div class="plane" role="img" aria-label="{escape(title)}">'
        f"{_points(scatter, points)}</div></div>"
        for title, points in scatter.views.items()
    )
    rows = math.ceil(len(scatter.ids) / side)
    return (
        f'<div class="hover" style="--sheet:url({_sheet(scatter.thumbnails)});'
        f'--columns:{side};--rows:{rows}"><div class="panels">{views}</div><ul>{legend}'
        '<li><i style="--c:#777"></i>train</li><li><i class="v" style="--c:#777"></i>val</li>'
        "</ul></div>"
    )


def _colour(group: int) -> str:
    # Past the sixth, hues at the golden angle: 20 classes can't all be told apart, but most can.
    return COLOURS[group] if group < len(COLOURS) else f"hsl({137.5 * group % 360:.0f} 60% 45%)"


def _points(scatter: Scatter, points: np.ndarray) -> str:
    low, high = points.min(axis=0), points.max(axis=0)
    # Distances are what such a picture is read for, so both axes have one scale.
    extent = max(float((high - low).max()), 1e-12)
    places = 4 + 92 * (0.5 + (points - (low + high) / 2) / extent)
    return "".join(
        f'<i{" class=v" if held_out else ""} style="--c:{_colour(group)};'
        f'left:{x:.1f}%;bottom:{y:.1f}%;--x:{i % COLUMNS};--y:{i // COLUMNS}" '
        f'data-id="{escape(str(name))}"></i>'
        for i, ((x, y), group, held_out, name) in enumerate(
            zip(places, scatter.groups, scatter.held_out, scatter.ids, strict=True)
        )
    )


def _sheet(thumbnails: np.ndarray) -> str:
    n, height, width, channels = thumbnails.shape
    rows = math.ceil(n / COLUMNS)
    sheet = np.zeros((rows * COLUMNS, height, width, 3), np.uint8)
    sheet[:n] = np.broadcast_to(thumbnails, (n, height, width, 3)) if channels == 1 else thumbnails
    sheet = sheet.reshape(rows, COLUMNS, height, width, 3).transpose(0, 2, 1, 3, 4)
    buffer = io.BytesIO()
    picture = Image.fromarray(np.ascontiguousarray(sheet).reshape(rows * height, -1, 3))
    picture.save(buffer, format="JPEG", quality=JPEG_QUALITY)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")
