"""Linear codes of images: PCA and cosine transform, as fits and as baselines."""

import itertools
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import jax
import jax.numpy as jnp

from vocjax.errors import UserError
from vocjax.models import dct, linear, pca
from vocjax.tasks.task import Batch, Outputs, Variables, summed

HELD_AT_ONCE = 2**28  # numbers of a data set, a gigabyte, that PCA decomposes as a whole
PICTURED = 8  # components that are kept to be drawn


def full_pca(batches: Iterator[Batch], components: int) -> pca.PCAState:
    """Fit PCA to all images at once."""
    points = jnp.concatenate([_points(batch["image"]) for batch in batches])
    return jax.jit(pca.fit, static_argnums=1)(points, components)


def first_images(batches: Iterator[Batch], count: int) -> jax.Array:
    """Return the first `count` images, or all if there are fewer."""
    held, images = 0, []
    while held < count and (batch := next(batches, None)):
        images.append(batch["image"])
        held += len(images[-1])
    return jnp.concatenate(images)[:count]


def streaming_pca(batches: Iterator[Batch], components: int) -> pca.PCAState:
    """Fit PCA in one pass; only one batch and the components are in memory."""
    return pca.fit_stream((_points(batch["image"]) for batch in batches), components)


def fit_pca(numbers: int, batches: Iterator[Batch]) -> pca.PCAState:
    """Fit PCA with `numbers` components, or as many as there are; large data is streamed."""
    held: list[Batch] = []
    while sum(b["image"].size for b in held) <= HELD_AT_ONCE and (batch := next(batches, None)):
        held.append(batch)
    images, size = sum(len(batch["image"]) for batch in held), held[0]["image"][0].size
    if images < 2:
        raise UserError("there is only one training image; reconstruction needs at least two.")
    components = min(numbers, images - 1, size)
    if images * size > HELD_AT_ONCE:
        return streaming_pca(itertools.chain(held, batches), components)
    return full_pca(iter(held), components)


def fit_dct(numbers: int, batches: Iterator[Batch]) -> dct.DCTState:
    """Choose `numbers` cosine coefficients."""
    sums = summed(lambda batch: dct.moments(batch["image"]))(batches)
    return dct.from_moments(sums, min(numbers, sums[1].size))


def outputs_of(model: Any) -> Callable[[Any, Batch], Outputs]:
    """Return the outputs of a fitted linear code: the modules `pca` and `dct` are alike."""

    def outputs(state: Any, batch: Batch) -> Outputs:
        image = batch["image"]
        points = _points(image) if model is pca else image
        decoded = model.decode(state, model.encode(state, points))
        return {"image": decoded.reshape(image.shape)}

    return outputs


def _points(images: jax.Array) -> jax.Array:
    return images.reshape(images.shape[0], -1)


def inspect_pca(variables: Variables, fitted: Mapping[str, Any]) -> Outputs:
    """Return the share of the variance that all components explain."""
    ratio = pca.explained_variance_ratio(pca.PCAState(**variables["params"]))
    return {"explained_variance": ratio.sum()}


def inspect_linear(variables: Variables, fitted: Mapping[str, Any]) -> Outputs:
    """Compare a linear autoencoder's components with PCA's.

    `largest_angle` is the largest principal angle between the two subspaces in degrees, and
    `largest_cosine` the largest between two different components of the autoencoder.
    """
    rows = variables["params"]["components"]
    cosine = linear.cosines(rows)
    others = jnp.abs(cosine - jnp.diag(jnp.diag(cosine)))
    angles = linear.principal_angles(rows, _fitted_pca(fitted).components)
    return {"largest_angle": angles.max(), "largest_cosine": others.max()}


def components_of_pca(variables: Variables, fitted: Mapping[str, Any]) -> Outputs:
    """Return the first components, and the share of the variance that each explains."""
    state = pca.PCAState(**variables["params"])
    return {
        "explained_variance_ratio": pca.explained_variance_ratio(state),
        "PCA": state.components[:PICTURED],
    }


def components_of_linear(variables: Variables, fitted: Mapping[str, Any]) -> Outputs:
    """Return components of PCA and of a linear autoencoder, their cosines and angles."""
    rows, state = variables["params"]["components"], _fitted_pca(fitted)
    return {
        "PCA": state.components[:PICTURED],
        "autoencoder": rows[:PICTURED],
        "autoencoder, rotated": linear.rotated(rows, state)[:PICTURED],
        "cosines": linear.cosines(rows),
        "angles": linear.principal_angles(rows, state.components),
    }


def _fitted_pca(fitted: Mapping[str, Any]) -> pca.PCAState:
    return next(fit for name, fit in fitted.items() if name.startswith("PCA"))


SOLVERS = {"full": full_pca, "streaming": streaming_pca}
# By the model's name in a config.
INSPECTIONS = {"pca": inspect_pca, "linear_autoencoder": inspect_linear}
COMPONENTS = {"pca": components_of_pca, "linear_autoencoder": components_of_linear}
