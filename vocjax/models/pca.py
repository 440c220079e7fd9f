"""Principal component analysis by a thin SVD, on the device."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from flax import linen as nn

from vocjax.errors import UserError


class PCAState(NamedTuple):
    """What a fit finds: `mean` [d], `components` [k, d] orthonormal rows, `variance` [k]."""

    mean: jax.Array
    components: jax.Array
    variance: jax.Array


def fit(points: jax.Array, components: int) -> PCAState:
    """Fit the first principal components of `points` [n, d] by the SVD of the centred matrix.

    `variance` is the sample variance along each component (divisor n - 1), largest first.
    Raises `UserError` for more than min(n - 1, d) components: n centred points span no more.
    """
    n, d = points.shape
    largest = min(n - 1, d)
    if not 1 <= components <= largest:
        raise UserError(
            f"PCA of {n} points with {d} numbers each has 1 to {largest} components, not "
            f"{components}; set model.components to at most {largest}, or fit on more images."
        )
    mean = points.mean(axis=0)
    _, singular, rows = jnp.linalg.svd(points - mean, full_matrices=False)
    return PCAState(mean, rows[:components], singular[:components] ** 2 / (n - 1))


def encode(state: PCAState, points: jax.Array) -> jax.Array:
    """Project points [n, d] to codes [n, k]."""
    return (points - state.mean) @ state.components.T


def decode(state: PCAState, codes: jax.Array) -> jax.Array:
    """Map codes [n, k] back to points [n, d]."""
    return codes @ state.components + state.mean


class PCA(nn.Module):
    """A fitted PCA in the shape of an autoencoder; its parameters come from `fit`, not training."""

    components: int
    image_shape: tuple[int, int, int]

    def setup(self) -> None:
        """Declare the three arrays of a `PCAState`."""
        d = self.image_shape[0] * self.image_shape[1] * self.image_shape[2]
        zeros = nn.initializers.zeros_init()
        self.mean = self.param("mean", zeros, (d,))
        self.rows = self.param("components", zeros, (self.components, d))
        self.variance = self.param("variance", zeros, (self.components,))

    def encode(self, images: jax.Array) -> jax.Array:
        """[batch, height, width, channels] to codes [batch, components]."""
        state = PCAState(self.mean, self.rows, self.variance)
        return encode(state, images.reshape(images.shape[0], -1))

    def decode(self, code: jax.Array) -> jax.Array:
        """Codes [batch, components] to images [batch, height, width, channels]."""
        points = decode(PCAState(self.mean, self.rows, self.variance), code)
        return points.reshape(code.shape[0], *self.image_shape)

    def __call__(
        self, images: jax.Array, *, train: bool = False, valid: jax.Array | None = None
    ) -> tuple[jax.Array, jax.Array]:
        """Return (reconstruction, code) of images [batch, height, width, channels]."""
        code = self.encode(images)
        return self.decode(code), code
