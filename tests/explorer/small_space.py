"""A latent space that costs nothing: a PCA of smooth pictures."""

import jax.numpy as jnp
import numpy as np

from vocjax.latent import LatentSpace, principal_axes
from vocjax.models import pca

SIZE, NUMBERS = 16, 20
DIRECTIONS = 16  # 17 codes span them, so that other codes have a residual


def smooth_images(n, size, channels, seed=0):
    """[n, size, size, channels] float32 in [0, 1]: a few waves of random phase."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:size, :size] / size
    waves = [
        np.cos(2 * np.pi * (a * x + b * y) + phase) for a, b, phase in 3 * rng.random((5, 3)) - 1.5
    ]
    weights = rng.normal(size=(n, channels, len(waves)))
    images = np.einsum("ncw,whk->nhkc", weights, np.array(waves))
    return (0.5 + 0.12 * images + 0.02 * rng.normal(size=images.shape)).clip(0, 1).astype("float32")


def make_space():
    """The latent space of a PCA with `NUMBERS` components and `DIRECTIONS` directions."""
    images = jnp.asarray(smooth_images(40, SIZE, 3))
    model = pca.fit(images.reshape(len(images), -1), NUMBERS)

    def encode(images):
        return pca.encode(model, images.reshape(len(images), -1))

    def decode(codes):
        return pca.decode(model, codes).reshape(-1, SIZE, SIZE, 3)

    return LatentSpace(encode, decode, principal_axes(encode(images[: DIRECTIONS + 1])))
