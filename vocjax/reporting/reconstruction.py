"""What the report shows of task 1: reconstructions, components, the latent space, the trade-off."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, NullLocator

from vocjax.reporting import figures as draw
from vocjax.reporting.hover import Scatter, scatter
from vocjax.runs.reader import Run, lookup, replicates

Samples = Mapping[str, np.ndarray]
DEVIATIONS = "-3, -2, -1, 0, 1, 2 and 3 standard deviations"


def figures(samples: Samples, config: Mapping[str, Any]) -> dict[str, Figure | Scatter]:
    """Draw what a run of this task kept."""
    switches = ""
    if config.get("model", {}).get("upsample") == "unpool":
        switches = (
            "; with the encoder's switches beside the code, which the pictures from codes below "
            "are drawn without"
        )
    result: dict[str, Figure | Scatter] = {
        f"Reconstructions{switches}": draw.image_rows(
            {"validation image": samples["image"], "reconstruction": samples["reconstruction"]}
        )
    }
    return result | _of_components(samples) | _of_latent_space(samples, config)


def _of_components(samples: Samples) -> dict[str, Figure | Scatter]:
    shape = samples["image"].shape[1:]
    rows = {
        name: _as_pictures(samples[f"model/{name}"], shape)
        for name in ("PCA", "autoencoder", "autoencoder, rotated")
        if f"model/{name}" in samples
    }
    result: dict[str, Figure | Scatter] = {}
    if "model/cosines" in samples:
        cosines = samples["model/cosines"]
        largest = np.abs(cosines - np.diag(np.diag(cosines))).max()
        result[
            "Components side by side. The largest angle between PCA's subspace and the linear "
            f"autoencoder's is {samples['model/angles'].max():.2g} degrees; what its components "
            "lack of PCA's order, a rotation within the subspace brings"
        ] = draw.image_rows(rows)
        result[
            "Cosines between the linear autoencoder's components, which PCA has at 0: the largest "
            f"is {largest:.2g}"
        ] = _matrix(cosines)
    elif rows:
        result["The first components"] = draw.image_rows({"component": rows["PCA"]})
        result["Share of the training images' variance that the first components explain"] = (
            _explained(samples["model/explained_variance_ratio"])
        )
    return result


def _as_pictures(components: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Components [n, d] to images in [0, 1]; grey is 0."""
    largest = np.abs(components).max(axis=1, keepdims=True)
    return (0.5 + components / np.where(largest, 2 * largest, 1)).reshape(-1, *shape)


@matplotlib.rc_context(draw.STYLE)
def _matrix(cosines: np.ndarray) -> Figure:
    figure = Figure(figsize=(4, 3.4))
    axis = figure.add_subplot()
    picture = axis.imshow(cosines, cmap="RdBu_r", vmin=-1, vmax=1, interpolation="nearest")
    axis.set(xlabel="component", ylabel="component")
    figure.colorbar(picture, ax=axis, label="cosine")
    return figure


@matplotlib.rc_context(draw.STYLE)
def _explained(ratio: np.ndarray) -> Figure:
    figure = Figure(figsize=(4.4, 2.7))
    axis = figure.add_subplot()
    axis.plot(np.arange(1, len(ratio) + 1), np.cumsum(ratio), color=draw.COLOURS[0])
    axis.set(xlabel="components", ylabel="share", ylim=(0, 1.02))
    axis.grid(axis="y")
    return figure


