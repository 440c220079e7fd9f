"""Losses of images: squared and absolute error, structural dissimilarity."""

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

# Structural similarity as Wang et al. (2004) set it: pixels and deviation of the Gaussian window,
# and the squares of K1 and K2 for values in [0, 1].
SSIM_WINDOW, SSIM_SIGMA = 11, 1.5
SSIM_C1, SSIM_C2 = 0.01**2, 0.03**2


def mse(prediction: Array, target: Array) -> Array:
    """Mean squared error [B], mean((p - t)^2), of arrays [B, ...] over all axes but the first."""
    error = _difference(prediction, target)
    return jnp.mean(error**2, axis=tuple(range(1, error.ndim)))


def mae(prediction: Array, target: Array) -> Array:
    """Mean absolute error [B], mean(|p - t|), of arrays [B, ...] over all axes but the first."""
    error = _difference(prediction, target)
    return jnp.mean(jnp.abs(error), axis=tuple(range(1, error.ndim)))


def dissimilarity(prediction: Array, target: Array) -> Array:
    """Structural dissimilarity, 1 - `structural_similarity`, from 0 where equal to 2."""
    return 1 - structural_similarity(prediction, target)


def structural_similarity(prediction: Array, target: Array) -> Array:
    """Structural similarity (SSIM) of images with values in [0, 1], in [-1, 1], 1 where equal.

    The mean over channels, and over the Gaussian windows inside the image, of
    (2 m_p m_t + C1)(2 s_pt + C2) / ((m_p^2 + m_t^2 + C1)(s_p^2 + s_t^2 + C2)), with the windows'
    means m, variances s^2 and covariance s_pt (Wang et al. 2004, "Image quality assessment: from
    error visibility to structural similarity").

    Shapes: `prediction` and `target` [B, H, W, C] alike, H and W at least 11; the result is [B].
    """
    _check_alike(prediction, target)
    if prediction.ndim != 4 or min(prediction.shape[1:3]) < SSIM_WINDOW:
        raise ValueError(
            f"structural similarity needs [B, H, W, C] with H and W at least {SSIM_WINDOW}, "
            f"not {prediction.shape}"
        )
    # The origin changes no variance, but it changes the rounding of differences of squares.
    p, t = (x.astype(jnp.float32) - 0.5 for x in (prediction, target))
    vertical, horizontal = (_gaussian_windows(n) for n in p.shape[1:3])
    mean_p, mean_t, mean_squares, mean_product = jnp.einsum(
        "uh,vw,sbhwc->sbuvc",
        vertical,
        horizontal,
        jnp.stack([p, t, p**2 + t**2, p * t]),
        precision=jax.lax.Precision.HIGHEST,
    )
    variances = mean_squares - mean_p**2 - mean_t**2
    covariance = mean_product - mean_p * mean_t
    mean_p, mean_t = mean_p + 0.5, mean_t + 0.5
    luminance = (2 * mean_p * mean_t + SSIM_C1) / (mean_p**2 + mean_t**2 + SSIM_C1)
    structure = (2 * covariance + SSIM_C2) / (variances + SSIM_C2)
    return jnp.mean(luminance * structure, axis=(1, 2, 3))


def _difference(prediction: Array, target: Array) -> Array:
    _check_alike(prediction, target)
    return prediction.astype(jnp.float32) - target.astype(jnp.float32)


def _check_alike(prediction: Array, target: Array) -> None:
    # Not in losses/weights.py: these losses have no weights, and a reader needs this file alone.
    if prediction.shape != target.shape:
        raise ValueError(f"prediction {prediction.shape} and target {target.shape} must be alike")


def _gaussian_windows(n: int) -> np.ndarray:
    """Weights [windows, n] float32 of all windows inside n pixels; each sums to 1.

    As one matrix: XLA:CPU is ten times slower at a convolution by channel.
    """
    first = np.arange(n - SSIM_WINDOW + 1)[:, None]
    offset = np.arange(n) - first - SSIM_WINDOW // 2
    weights = np.where(
        abs(offset) <= SSIM_WINDOW // 2, np.exp(-0.5 * (offset / SSIM_SIGMA) ** 2), 0
    )
    return (weights / weights.sum(axis=1, keepdims=True)).astype(np.float32)
