"""The latent space of an autoencoder: pure functions of the codes of images.

A code is a point [numbers]. The PCA of the training codes gives the principal directions, `axes`.
Coordinates along them are in standard deviations: 0 is the mean code, and most coordinates are
between -3 and 3.
"""

import math
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from vocjax.models import pca
from vocjax.models.pca import PCAState

# A direction with a smaller share of the first one's variance is a rounding error: some units never
# fire, or a code has more numbers than there are images.
SMALLEST_VARIANCE = 1e-6
EMBEDDED = 2000  # codes that t-SNE embeds; many more take minutes
NEIGHBOURS = 5
DECODED_AT_ONCE = 32
DEVIATIONS = (-3.0, -2.0, -1.0, 0.0, 1.0, 2.0, 3.0)

Variables = dict[str, Any]  # Flax's {"params": ..., "batch_stats": ...}


class Codec(NamedTuple):
    """Encoder and decoder of an autoencoder, as functions of its variables.

    `encode` maps images [n, height, width, channels] in [0, 1] to codes [n, numbers], `decode` maps
    codes to images.
    """

    encode: Callable[[Variables, jax.Array], jax.Array]
    decode: Callable[[Variables, jax.Array], jax.Array]
    numbers: int


class LatentSpace(NamedTuple):
    """A `Codec` with its trained variables, and the PCA of its training codes, `axes`."""

    encode: Callable[[jax.Array], jax.Array]
    decode: Callable[[jax.Array], jax.Array]
    axes: PCAState


def latent_space(codec: Codec, variables: Variables, codes: np.ndarray) -> LatentSpace:
    """Return the latent space of trained variables, with the axes of the training codes."""
    encode, decode = (partial(jax.jit(map_), variables) for map_ in (codec.encode, codec.decode))
    return LatentSpace(encode, decode, principal_axes(jnp.asarray(codes)))


def principal_axes(codes: jax.Array) -> PCAState:
    """Fit the PCA of codes [n, numbers], without the directions in which they do not vary."""
    n, numbers = codes.shape
    axes = pca.fit(jnp.asarray(codes), min(n - 1, numbers))
    kept = max(1, int((axes.variance > SMALLEST_VARIANCE * axes.variance[0]).sum()))
    return axes._replace(components=axes.components[:kept], variance=axes.variance[:kept])


def coordinates(axes: PCAState, codes: jax.Array) -> jax.Array:
    """Map codes [n, numbers] to coordinates [n, directions] in standard deviations."""
    return pca.whiten(axes, pca.encode(axes, codes))


def from_coordinates(axes: PCAState, points: jax.Array) -> jax.Array:
    """Map coordinates [n, directions] in standard deviations to codes [n, numbers]."""
    return pca.decode(axes, pca.unwhiten(axes, points))


def interpolate(start: jax.Array, end: jax.Array, steps: int) -> jax.Array:
    """Return the codes [steps, numbers] on the straight line between two codes, both included."""
    return start + jnp.linspace(0, 1, steps)[:, None] * (end - start)


def walk(axes: PCAState, direction: int, deviations: jax.Array) -> jax.Array:
    """Return the codes [n, numbers] at `deviations` [n] from the mean along one direction."""
    points = jnp.zeros((len(deviations), len(axes.variance)))
    return from_coordinates(axes, points.at[:, direction].set(deviations))


def plane(axes: PCAState, deviations: jax.Array) -> jax.Array:
    """Return a grid of codes [n, n, numbers] in the plane of the first two directions.

    Both coordinates take the values `deviations` [n]: the first one along the columns, the second
    one from the last row to the first.
    """
    n = len(deviations)
    points = jnp.zeros((n, n, len(axes.variance)))
    points = points.at[..., 0].set(deviations[None, :]).at[..., 1].set(deviations[::-1, None])
    return from_coordinates(axes, points.reshape(n * n, -1)).reshape(n, n, -1)


def sample(key: jax.Array, axes: PCAState, n: int) -> jax.Array:
    """Draw codes [n, numbers] from the Gaussian with the training codes' mean and covariance."""
    return from_coordinates(axes, jax.random.normal(key, (n, len(axes.variance))))


def neighbours(queries: np.ndarray, codes: np.ndarray, count: int) -> np.ndarray:
    """Return the rows [m, count] of the `codes` that are nearest to each query [m, numbers]."""
    distances = ((queries[:, None] - codes[None]) ** 2).sum(axis=-1)
    return np.argsort(distances, axis=1, kind="stable")[:, :count]


