"""What the report shows of task 1: reconstructions, components, the latent space, the trade-off."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, NullLocator

from vocjax.reporting import figures as draw
from vocjax.reporting.hover import Drawn, scatter
from vocjax.reporting.shown import MOST, by_shown, labelled
from vocjax.reporting.study import STUDY
from vocjax.runs.groups import replicates, without
from vocjax.runs.reader import SPLITS, Run, lookup

Samples = Mapping[str, np.ndarray]
Curves = dict[str, dict[int, tuple[float, float]]]  # label -> code size -> MSE on train and val

DEVIATIONS = "-3, -2, -1, 0, 1, 2 and 3 standard deviations"
ORDINALS = ("nearest", "second", "third", "fourth", "fifth")
# Fields of a config that decide how many numbers a code has.
SIZE = ("model.components", "model.code", "model.encoder", "model.decoder")
LABELS = {
    "autoencoder": "AE",
    "linear_autoencoder": "Linear autoencoder",
    "pca": "PCA",
    "transform_autoencoder": "Transform autoencoder",
}


def figures(run: Run) -> Drawn:
    """Draw what an autoencoder kept of its validation images and of its codes."""
    samples = run.samples
    title = "Reconstructions"
    if run.field("model.upsample") == "unpool":
        title += (
            "; the decoder has the encoder's switches, too; the pictures from codes below are "
            "drawn without them"
        )
    rows = {"validation image": samples["image"], "reconstruction": samples["reconstruction"]}
    return {
        title: draw.image_rows(rows),
        **_of_components(samples),
        **_of_latent_space(samples, run.field("data.classes") or ()),
    }


def side_by_side(runs: Sequence[Run]) -> Drawn:
    """Draw the same validation images as each run gives them back, with the error of each."""
    drawn: Drawn = {}
    for group in by_shown(runs, "image", "reconstruction"):
        shape = group[0].samples["image"].shape
        group = [run for run in group if run.samples["image"].shape == shape][-MOST:]
        rows, errors = {"validation image": group[0].samples["image"]}, {}
        for name, run in zip(labelled(group), group, strict=True):
            image, found = (run.samples[key] for key in ("image", "reconstruction"))
            error = np.square(found.astype(np.float32) - image).mean(axis=(1, 2, 3))
            rows[name] = found
            errors[name] = [f"{value:.3f}".removeprefix("0") for value in error]
        title = "The same validation images through each code; below each its mean squared error"
        title += f" ({group[0].dataset})" if title in drawn else ""
        drawn[title] = draw.image_rows(rows, errors)
    return drawn


def _of_components(samples: Samples) -> Drawn:
    shape = samples["image"].shape[1:]
    rows = {
        name: _as_pictures(samples[f"model/{name}"], shape)
        for name in ("PCA", "autoencoder", "autoencoder, rotated")
        if f"model/{name}" in samples
    }
    if "model/cosines" in samples:
        # PCA of few images has fewer components than the autoencoder.
        shown = min(map(len, rows.values()))
        rows = {name: pictures[:shown] for name, pictures in rows.items()}
        cosines = samples["model/cosines"]
        largest = np.abs(cosines - np.diag(np.diag(cosines))).max()
        return {
            "Components of PCA and of the linear autoencoder. The largest angle between their "
            f"subspaces is {samples['model/angles'].max():.2g} degrees; a rotation within the "
            "subspace gives the autoencoder's components the order of PCA's": draw.image_rows(rows),
            "Cosines between the linear autoencoder's components, which PCA has at 0: the largest "
            f"is {largest:.2g}": _matrix(cosines),
        }
    if not rows:
        return {}
    return {
        "The first components": draw.image_rows({"component": rows["PCA"]}),
        "Share of the training images' variance that the first components explain": (
            _explained(samples["model/explained_variance_ratio"])
        ),
    }


def _as_pictures(components: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Components [n, d] to images in [0, 1]; grey is 0."""
    largest = np.abs(components).max(axis=1, keepdims=True)
    return (0.5 + components / np.where(largest, 2 * largest, 1)).reshape(-1, *shape)


@draw.styled
def _matrix(cosines: np.ndarray) -> Figure:
    figure, axis = draw.one_plot(4, 3.4)
    picture = axis.imshow(cosines, cmap="RdBu_r", vmin=-1, vmax=1, interpolation="nearest")
    axis.set(xlabel="component", ylabel="component")
    figure.colorbar(picture, ax=axis, label="cosine")
    return figure


@draw.styled
def _explained(ratio: np.ndarray) -> Figure:
    figure, axis = draw.one_plot(4.4, 2.7)
    axis.plot(np.arange(1, len(ratio) + 1), np.cumsum(ratio), color=draw.COLOURS[0])
    axis.set(xlabel="components", ylabel="share", ylim=(0, 1.02))
    axis.grid(axis="y")
    return figure


