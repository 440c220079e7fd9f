"""A classifier: an encoder, fully connected layers on its code, and perhaps a decoder."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
from flax import linen as nn
from ml_collections import ConfigDict

from vocjax.errors import UserError, check_choice, check_range
from vocjax.models.autoencoder import Decoder, Encoder, pixels
from vocjax.models.dropout import Dropout
from vocjax.models.encoders import encoder_and_decoder, make_encoder
from vocjax.models.fields import check_image_poolable
from vocjax.models.layers import ACTIVATIONS, INITIALIZERS, style_of

POOLINGS = ("flatten", "mean", "rms", "polarity")
LOGISTIC = "logistic"  # a `head_init`: the last layer is fitted before training
HEAD_FIELDS = ("hidden", "pooling", "head_dropout", "head_init")  # of a config's `model`


def pooled(code: jax.Array, pooling: str) -> jax.Array:
    """Codes [batch, height, width, features] to [batch, numbers] float32: flat, or pooled.

    Over places: "mean" (Lin et al. 2014, "Network in network"); "rms", the root of the mean of
    squares, between mean and maximum, for objects that fill a part of the image (Radenovic et al.
    2018, "Fine-tuning CNN image retrieval with no human annotation", of exponent 2); "polarity",
    the mean of the positive and of the negative parts, twice as many numbers, for maps that no
    activation has rectified (Coates & Ng 2011, "The importance of encoding versus training with
    sparse coding").
    """
    x = code.astype(jnp.float32)
    if pooling == "flatten":
        return x.reshape(x.shape[0], -1)
    if pooling == "rms":  # of a feature that is 0 everywhere the root has no slope
        return jnp.sqrt((x**2).mean(axis=(1, 2)) + 1e-12)
    if pooling == "polarity":
        x = jnp.concatenate([nn.relu(x), nn.relu(-x)], axis=-1)
    return x.mean(axis=(1, 2))


class Head(nn.Module):
    """Fully connected layers from a code to a logit for each class.

    `hidden` are the widths of the layers before the last, with `activation` and, in training,
    dropout before each layer. A last layer that begins with zeros (`last_init`) stays in the span
    of the codes that it is trained on; a drawn one keeps its noise in all other directions.
    """

    classes: int
    hidden: Sequence[int] = ()
    pooling: str = "flatten"
    dropout: float = 0.0
    activation: str = "relu"
    kernel_init: str = "glorot_uniform"
    last_init: str = "glorot_uniform"

    @nn.compact
    def __call__(self, code: jax.Array, *, train: bool = False) -> jax.Array:
        """Codes [batch, height, width, features] to logits [batch, classes], float32."""
        x = pooled(code, self.pooling)
        init, widths = INITIALIZERS[self.kernel_init], (*self.hidden, self.classes)
        inits = [init] * len(self.hidden) + [INITIALIZERS[self.last_init]]
        for index, (width, init) in enumerate(zip(widths, inits, strict=True)):
            if index:
                x = ACTIVATIONS[self.activation](x)
            if self.dropout:
                x = Dropout(self.dropout)(x, deterministic=not train)
            x = nn.Dense(width, kernel_init=init)(x)
        return x


class Classifier(nn.Module):
    """Parameters are under `encoder`, `head` and, for a joint network, `decoder`."""

    encoder: nn.Module
    head: Head
    decoder: Decoder | None = None

    def __call__(
        self,
        images: jax.Array,
        code: jax.Array | None = None,
        *,
        train: bool = False,
        valid: jax.Array | None = None,
    ) -> tuple[jax.Array, ...]:
        """Return (logits [batch, classes], code) of images [batch, height, width, channels].

        A joint network adds the reconstruction, in [0, 1]. With a given `code` the encoder does
        not run.
        """
        if code is None:
            code = self.encode(images, train=train, valid=valid)
        logits = self.head(code, train=train)
        if self.decoder is None:
            return logits, code
        image = self.decoder(code, train=train, valid=valid)
        return logits, code, pixels(image, self.decoder.style)

    def encode(
        self, images: jax.Array, *, train: bool = False, valid: jax.Array | None = None
    ) -> jax.Array:
        """Images [batch, height, width, channels] in [0, 1] to codes [batch, h, w, features]."""
        return self.encoder(images, train=train, valid=valid)

    def classify(self, code: jax.Array) -> jax.Array:
        """Codes [batch, h, w, features] to logits [batch, classes], in evaluation mode."""
        return self.head(code)


def network(config: ConfigDict, outputs: int) -> Classifier:
    """Return the classifier of a config, a joint network where it has a decoder's widths."""
    model, style = config.model, style_of(config)
    check_choice("model.pooling", model.pooling, POOLINGS)
    check_range("model.head_dropout", model.head_dropout, 0, 1)
    check_choice("model.head_init", model.head_init, (*INITIALIZERS, LOGISTIC))
    if model.head_init == LOGISTIC and model.hidden:
        raise UserError(
            f"model.hidden is {model.hidden!r} and model.head_init {LOGISTIC!r}, which fits one "
            "layer on the code: set model.hidden to ()."
        )
    if not all(type(width) is int and width > 0 for width in model.hidden):
        raise UserError(f"model.hidden is {model.hidden!r}; it is positive integers, (128,).")
    last = "zeros" if model.head_init == LOGISTIC else model.head_init
    shape, inits = (outputs, tuple(model.hidden)), (style.kernel_init, last)
    head = Head(*shape, model.pooling, model.head_dropout, style.activation, *inits)
    if not model.decoder:
        encoder = make_encoder(config)
        if isinstance(encoder, Encoder):  # its poolings leave nothing out then
            check_image_poolable(config, max(encoder.strides.values()))
        return Classifier(encoder, head)
    if model.upsample == "unpool":
        raise UserError(
            "model.upsample is 'unpool', which needs the encoder's switches; a joint network "
            "decodes the code alone: nearest, bilinear or transposed."
        )
    encoder, decoder = encoder_and_decoder(config, config.data.channels)
    return Classifier(encoder, head, decoder)
