"""Logits equal Keras's applications with the same weights: padding, epsilon, strides, names."""

import numpy as np
import pytest
from models.backbones.checks import keras_twin
from models.backbones.parity import apply, error

from vocjax.models.backbones import BACKBONES
from vocjax.models.backbones.heads import FlattenHead, Network
from vocjax.pretrained.names import vgg
from vocjax.pretrained.parity import parity_error


@pytest.mark.slow
@pytest.mark.parametrize(
    ("backbone", "size"),
    [
        ("resnet50", (97, 111)),
        ("mobilenet", (224, 224)),
        ("mobilenet", (97, 111)),
        ("mobilenet_v2", (97, 110)),
    ],
)
def test_logits_equal_keras(backbone, size):
    assert parity_error(backbone, "keras", (*size, 3), classes=10) < 1e-4


@pytest.mark.slow
@pytest.mark.parametrize("name", ["VGG16", "VGG19"])
def test_logits_of_small_images_equal_keras(name):
    """For 64 pixels Keras has no adaptive pooling to 7x7."""
    network = Network(BACKBONES[name.lower()]().backbone, FlattenHead(10, side=2))
    variables, peer = keras_twin(network, vgg, name, (64, 64))
    images = np.random.default_rng(1).standard_normal((2, 64, 64, 3), np.float32)
    assert error(apply(network, variables, images), peer.predict_on_batch(images)) < 1e-4
