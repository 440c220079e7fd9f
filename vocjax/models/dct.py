"""A fixed linear code: the discrete cosine coefficients of largest training variance.

Only the means of the coefficients and the choice of those to keep are learnt, so that it can't
overfit as PCA does.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

HIGHEST = jax.lax.Precision.HIGHEST  # a GPU would round the factors of a product to TF32


class DCTState(NamedTuple):
    """The result of a fit."""

    mean: jax.Array  # [h, w, c] of the coefficients
    selected: jax.Array  # [k] int32, places in the flattened coefficients, largest variance first


def forward(images: jax.Array) -> jax.Array:
    """Orthonormal DCT-II of images along height, width and colour, [b, h, w, c] to the same.

    Along three colours it is (R + G + B) / sqrt 3, (R - B) / sqrt 2 and (R - 2 G + B) / sqrt 6,
    which are the decorrelated colours of Ohta et al. (1980), "Color information for region
    segmentation", at unit length. One channel passes through. Sums of squares are preserved.
    """
    return _transform("uh,vw,dc,bhwc->buvd", images)


def inverse(coefficients: jax.Array) -> jax.Array:
    """Images of coefficients, [b, h, w, c] to the same; undoes `forward`."""
    return _transform("hu,wv,cd,bhwc->buvd", coefficients)


def fit(images: jax.Array, components: int) -> DCTState:
    """Choose the coefficients of largest variance over images [n, h, w, c], at most h w c."""
    return from_moments(moments(images), components)


def moments(images: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Return n of images [n, h, w, c], and sums of coefficients and of their squares [h, w, c].

    These add over batches, so that a fit needs only one batch in memory.
    """
    coefficients = forward(images)
    count = jnp.asarray(len(images), jnp.float32)
    return count, coefficients.sum(axis=0), (coefficients**2).sum(axis=0)


def from_moments(sums: tuple[jax.Array, jax.Array, jax.Array], components: int) -> DCTState:
    """Choose the coefficients of largest variance from the sums of `moments`."""
    count, total, squares = sums
    mean = total / count
    _, selected = jax.lax.top_k((squares / count - mean**2).ravel(), components)
    return DCTState(mean, selected)


def encode(state: DCTState, images: jax.Array) -> jax.Array:
    """Return the selected coefficients of images [b, h, w, c] minus their means: codes [b, k]."""
    deviations = forward(images) - state.mean
    return deviations.reshape(images.shape[0], -1)[:, state.selected]


def decode(state: DCTState, codes: jax.Array) -> jax.Array:
    """Map codes [b, k] to images [b, h, w, c]; all other coefficients have their training mean."""
    deviations = jnp.zeros((codes.shape[0], state.mean.size)).at[:, state.selected].set(codes)
    return inverse(deviations.reshape(-1, *state.mean.shape) + state.mean)


def _transform(subscripts: str, values: jax.Array) -> jax.Array:
    height, width, colour = (_basis(n) for n in values.shape[1:])
    return jnp.einsum(subscripts, height, width, colour, values, precision=HIGHEST)


def _basis(n: int) -> np.ndarray:
    """DCT-II of n points as an orthonormal matrix, [frequency, position] float32."""
    cosines = np.cos(np.pi / n * np.outer(np.arange(n), np.arange(n) + 0.5))
    return (cosines / np.linalg.norm(cosines, axis=1, keepdims=True)).astype(np.float32)
