"""Logits equal torchvision's with the same weights: padding, epsilon, strides, names."""

import numpy as np
import pytest
from models.backbones.parity import apply, error, foreign, random_variables

from vocjax.models.backbones import BACKBONES
from vocjax.models.backbones.size import multiply_adds
from vocjax.pretrained.names import resnet
from vocjax.pretrained.parity import parity_error, torchvision_model

torch = pytest.importorskip("torch")
torchvision = pytest.importorskip("torchvision")

CLASSES = 10


@pytest.mark.parametrize(
    ("backbone", "size"),
    [
        ("squeezenet", (224, 224)),
        ("squeezenet", (97, 111)),
        ("resnet18", (97, 111)),
        ("resnet50", (97, 111)),
        ("mobilenet_v2", (97, 111)),
        ("alexnet", (97, 111)),
        pytest.param("vgg16", (97, 111), marks=pytest.mark.slow),
        pytest.param("vgg19", (64, 64), marks=pytest.mark.slow),
    ],
)
def test_logits_equal_torchvision(backbone, size):
    assert parity_error(backbone, "torchvision", (*size, 3), CLASSES) < 1e-4


@pytest.mark.slow
def test_dilated_logits_equal_torchvision():
    network = BACKBONES["resnet50"](CLASSES, output_stride=8)
    variables = random_variables(network, (97, 111, 3))
    peer = torchvision_model(
        "resnet50",
        foreign(variables, resnet.torchvision(network)),
        num_classes=CLASSES,
        replace_stride_with_dilation=[False, True, True],
    )
    images = np.random.default_rng(1).standard_normal((2, 97, 111, 3), np.float32)
    with torch.inference_mode():
        expected = peer(torch.from_numpy(images.transpose(0, 3, 1, 2).copy())).numpy()
    assert error(apply(network, variables, images), expected) < 1e-4


@pytest.mark.parametrize(
    ("backbone", "published", "pixels"),
    [
        ("alexnet", "AlexNet", 224),
        ("vgg16", "VGG16", 224),
        ("vgg19", "VGG19", 224),
        ("resnet18", "ResNet18", 224),
        ("resnet50", "ResNet50", 224),
        ("inception_v1", "GoogLeNet", 224),
        ("inception_v3", "Inception_V3", 299),
        ("mobilenet_v2", "MobileNet_V2", 224),
        ("squeezenet", "SqueezeNet1_1", 224),
    ],
)
def test_multiply_adds_are_those_that_torchvision_publishes(backbone, published, pixels):
    weights = torchvision.models.get_weight(f"{published}_Weights.IMAGENET1K_V1")
    ours = multiply_adds(BACKBONES[backbone](), (pixels, pixels, 3)) / 1e9
    # Its billions have three digits; the means before AlexNet's and VGG's heads are not in them.
    assert -0.0005 <= ours - weights.meta["_ops"] <= 0.0009