def tsne(codes: np.ndarray, seed: int) -> np.ndarray:
    """Embed codes [n, numbers] in the plane [n, 2] by t-SNE (van der Maaten and Hinton 2008)."""
    from sklearn.manifold import TSNE  # here, because the import takes a second
    from threadpoolctl import threadpool_limits

    embedding = TSNE(perplexity=min(30.0, (len(codes) - 1) / 3), random_state=seed)
    # Threads wait for each other in a busy loop: two of them take many times as long as one where
    # another process occupies a core.
    with threadpool_limits(1, user_api="openmp"):
        return np.asarray(embedding.fit_transform(codes))


def survey(
    codec: Codec, variables: Variables, samples: Mapping[str, np.ndarray], key: jax.Array
) -> dict[str, np.ndarray]:
    """Return what a report shows of a latent space.

    `samples` are `train/code`, `val/code` [n, numbers] and some validation images, `image`. The
    result has decoded images [..., height, width, channels] in [0, 1], float16:
    `latent/interpolation` between pairs of the given images, `latent/walk` along the first
    directions, `latent/plane` of the first two, `latent/sample` from the fitted Gaussian; then
    `latent/neighbours` [images, count], the rows of `train/code` nearest to each image, and the
    result of `embeddings`.
    """
    codes = {split: samples[f"{split}/code"] for split in ("train", "val")}
    space = latent_space(codec, variables, codes["train"])
    shown = space.encode(jnp.asarray(samples["image"], jnp.float32))
    deviations = jnp.asarray(DEVIATIONS)
    points = {"sample": sample(key, space.axes, 24)}
    points["walk"] = jnp.stack(
        [walk(space.axes, i, deviations) for i in range(min(8, len(space.axes.variance)))]
    )
    if len(space.axes.variance) > 1:
        points["plane"] = plane(space.axes, deviations)
    if len(shown) > 1:
        pairs = zip(shown[0::2], shown[1::2], strict=False)
        points["interpolation"] = jnp.stack([interpolate(a, b, 8) for a, b in pairs])
    result = _decoded(space, points)
    result["latent/neighbours"] = neighbours(np.asarray(shown), codes["train"], NEIGHBOURS)
    return result | embeddings(codes, key)


def _decoded(space: LatentSpace, points: Mapping[str, jax.Array]) -> dict[str, np.ndarray]:
    """Decode arrays of codes [..., numbers] in batches of one size, so that it compiles once."""
    codes = np.concatenate([np.asarray(p).reshape(-1, p.shape[-1]) for p in points.values()])
    padded = np.pad(codes, ((0, -len(codes) % DECODED_AT_ONCE), (0, 0)))
    batches = padded.reshape(-1, DECODED_AT_ONCE, codes.shape[1])
    decoded = [space.decode(jnp.asarray(batch)).clip(0, 1) for batch in batches]
    images = np.concatenate([np.asarray(batch).astype(np.float16) for batch in decoded])
    ends = np.cumsum([math.prod(p.shape[:-1]) for p in points.values()])
    return {
        f"latent/{name}": part.reshape(*p.shape[:-1], *images.shape[1:])
        for (name, p), part in zip(points.items(), np.split(images, ends)[:-1], strict=True)
    }


def embeddings(codes: Mapping[str, np.ndarray], key: jax.Array) -> dict[str, np.ndarray]:
    """Embed the codes of "train" and "val", {split: [n, numbers]}, in the plane.

    Returns the rows that are embedded, `SPLIT/embedded`, and their positions [rows, 2] by t-SNE,
    `SPLIT/tsne`, and along the first two principal directions of "train", `SPLIT/principal`; or
    nothing if these codes vary in one direction only. `key` seeds t-SNE.
    """
    axes = principal_axes(jnp.asarray(codes["train"]))
    total = sum(map(len, codes.values()))
    share = min(1.0, EMBEDDED / total)
    rows = {
        split: np.unique(np.linspace(0, len(c) - 1, int(share * len(c))).astype(int))
        for split, c in codes.items()
    }
    chosen = np.concatenate([codes[split][r] for split, r in rows.items()])
    principal = np.asarray(pca.encode(axes, jnp.asarray(chosen)))[:, :2]
    if principal.shape[1] < 2:
        return {}
    seed = int(jax.random.randint(key, (), 0, 2**31 - 1))
    planar = {"tsne": tsne(chosen, seed), "principal": principal}
    result = {f"{split}/embedded": r for split, r in rows.items()}
    first = len(rows["train"])
    for name, where in planar.items():
        result[f"train/{name}"], result[f"val/{name}"] = where[:first], where[first:]
    return result
