"""Logits equal torchvision's with the same weights: padding, epsilon, strides, names."""

import functools

import numpy as np
import pytest
from models.backbones.parity import apply, error, foreign, random_variables

from vocjax.models.backbones import BACKBONES
from vocjax.weights.names import alexnet, mobilenet_v2, resnet, squeezenet, vgg

torch = pytest.importorskip("torch")
torchvision = pytest.importorskip("torchvision")

CLASSES = 10


def peer_with(make, arrays):
    """torchvision's network, which draws nothing, with the arrays of the names that it knows."""
    with torch.device("meta"):
        model = make(num_classes=CLASSES)
    state = {name: torch.from_numpy(np.ascontiguousarray(a)) for name, a in arrays.items()}
    counts = [name for name in model.state_dict() if name.endswith("num_batches_tracked")]
    model.load_state_dict(state | {name: torch.tensor(0) for name in counts}, assign=True)
    return model.eval()


@pytest.mark.parametrize(
    ("name", "names", "size"),
    [
        ("squeezenet", squeezenet, (224, 224)),
        ("squeezenet", squeezenet, (97, 111)),
        ("resnet18", resnet, (97, 111)),
        ("resnet50", resnet, (97, 111)),
        ("mobilenet_v2", mobilenet_v2, (97, 111)),
        ("alexnet", alexnet, (97, 111)),
        pytest.param("vgg16", vgg, (97, 111), marks=pytest.mark.slow),
        pytest.param("vgg19", vgg, (64, 64), marks=pytest.mark.slow),
    ],
)
def test_logits_equal_torchvision(name, names, size):
    make = getattr(torchvision.models, {"squeezenet": "squeezenet1_1"}.get(name, name))
    compare(BACKBONES[name](CLASSES), names, size, make)


@pytest.mark.slow
def test_dilated_logits_equal_torchvision():
    make = functools.partial(
        torchvision.models.resnet50, replace_stride_with_dilation=[False, True, True]
    )
    compare(BACKBONES["resnet50"](CLASSES, output_stride=8), resnet, (97, 111), make)


def compare(network, names, size, make):
    variables = random_variables(network, (*size, 3))
    model = peer_with(make, foreign(variables, names.torchvision(network)))
    images = np.random.default_rng(1).standard_normal((2, *size, 3), np.float32)
    with torch.inference_mode():
        expected = model(torch.from_numpy(images.transpose(0, 3, 1, 2).copy())).numpy()
    assert error(apply(network, variables, images), expected) < 1e-4
