"""A latent space that costs nothing: a PCA of smooth pictures."""

import numpy as np
from sklearn.decomposition import PCA

from vocjax.latent import LatentSpace
from vocjax.models.pca import PCAState

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
    """The latent space of a PCA with `NUMBERS` components, which compiles nothing."""
    images = smooth_images(40, SIZE, 3).reshape(40, -1)
    pictures = PCA(NUMBERS, svd_solver="full").fit(images)

    def encode(images):
        return (images.reshape(len(images), -1) - pictures.mean_) @ pictures.components_.T

    def decode(codes):
        return (pictures.mean_ + codes @ pictures.components_).reshape(-1, SIZE, SIZE, 3)

    axes = PCA(DIRECTIONS, svd_solver="full").fit(encode(images[: DIRECTIONS + 1]))
    variance = axes.explained_variance_
    return LatentSpace(
        encode, decode, PCAState(axes.mean_, axes.components_, variance, variance.sum())
    )