def _of_latent_space(samples: Samples, classes: Sequence[str]) -> Drawn:
    drawn: Drawn = {}
    if (codes := scatter(samples, classes)) is not None:
        drawn["Codes in the plane; the pointer shows the image of a point"] = codes
    if "latent/neighbours" in samples:
        nearest = samples["train/thumbnail"][samples["latent/neighbours"]].swapaxes(0, 1)
        rows = {"validation image": samples["image"]}
        rows |= {f"{name} in train": n for name, n in zip(ORDINALS, nearest, strict=False)}
        title = "Nearest training images by the distance of codes"
        drawn[title] = draw.image_rows(rows)

    def add(name: str, title: str, label: Callable[[int], str]) -> None:
        if f"latent/{name}" in samples:
            rows = {label(i): row for i, row in enumerate(samples[f"latent/{name}"], 1)}
            drawn[title] = draw.image_rows(rows)

    title = "From one validation image to another, along a straight line in the code"
    add("interpolation", title, "pair {}".format)
    title = f"The plane of the codes' first two principal directions, {DEVIATIONS}"
    add("plane", title, lambda i: f"second direction {4 - i:+d}".replace("+0", "0"))
    add("walk", f"Along the codes' principal directions, {DEVIATIONS}", "direction {}".format)
    if "latent/sample" in samples:
        images = samples["latent/sample"]
        rows = {" " * i: row for i, row in enumerate(images.reshape(-1, 8, *images.shape[1:]))}
        title = "Drawn from a Gaussian with the mean and covariance of the training codes"
        drawn[title] = draw.image_rows(rows)
    return drawn


def comparison(runs: Sequence[Run]) -> dict[str, Figure]:
    """Draw reconstruction error against code size, over runs on the same data.

    A curve joins runs whose configs differ in the code's size alone (`SIZE`), the mean of their
    seeds. Of a model without such a curve there is its first run; other runs are left to the table.
    PCA and DCT are drawn as the runs' baselines, too, PCA up to the components that the training
    images have. Nothing for fewer than three code sizes.
    """
    curves: Curves = {}
    for label, by_size in _kinds(runs).items():
        for size, seeds in by_size.items():
            run = seeds[0]
            most = (lookup(run.provenance, "images", "train") or 0) - 1
            found = {"DCT": run.baseline("DCT"), "PCA": run.baseline("PCA") if size <= most else {}}
            errors = {split: [lookup(s.results, split, "mse") for s in seeds] for split in SPLITS}
            if all(None not in values for values in errors.values()):  # of a run that diverged
                found[label] = {s: {"mse": float(np.mean(values))} for s, values in errors.items()}
            for name, splits in found.items():
                if splits:
                    pair = splits["train"]["mse"], splits["val"]["mse"]
                    curves.setdefault(name, {})[size] = pair
    if len({size for sizes in curves.values() for size in sizes}) < 3:
        return {}
    title = (
        "Reconstruction error against the numbers in the code, all on these data: dashed on "
        "training, solid on validation images. Crosses are the study's two points, on its own data"
    )
    return {title: _trade_off(curves)}


def _kinds(runs: Sequence[Run]) -> dict[str, dict[int, list[Run]]]:
    """The replicates of each curve by code size, by the curve's label."""
    by_model: dict[str, dict[str, dict[int, list[Run]]]] = {}
    for seeds in replicates([run for run in runs if lookup(run.results, "code")]):
        config = without(seeds[0].config, "name", "seed", "data.split_seed", *SIZE)
        kinds = by_model.setdefault(seeds[0].field("model.name"), {})
        kinds.setdefault(config, {}).setdefault(lookup(seeds[0].results, "code"), seeds)
    labelled = {}
    for model, kinds in by_model.items():
        found = [kind for kind in kinds.values() if len(kind) > 1] or [*kinds.values()][:1]
        for i, kind in enumerate(found):
            # Further curves of a model have the name of their first run, without its size.
            size, (first, *_) = next(iter(kind.items()))
            further = first.name.removesuffix(f" {size}")
            labelled[further if i else LABELS.get(model, model)] = kind
    return labelled


@draw.styled
def _trade_off(curves: Curves) -> Figure:
    figure, axis = draw.one_plot(draw.WIDTH, 4.2)
    for index, (name, sizes) in enumerate(sorted(curves.items())):
        colour = draw.COLOURS[index % len(draw.COLOURS)]
        shape = draw.SHAPES[index // len(draw.COLOURS) % len(draw.SHAPES)]
        x = sorted(sizes)
        train, val = np.array([sizes[size] for size in x]).T
        axis.plot(x, train, color=colour, linestyle="--", linewidth=1, marker=shape, markersize=2)
        axis.plot(x, val, color=colour, marker=shape, markersize=4, label=name)
    for row in STUDY["reconstruction"]["rows"]:
        size, errors = row["code"], [float(row[split]["mse"]) for split in SPLITS]
        for error, marker_size in zip(errors, (5, 8), strict=True):
            axis.plot([size], [error], "x", color=draw.INK, markersize=marker_size)
        beside: Any = {"xytext": (-6, 5), "textcoords": "offset points", "ha": "right"}
        axis.annotate(f"study, {row['name']}", (size, errors[1]), fontsize=8, **beside)
    axis.set(xlabel="numbers in the code", ylabel="MSE", xscale="log", yscale="log")
    # PCA with a component for every training image has nearly no training error.
    axis.set_ylim(bottom=0.2 * min(e[1] for sizes in curves.values() for e in sizes.values()))
    axis.xaxis.set_major_locator(FixedLocator([16, 64, 256, 1024]))
    axis.xaxis.set_minor_locator(NullLocator())
    axis.xaxis.set_major_formatter("{x:.0f}")
    axis.yaxis.set_major_locator(FixedLocator([0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1]))
    axis.yaxis.set_minor_locator(NullLocator())
    axis.yaxis.set_major_formatter("{x:g}")
    axis.grid(axis="y")
    figure.legend(ncols=3, **draw.BELOW)
    return figure
