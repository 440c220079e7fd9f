"""A start for a convolutional autoencoder: every stage is the PCA of the patches that it sees.

The first stage gets the principal components of patches of pixels, each further stage those of 2x2
neighbours in the map before it, and the code the first components of the last stage. The decoder
is the transposed encoder. So an autoencoder whose trunk is linear begins as PCA of the square of
pixels that belongs to each place of its code. Source of the idea, a layer at a time: Hinton &
Salakhutdinov 2006, "Reducing the dimensionality of data with neural networks".
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from ml_collections import ConfigDict

from vocjax.errors import UserError, check_choice
from vocjax.models.autoencoder import padded_patches
from vocjax.models.ops import to_patches
from vocjax.models.pca import HIGHEST

STARTS = ("drawn", "pca")
# What the network of a config must be for the transposed encoder to be its decoder.
NEEDED = {"stem": "patch", "trunk": "linear", "downsample": "stride", "upsample": "transposed"}
IMAGES = 1024  # that are looked at; patches are many more
TINY = 1e-6  # for images that do not vary


class Stage(NamedTuple):
    """Components [numbers of a patch, features], and what the features are divided by, [].

    Divided by it, the features of a map have a mean square of 1 on average.
    """

    components: jax.Array
    scale: jax.Array


class Stages(NamedTuple):
    """The mean of the patches of pixels [numbers], and the stages, shallow to deep."""

    mean: jax.Array
    stages: tuple[Stage, ...]


def begins_with_pca(config: ConfigDict) -> bool:
    """Return whether a config's network begins with PCA; `UserError` for one that can't."""
    model = config.model
    start = model.get("start", "drawn")
    check_choice("model.start", start, STARTS)
    if start == "drawn":
        return False
    for field, value in NEEDED.items():
        if model.get(field) != value:
            raise UserError(
                f"model.start is 'pca' and model.{field} {model.get(field)!r}; a start with PCA "
                f"needs {value!r}. Set it, or model.start to 'drawn'."
            )
    mirror, code = tuple(reversed(model.encoder)), model.get("code", 0)
    if model.decoder != mirror or not 0 < code <= mirror[0]:
        raise UserError(
            f"model.start is 'pca', model.decoder {model.decoder!r} and model.code {code!r}; "
            f"a start with PCA needs {mirror!r}, the encoder's widths, and a code of 1 to "
            f"{mirror[0]} features."
        )
    return True


def fit(images: jax.Array, widths: tuple[int, ...]) -> Stages:
    """Fit stages of these widths to images [n, height, width, channels] in [0, 1].

    A stage has at most as many features as its patches have numbers.
    """
    x, stages = padded_patches(images), []
    mean = x.mean(axis=(0, 1, 2))
    x -= mean
    for index, width in enumerate(widths):
        if index:
            x = to_patches(x, 2)
        points = x.reshape(-1, x.shape[-1])
        moments = jnp.matmul(points.T, points, precision=HIGHEST) / len(points)
        values, vectors = (found[..., ::-1][..., :width] for found in jnp.linalg.eigh(moments))
        stages.append(Stage(vectors, jnp.sqrt(values.mean() + TINY)))
        x = jnp.matmul(x, vectors, precision=HIGHEST) / stages[-1].scale
    return Stages(mean, tuple(stages))


def with_stages(params: dict[str, Any], fitted: Stages) -> dict[str, Any]:
    """Return an autoencoder's parameters with the convolutions of its trunk set by `fit`.

    A kernel is 0 but for the taps on a place's own patch. Residual blocks keep their draw, and so
    do the features that a stage has more than its patches have numbers.
    """
    encoder, decoder = dict(params["encoder"]), dict(params["decoder"])
    deepest = len(fitted.stages) - 1
    for index, (components, scale) in enumerate(fitted.stages):
        side, features = min(index, 1) + 1, components.shape[1]
        by_tap = components.reshape(side, side, -1, features)
        into, out = f"ConvBlock_{index}", f"ConvBlock_{deepest + 1 - index}"
        bias = -fitted.mean @ components / scale if index == 0 else jnp.zeros(features)
        encoder[into] = _with_conv(encoder[into], by_tap / scale, bias, first_tap=1 - min(index, 1))
        back = by_tap.transpose(0, 1, 3, 2) * scale
        if index == 0:
            decoder |= _with_conv(decoder, back, fitted.mean, first_tap=1)
        else:
            decoder[out] = _with_conv(decoder[out], back, jnp.zeros(back.shape[-1]), first_tap=1)
    numbers, features = encoder["code"]["kernel"].shape[-1], components.shape[1]
    first = jnp.eye(features, numbers)[None, None]
    encoder |= {"code": _set(encoder["code"], first, jnp.zeros(numbers), first_tap=0)}
    back = first.transpose(0, 1, 3, 2)
    decoder["ConvBlock_0"] = _with_conv(
        decoder["ConvBlock_0"], back, jnp.zeros(features), first_tap=1
    )
    return params | {"encoder": encoder, "decoder": decoder}


def _with_conv(
    block: dict[str, Any], taps: jax.Array, bias: jax.Array, *, first_tap: int
) -> dict[str, Any]:
    return block | {"Conv_0": _set(block["Conv_0"], taps, bias, first_tap=first_tap)}


def _set(
    conv: dict[str, jax.Array], taps: jax.Array, bias: jax.Array, *, first_tap: int
) -> dict[str, jax.Array]:
    """Set the first features of a convolution, from the first channels that it reads."""
    rows, columns, channels, features = taps.shape
    own = slice(first_tap, first_tap + rows), slice(first_tap, first_tap + columns)
    kernel = conv["kernel"].at[..., :features].set(0.0)
    kernel = kernel.at[*own, :channels, :features].set(taps)
    return {"kernel": kernel, "bias": conv["bias"].at[:features].set(bias)}
