"""Principal component analysis: of all points at once by a thin SVD, or in one pass."""

import math
from collections.abc import Iterable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from flax import linen as nn
from ml_collections import ConfigDict

from vocjax.errors import UserError
from vocjax.models.fields import check_components, image_shape

HIGHEST = jax.lax.Precision.HIGHEST  # a GPU would round the factors of a product to TF32


class PCAState(NamedTuple):
    """What a fit finds, in float32; variances have the divisor n - 1."""

    mean: jax.Array  # [d]
    components: jax.Array  # [k, d], orthonormal rows; the largest entry of each is positive
    variance: jax.Array  # [k] along each of them, largest first
    total_variance: jax.Array  # [] of the points


class Stream(NamedTuple):
    """What a streaming fit knows of the points so far."""

    seen: jax.Array  # [] int32, the number of points
    mean: jax.Array  # [d]
    directions: jax.Array  # [k, d], orthonormal rows
    singular: jax.Array  # [k], the largest singular values of the centred points
    scatter: jax.Array  # [], the sum of squared deviations


def fit(points: jax.Array, components: int) -> PCAState:
    """Fit the first principal components of `points` [n, d] by the SVD of the centred matrix.

    Raises `UserError` for more than min(n - 1, d) components: n centred points span no more.
    """
    n, d = points.shape
    _check(components, min(n - 1, d), f"{n} points with {d} numbers each")
    mean = points.mean(axis=0)
    centred = points - mean
    singular, directions = _singular(centred)
    return PCAState(
        mean,
        with_fixed_signs(directions[:components]),
        singular[:components] ** 2 / (n - 1),
        jnp.sum(centred**2) / (n - 1),
    )


def fit_stream(batches: Iterable[jax.Array], components: int) -> PCAState:
    """Fit principal components in one pass over batches [n_i, d], which may differ in size.

    Only one batch and `components` directions are in memory. The result is that of `fit` if all
    points together span no more directions. Otherwise it is an approximation that depends on the
    order, and is better with larger batches and more components.

    Raises `UserError` for no batches, and for more components than min(n - 1, d).
    """
    stream = None
    for points in batches:
        if stream is None:
            d = points.shape[1]
            _check(components, d, f"points with {d} numbers each")
            mean, directions, singular = map(jnp.zeros, (d, (components, d), components))
            stream = Stream(jnp.zeros((), jnp.int32), mean, directions, singular, jnp.zeros(()))
        stream = update(stream, points)
    if stream is None:
        raise UserError("PCA of no images has no components; fit on at least two images.")
    n = int(stream.seen)
    _check(components, min(n - 1, d), f"{n} points with {d} numbers each")
    return PCAState(
        stream.mean,
        with_fixed_signs(stream.directions),
        stream.singular**2 / (n - 1),
        stream.scatter / (n - 1),
    )


@jax.jit
def update(stream: Stream, points: jax.Array) -> Stream:
    """Add a batch of points [n, d] to a stream; every n compiles once.

    Incremental SVD with a row that accounts for the shift of the mean (Ross et al. 2008,
    "Incremental Learning for Robust Visual Tracking", section 2.1).
    """
    n = points.shape[0]
    count = stream.seen + n
    batch_mean = points.mean(axis=0)
    centred = points - batch_mean
    shift = batch_mean - stream.mean
    correction = jnp.sqrt(stream.seen / count * n) * shift
    rows = jnp.vstack([stream.singular[:, None] * stream.directions, centred, correction])
    singular, directions = _singular(rows)
    components = len(stream.singular)
    return Stream(
        count,
        stream.mean + n / count * shift,
        directions[:components],
        singular[:components],
        stream.scatter + jnp.sum(centred**2) + jnp.sum(correction**2),
    )


def encode(state: PCAState, points: jax.Array) -> jax.Array:
    """Project points [n, d] to codes [n, k]."""
    return jnp.matmul(points - state.mean, state.components.T, precision=HIGHEST)


def decode(state: PCAState, codes: jax.Array) -> jax.Array:
    """Map codes [n, k] back to points [n, d]."""
    return jnp.matmul(codes, state.components, precision=HIGHEST) + state.mean


def whiten(state: PCAState, codes: jax.Array) -> jax.Array:
    """Scale codes [n, k] so that the training points' have variance 1 along every component.

    They are 0 along a component whose variance is not larger than rounding error.
    """
    deviation = jnp.sqrt(state.variance)
    # Magnitude of the points, whose mean and differences are rounded in float32.
    size = jnp.sqrt(jnp.sum(state.mean**2) + state.total_variance)
    real = deviation > 10 * jnp.finfo(jnp.float32).eps * size
    return jnp.where(real, codes / jnp.where(real, deviation, 1), 0)


def unwhiten(state: PCAState, codes: jax.Array) -> jax.Array:
    """Scale whitened codes [n, k] back: codes with the training points' variance."""
    return codes * jnp.sqrt(state.variance)


def explained_variance_ratio(state: PCAState) -> jax.Array:
    """Share of the points' variance along each component, [k] in [0, 1].

    If all points are equal it is finite but without meaning: their variance is rounding error.
    """
    total = state.total_variance
    return state.variance / jnp.where(total > 0, total, 1)


def _singular(rows: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Singular values, largest first, and right singular vectors, as rows, of a matrix."""
    if rows.shape[0] < rows.shape[1]:
        # The thin SVD of a 513 x 12288 matrix takes LAPACK 2 s, that of its transpose 0.3 s.
        columns, singular, _ = jnp.linalg.svd(rows.T, full_matrices=False)
        return singular, columns.T
    _, singular, directions = jnp.linalg.svd(rows, full_matrices=False)
    return singular, directions


def with_fixed_signs(rows: jax.Array) -> jax.Array:
    """Make the largest entry of every row positive: the sign of an SVD depends on the library."""
    largest = jnp.take_along_axis(rows, jnp.argmax(jnp.abs(rows), axis=1, keepdims=True), axis=1)
    return jnp.where(largest < 0, -rows, rows)


def _check(components: int, largest: int, points: str) -> None:
    if not 1 <= components <= largest:
        raise UserError(
            f"PCA of {points} has 1 to {largest} components, not {components}; "
            f"set model.components to at most {largest}, or fit on more images."
        )


class PCA(nn.Module):
    """PCA as an autoencoder; its parameters are not trained, but come from `fit`."""

    components: int
    image_shape: tuple[int, int, int]

    def setup(self) -> None:
        """Declare the arrays of a `PCAState`, under its names."""
        k, d, zeros = self.components, math.prod(self.image_shape), nn.initializers.zeros_init()
        shapes = ((d,), (k, d), (k,), ())
        fields = zip(PCAState._fields, shapes, strict=True)
        self.fitted = PCAState(*(self.param(field, zeros, shape) for field, shape in fields))

    def encode(self, images: jax.Array) -> jax.Array:
        """[batch, height, width, channels] to codes [batch, components]."""
        return encode(self.fitted, images.reshape(images.shape[0], -1))

    def decode(self, code: jax.Array) -> jax.Array:
        """Codes [batch, components] to images [batch, height, width, channels]."""
        return decode(self.fitted, code).reshape(code.shape[0], *self.image_shape)

    def __call__(
        self, images: jax.Array, *, train: bool = False, valid: jax.Array | None = None
    ) -> tuple[jax.Array, jax.Array]:
        """Return (reconstruction, code) of images [batch, height, width, channels]."""
        code = self.encode(images)
        return self.decode(code), code


def network(config: ConfigDict, outputs: int) -> PCA:
    """Return the PCA of a config, not yet fitted."""
    return PCA(check_components(config), image_shape(config))
