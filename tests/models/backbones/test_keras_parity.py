"""Logits equal Keras's applications with the same weights: padding, epsilon, strides, names."""

import keras
import numpy as np
import pytest
from models.backbones.parity import apply, error, foreign, random_variables

from vocjax.models.backbones import BACKBONES
from vocjax.models.backbones.heads import FlattenHead, Network
from vocjax.weights.names import mobilenet, mobilenet_v2, resnet, vgg

CLASSES = 10


def small_vgg(name):
    """VGG for 64 pixels as Keras has it, without the adaptive pooling to 7x7."""
    return Network(BACKBONES[name]().backbone, FlattenHead(CLASSES, side=2))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("peer", "network", "names", "size"),
    [
        ("VGG16", small_vgg("vgg16"), vgg, (64, 64)),
        ("VGG19", small_vgg("vgg19"), vgg, (64, 64)),
        ("ResNet50", BACKBONES["resnet50"](CLASSES, variant="keras"), resnet, (97, 111)),
        ("MobileNet", BACKBONES["mobilenet"](CLASSES), mobilenet, (224, 224)),
        ("MobileNet", BACKBONES["mobilenet"](CLASSES), mobilenet, (97, 111)),
        (
            "MobileNetV2",
            BACKBONES["mobilenet_v2"](CLASSES, variant="keras"),
            mobilenet_v2,
            (97, 110),
        ),
    ],
)
def test_logits_equal_keras(peer, network, names, size):
    model = getattr(keras.applications, peer)(
        weights=None, classes=CLASSES, classifier_activation=None, input_shape=(*size, 3)
    )
    variables = random_variables(network, (*size, 3))
    arrays = foreign(variables, names.keras(network))
    # Keras 3 says "kernel" where the published files have "depthwise_kernel".
    depthwise = keras.layers.DepthwiseConv2D
    wanted = {
        weight.path: f"{layer.name}/depthwise_kernel"
        if isinstance(layer, depthwise)
        else weight.path
        for layer in model.layers
        for weight in layer.weights
    }
    assert set(wanted.values()) == set(arrays)
    for weight in model.weights:
        weight.assign(arrays[wanted[weight.path]])

    images = np.random.default_rng(1).standard_normal((2, *size, 3), np.float32)
    assert error(apply(network, variables, images), model.predict_on_batch(images)) < 1e-4
