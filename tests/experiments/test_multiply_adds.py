"""Multiply-adds: counted by hand, as published, and the same for any batch or platform."""

import jax
import jax.numpy as jnp
import pytest
from flax import linen as nn

from experiments.multiply_adds import multiply_adds
from vocjax.models.backbones import BACKBONES
from vocjax.models.backbones.blocks import Conv, ConvNorm, DepthwiseConv
from vocjax.models.backbones.heads import ConvHead, FlattenHead, MeanHead
from vocjax.models.backbones.size import shapes
from vocjax.models.ops import max_pool


class Tiny(nn.Module):
    """Layers one after the other, of images."""

    layers: tuple[nn.Module, ...]

    def __call__(self, x, *, train=False, valid=None):
        for layer in self.layers:
            x = layer(x)
        return x


class Loop(nn.Module):
    @nn.compact
    def __call__(self, x, *, train=False, valid=None):
        return jax.lax.fori_loop(0, 3, lambda _, y: y @ jnp.ones((3, 3)), x)


@pytest.mark.parametrize(
    ("layers", "expected"),
    [
        ((Conv(5, 3),), 8 * 10 * 5 * 3 * 9),
        ((Conv(5, (1, 7), stride=2),), 4 * 5 * 5 * 3 * 7),
        ((Conv(5, 3, padding="VALID"),), 6 * 8 * 5 * 3 * 9),
        ((Conv(5, 3, dilation=2),), 8 * 10 * 5 * 3 * 9),
        ((Conv(5, 1, bias=False),), 8 * 10 * 5 * 3),  # a matrix product
        ((Conv(5, 1, stride=2),), 4 * 5 * 5 * 3),
        ((DepthwiseConv(3),), 8 * 10 * 3 * 9),
        ((DepthwiseConv(3, stride=2, dtype=jnp.bfloat16),), 4 * 5 * 3 * 9),
        ((DepthwiseConv((1, 5), dilation=2),), 8 * 10 * 3 * 5),
        ((ConvNorm(5, 3), lambda x: max_pool(x, 2, 2), nn.relu), 8 * 10 * 5 * 3 * 9),
        ((ConvNorm(None, 3), ConvNorm(4, 1)), 8 * 10 * (3 * 9 + 4 * 3)),
        ((MeanHead(7),), 3 * 7),
        ((ConvHead(7, relu=True),), 8 * 10 * 3 * 7),
        # The means first: of 10 columns to 2, then of 8 rows to 2.
        ((FlattenHead(7, side=2, width=6),), 8 * 20 * 3 + 16 * 2 * 3 + 12 * 6 + 6 * 6 + 6 * 7),
    ],
)
def test_counted_by_hand(layers, expected):
    assert multiply_adds(Tiny(layers), (8, 10, 3)) == expected


# As torchvision's documentation has them, in thousandths of 10^9, and as the papers say; and the
# means before AlexNet's and VGG's heads, which are counted here and not there.
@pytest.mark.parametrize(
    ("name", "fields", "published", "digits", "means"),
    [
        ("alexnet", {}, 0.714, 3, 2 * 6 * 6 * 6 * 256),
        ("vgg16", {}, 15.470, 3, 2 * 7 * 7 * 7 * 512),
        ("vgg19", {}, 19.632, 3, 2 * 7 * 7 * 7 * 512),
        ("resnet18", {}, 1.814, 3, 0),
        ("resnet50", {}, 4.089, 3, 0),
        ("resnet50", {"variant": "keras"}, 3.9, 1, 0),  # 3.8 in the paper, which cuts off
        ("inception_v1", {}, 1.498, 3, 0),
        ("inception_v3", {}, 5.713, 3, 0),
        ("mobilenet_v2", {}, 0.301, 3, 0),
        ("squeezenet", {}, 0.349, 3, 0),
        ("mobilenet", {}, 0.569, 3, 0),
        ("darknet19", {}, 5.58 / 2, 2, 0),  # a multiply-add is two of Darknet's operations
        ("tiny_darknet", {}, 0.98 / 2, 2, 0),
    ],
)
def test_as_published(name, fields, published, digits, means):
    pixels = 299 if name == "inception_v3" else 224
    counted = multiply_adds(BACKBONES[name](**fields), (pixels, pixels, 3)) - means
    assert means < counted / 1000
    assert round(counted / 1e9, digits) == pytest.approx(published)


def test_a_loop_is_refused():
    with pytest.raises(ValueError, match=r"loop .*not counted"):
        multiply_adds(Loop(), (8, 10, 3))


def test_shapes_are_those_of_what_is_drawn():
    images = jnp.zeros((1, 8, 10, 3))
    layers = Tiny((ConvNorm(4, 3), MeanHead(2)))
    drawn = layers.init(jax.random.key(0), images)
    expected = jax.tree.map(lambda x: (x.shape, x.dtype), drawn)
    assert jax.tree.map(lambda x: (x.shape, x.dtype), shapes(layers, (8, 10, 3))) == expected
