"""A backbone as an encoder of images in [0, 1], with the pre-processing of its weights."""

import jax
from flax import linen as nn

from vocjax.models.backbones.blocks import Backbone
from vocjax.models.backbones.preprocessing import IDENTITY, Preprocessing, apply
from vocjax.models.ops import Known


class BackboneEncoder(nn.Module):
    """Pre-processing, then a backbone, whose parameters lie under `backbone`.

    It is a `segmenter.StagedEncoder`, and its deepest map is the code. It has no switches, so that
    no decoder can unpool.
    """

    backbone: Backbone
    preprocessing: Preprocessing = IDENTITY

    @property
    def strides(self) -> dict[str, int]:
        """Pixels of the image from one value of a stage's map to the next."""
        return self.backbone.strides

    @property
    def modules(self) -> dict[str, str]:
        """The path of each stage's parameters."""
        return {name: f"backbone/{name}" for name in self.strides}

    @property
    def centred(self) -> bool:
        """Whether maps lie over the middle of the image, as in `Backbone.centred`."""
        return self.backbone.centred

    def stages(
        self,
        images: jax.Array,
        known: Known = None,
        *,
        train: bool = False,
        valid: jax.Array | None = None,
    ) -> dict[str, jax.Array]:
        """Images [batch, height, width, 3] in [0, 1] to every stage's map, as `Backbone.stages`."""
        images = apply(self.preprocessing, images)
        return self.backbone.stages(images, known, train=train, valid=valid)

    def __call__(
        self, images: jax.Array, *, train: bool = False, valid: jax.Array | None = None
    ) -> jax.Array:
        """Images [batch, height, width, 3] in [0, 1] to the deepest stage's map."""
        return self.backbone(apply(self.preprocessing, images), train=train, valid=valid)

    def with_switches(
        self, images: jax.Array, *, train: bool = False, valid: jax.Array | None = None
    ) -> tuple[jax.Array, tuple[jax.Array, ...]]:
        """Return (code, ()), as `autoencoder.Encoder` does without unpooling."""
        return self(images, train=train, valid=valid), ()
