"""Heads, from a backbone's deepest map to one logit a class, and both as one network."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from vocjax.models.backbones.blocks import KERNEL_INIT, Backbone, Conv
from vocjax.models.dropout import Dropout

DENSE_INIT = nn.initializers.glorot_uniform()


class Network(nn.Module):
    """A classifier: parameters lie under `backbone` and `head`."""

    backbone: Backbone
    head: nn.Module

    def __call__(
        self, images: jax.Array, *, train: bool = False, valid: jax.Array | None = None
    ) -> jax.Array:
        """Images [batch, height, width, channels] to logits [batch, classes], float32.

        Training a head that has dropout needs an rng "dropout".
        """
        return self.head(self.backbone(images, train=train, valid=valid), train=train)


class MeanHead(nn.Module):
    """Mean over the map, dropout, one dense layer `dense` (Lin et al. 2014, "Network in network").

    Parameters `dense/kernel` [channels, classes] and `dense/bias`; the computation is in float32.
    """

    classes: int
    dropout: float = 0.0

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool = False) -> jax.Array:
        """[batch, height, width, channels] to logits [batch, classes], float32."""
        x = x.astype(jnp.float32).mean(axis=(1, 2))
        x = Dropout(self.dropout)(x, deterministic=not train)
        return nn.Dense(self.classes, kernel_init=DENSE_INIT, name="dense")(x)


class ConvHead(nn.Module):
    """Dropout, a 1x1 convolution `conv` with bias, ReLU if `relu`, mean over the map."""

    classes: int
    dropout: float = 0.0
    relu: bool = False

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool = False) -> jax.Array:
        """[batch, height, width, channels] to logits [batch, classes], float32."""
        x = Dropout(self.dropout)(x.astype(jnp.float32), deterministic=not train)
        x = Conv(self.classes, 1, name="conv")(x)
        return (nn.relu(x) if self.relu else x).mean(axis=(1, 2))


class FlattenHead(nn.Module):
    """Two dense layers of `width` with ReLU and dropout, then a third, on a map of side `side`.

    `adaptive_mean_pool` brings a map of another size to that side. The first layer's kernel
    `fc1/kernel` is [side, side, channels, width], so that an FCN can slide it over larger maps as a
    convolution (Long et al. 2015). The others, `fc2` and `fc3`, have matrices.
    """

    classes: int
    side: int
    width: int = 4096
    dropout: float = 0.5

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool = False) -> jax.Array:
        """[batch, height, width, channels] to logits [batch, classes], float32."""
        x = adaptive_mean_pool(x.astype(jnp.float32), (self.side, self.side))
        fc1 = nn.DenseGeneral(self.width, axis=(1, 2, 3), kernel_init=KERNEL_INIT, name="fc1")
        fc2 = nn.Dense(self.width, kernel_init=KERNEL_INIT, name="fc2")
        for layer in (fc1, fc2):
            x = Dropout(self.dropout)(nn.relu(layer(x)), deterministic=not train)
        return nn.Dense(self.classes, kernel_init=DENSE_INIT, name="fc3")(x)


def adaptive_mean_pool(x: jax.Array, size: Sequence[int]) -> jax.Array:
    """Pool [batch, height, width, channels] to a map of `size` by the means of as many windows.

    On an axis of n values window i of m begins at floor(i n / m) and ends before
    ceil((i + 1) n / m), as in torch's adaptive average pooling.
    """
    height, width = (_window_means(n, m) for n, m in zip(x.shape[1:3], size, strict=True))
    highest = jax.lax.Precision.HIGHEST  # a GPU would round a mean's factors to TF32
    return jnp.einsum("im,jn,bmnc->bijc", height, width, x, precision=highest)


def _window_means(n: int, m: int) -> np.ndarray:
    """Return the matrix [m, n] float32 from n values to the means of m windows."""
    place, window = np.arange(n), np.arange(m)[:, None]
    inside = (place >= window * n // m) & (place < -(-(window + 1) * n // m))
    return (inside / inside.sum(axis=1, keepdims=True)).astype(np.float32)
