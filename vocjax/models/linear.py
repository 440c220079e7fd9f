"""The autoencoder with one linear hidden layer, and comparisons of its code with PCA's.

Trained on squared error it spans PCA's subspace (Baldi and Hornik 1989, "Neural networks and
principal component analysis"). But its components have no order, and without tied weights they are
not orthogonal: any invertible map of the code, undone by the decoder, gives the same images.
"""

import math
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax.typing import DTypeLike
from ml_collections import ConfigDict

from vocjax.models.fields import check_components, compute_dtype, image_shape
from vocjax.models.pca import HIGHEST, PCAState

SMALL = nn.initializers.normal(1e-4)


class LinearAutoencoder(nn.Module):
    """One hidden layer without non-linearity.

    `tied`: x -> (x - m) W, code -> code W^T + m. Untied: x -> (x - m) E + e, code -> code W^T + m.
    `m` is trained, but begins as the training images' mean (`with_mean`): around it no direction is
    much larger than the others. The kernels begin near 0 and so stay in the span of the training
    images. No gradient would remove what a larger start has outside of this span, and it would
    appear in other images.
    """

    components: int
    image_shape: tuple[int, int, int]
    tied: bool = False
    dtype: DTypeLike = jnp.float32

    def setup(self) -> None:
        """Declare the decoder's `components` [k, d] and `mean` [d], and the encoder if untied."""
        d, zeros = math.prod(self.image_shape), nn.initializers.zeros_init()
        self.rows = self.param("components", SMALL, (self.components, d), jnp.float32)
        self.mean = self.param("mean", zeros, (d,), jnp.float32)
        if not self.tied:
            self.encoder = nn.Dense(self.components, kernel_init=zeros, dtype=self.dtype)

    def encode(self, images: jax.Array) -> jax.Array:
        """[batch, height, width, channels] to a code [batch, components]."""
        points = images.reshape(images.shape[0], -1) - self.mean
        if not self.tied:
            return self.encoder(points)
        return points.astype(self.dtype) @ self.rows.T.astype(self.dtype)

    def decode(self, code: jax.Array) -> jax.Array:
        """A code [batch, components] to images [batch, height, width, channels], float32."""
        pixels = code.astype(self.dtype) @ self.rows.astype(self.dtype)
        return (pixels.astype(jnp.float32) + self.mean).reshape(-1, *self.image_shape)

    def __call__(
        self, images: jax.Array, *, train: bool = False, valid: jax.Array | None = None
    ) -> tuple[jax.Array, jax.Array]:
        """Return (reconstruction, code) of images [batch, height, width, channels]."""
        code = self.encode(images)
        return self.decode(code), code


def network(config: ConfigDict, outputs: int) -> LinearAutoencoder:
    """Return the linear autoencoder of a config."""
    shape, dtype = image_shape(config), compute_dtype(config)
    return LinearAutoencoder(check_components(config), shape, config.model.tied, dtype)


def with_mean(variables: dict[str, Any], mean: jax.Array) -> dict[str, Any]:
    """Return a `LinearAutoencoder`'s variables that begin from the images' mean [h, w, c]."""
    return variables | {"params": variables["params"] | {"mean": mean.ravel()}}


def principal_angles(a: jax.Array, b: jax.Array) -> jax.Array:
    """Angles between the spans of the rows of a [k, d] and b [m, d], [min(k, m)], in degrees.

    Smallest first. Small angles come from sines, which stay exact where cosines round to 1
    (Bjorck and Golub 1973, "Numerical methods for computing angles between linear subspaces").
    """
    if len(a) > len(b):
        a, b = b, a
    p, q = jnp.linalg.qr(a.T)[0], jnp.linalg.qr(b.T)[0]
    inner = jnp.matmul(q.T, p, precision=HIGHEST)
    cosines = jnp.linalg.svd(inner, compute_uv=False)
    sines = jnp.linalg.svd(p - jnp.matmul(q, inner, precision=HIGHEST), compute_uv=False)[::-1]
    by_sine, by_cosine = jnp.arcsin(sines.clip(0, 1)), jnp.arccos(cosines.clip(0, 1))
    return jnp.rad2deg(jnp.where(cosines**2 > 0.5, by_sine, by_cosine))


def cosines(rows: jax.Array) -> jax.Array:
    """Cosines of the angles between any two rows of [k, d], as [k, k]."""
    unit = rows / jnp.linalg.norm(rows, axis=1, keepdims=True).clip(1e-12)
    return jnp.matmul(unit, unit.T, precision=HIGHEST)


def rotated(rows: jax.Array, pca: PCAState) -> jax.Array:
    """Rotate a subspace's basis [k, d] to its principal directions, orthonormal, in order, [k, d].

    Covariance and signs are those of a fitted PCA's components. If the rows span the same subspace,
    the result is PCA's components: only this rotation is missing in the linear autoencoder.
    """
    basis = jnp.linalg.qr(rows.T)[0].T
    inner = jnp.matmul(basis, pca.components.T, precision=HIGHEST)
    turned = jnp.linalg.svd(inner * jnp.sqrt(pca.variance), full_matrices=False)[0].T
    signs = jnp.where(jnp.sum(turned * inner.T[: len(turned)], axis=1) < 0, -1, 1)
    return signs[:, None] * jnp.matmul(turned, basis, precision=HIGHEST)