def _of_latent_space(samples: Samples, config: Mapping[str, Any]) -> dict[str, Figure | Scatter]:
    result: dict[str, Figure | Scatter] = {}
    if "train/tsne" in samples:
        result["Codes in the plane; the pointer shows the image of a point"] = scatter(
            samples, tuple(config["data"]["classes"])
        )
    if "latent/neighbours" in samples:
        nearest = samples["train/thumbnail"][samples["latent/neighbours"]]
        ordinals = ("nearest", "second", "third", "fourth", "fifth")
        columns = zip(ordinals, nearest.swapaxes(0, 1), strict=False)  # of fewer than five, fewer
        rows = {f"{name} in train": images for name, images in columns}
        result["Nearest training images by the distance of codes"] = draw.image_rows(
            {"validation image": samples["image"]} | rows
        )
    if "latent/interpolation" in samples:
        result["From one validation image to another, along a straight line in the code"] = (
            draw.image_rows(
                {f"pair {i}": row for i, row in enumerate(samples["latent/interpolation"], 1)}
            )
        )
    if "latent/plane" in samples:
        result[f"The plane of the codes' first two principal directions, {DEVIATIONS}"] = (
            draw.image_rows(
                {
                    f"second direction {3 - i:+d}".replace("+0", "0"): row
                    for i, row in enumerate(samples["latent/plane"])
                }
            )
        )
    if "latent/walk" in samples:
        result[f"Along the codes' principal directions, {DEVIATIONS}"] = draw.image_rows(
            {f"direction {i}": row for i, row in enumerate(samples["latent/walk"], 1)}
        )
    if "latent/sample" in samples:
        sample = samples["latent/sample"]
        rows = {" " * i: sample[8 * i : 8 * i + 8] for i in range(len(sample) // 8)}
        result["Drawn from a Gaussian with the mean and covariance of the training codes"] = (
            draw.image_rows(rows)
        )
    return result


def comparison(runs: Sequence[Run], study: Sequence[Mapping[str, Any]]) -> dict[str, Figure]:
    """Draw reconstruction error against code size, over runs on the same data.

    A curve for each kind of model: runs whose names differ in one number alone ("AE 16", "AE 256").
    Seeds are averaged; a name with a comma is a variant, which is left to the table. PCA is there
    up to the components that the training images have. Nothing for fewer than three code sizes.
    """
    curves: dict[str, dict[int, tuple[float, float]]] = {}
    for seeds in replicates([run for run in runs if lookup(run.results, "code")]):
        results, name = seeds[0].results or {}, seeds[0].name
        if "," in name:
            continue
        mean = {
            split: {"mse": float(np.mean([lookup(r.results, split, "mse") for r in seeds]))}
            for split in ("train", "val")
        }
        kind, size = re.sub(r"\s*\d+", "", name, count=1).strip(), results["code"]
        kind = name if size in curves.get(kind, {}) else kind
        entries = {kind: mean}
        for baseline, values in results["baselines"].items():
            most = (lookup(seeds[0].provenance, "images", "train") or 0) - 1
            if baseline.startswith("DCT") or (baseline.startswith("PCA") and size <= most):
                entries.setdefault(baseline.split(",")[0], values)
        for curve, values in entries.items():
            errors = lookup(values, "train", "mse"), lookup(values, "val", "mse")
            curves.setdefault(curve, {})[size] = errors
    if len({size for sizes in curves.values() for size in sizes}) < 3:
        return {}
    title = (
        "Reconstruction error against the numbers in the code, all on these data: dashed on "
        "training, solid on validation images. Crosses are the study's two points, on its own data"
    )
    return {title: _trade_off(curves, study)}


@matplotlib.rc_context(draw.STYLE)
def _trade_off(
    curves: Mapping[str, Mapping[int, tuple[float, float]]],
    study: Sequence[Mapping[str, Any]],
) -> Figure:
    figure = Figure(figsize=(draw.WIDTH, 4.2))
    axis = figure.add_subplot()
    for index, (name, sizes) in enumerate(sorted(curves.items())):
        colour = draw.COLOURS[index % len(draw.COLOURS)]
        shape = draw.SHAPES[index // len(draw.COLOURS) % len(draw.SHAPES)]
        x = sorted(sizes)
        train, val = np.array([sizes[size] for size in x]).T
        axis.plot(x, train, color=colour, linestyle="--", linewidth=1, marker=shape, markersize=2)
        axis.plot(x, val, color=colour, marker=shape, markersize=4, label=name)
    for row in study:
        _mark_study(axis, row)
    axis.set(xlabel="numbers in the code", ylabel="MSE", xscale="log", yscale="log")
    # PCA with a component for every training image has no training error to speak of.
    axis.set_ylim(bottom=0.2 * min(e[1] for sizes in curves.values() for e in sizes.values()))
    axis.xaxis.set_major_locator(FixedLocator([16, 64, 256, 1024]))
    axis.xaxis.set_minor_locator(NullLocator())
    axis.xaxis.set_major_formatter("{x:.0f}")
    axis.yaxis.set_major_locator(FixedLocator([0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1]))
    axis.yaxis.set_minor_locator(NullLocator())
    axis.yaxis.set_major_formatter("{x:g}")
    axis.grid(axis="y")
    figure.legend(loc="outside lower left", ncols=3)
    return figure


def _mark_study(axis: Axes, row: Mapping[str, Any]) -> None:
    for split, size in (("train", 5), ("val", 8)):
        error = float(row[split]["mse"])
        axis.plot([row["code"]], [error], "x", color=draw.INK, markersize=size)
    axis.annotate(
        f"study, {row['name']}",
        (row["code"], float(row["val"]["mse"])),
        xytext=(-6, 5),
        textcoords="offset points",
        ha="right",
        fontsize=8,
    )
