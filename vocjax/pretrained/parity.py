"""Whether a network computes what its origin's does: the same random weights and images in both.

torchvision and Keras are imported by the functions that compare with them; nothing else in the
package needs them. Keras is to run on JAX: KERAS_BACKEND=jax in the environment.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import numpy as np
from flax import linen as nn
from flax.traverse_util import flatten_dict, unflatten_dict

from vocjax.models.backbones import BACKBONES
from vocjax.models.backbones.size import shapes
from vocjax.pretrained.matching import Arrays, flatten, restore_names
from vocjax.pretrained.sources import SOURCES

TORCHVISION = {  # its function and fields
    "alexnet": ("alexnet", {}),
    "vgg16": ("vgg16", {}),
    "vgg19": ("vgg19", {}),
    "resnet18": ("resnet18", {}),
    "resnet50": ("resnet50", {}),
    "inception_v1": ("googlenet", {"aux_logits": False, "init_weights": False}),
    "inception_v3": ("inception_v3", {"aux_logits": False, "init_weights": False}),
    "mobilenet_v2": ("mobilenet_v2", {}),
    "squeezenet": ("squeezenet1_1", {}),
}
KERAS = {
    "vgg16": "VGG16",
    "vgg19": "VGG19",
    "resnet50": "ResNet50",
    "inception_v3": "InceptionV3",
    "xception": "Xception",
    "mobilenet": "MobileNet",
    "mobilenet_v2": "MobileNetV2",
}


def random_variables(module: nn.Module, image_shape: Sequence[int], seed: int = 0) -> Any:
    """Draw the variables of a network, a backbone or a stage, float32, as NumPy arrays.

    Kernels keep an activation's size (He et al. 2015); no bias, mean or scale is 0 or 1. Variances
    are about 2: residual sums then don't grow so large that biases would not be seen.

    Args:
      module: called with images, `train` and `valid`.
      image_shape: (height, width, channels).
      seed: of the draw.
    """
    rng = np.random.default_rng(seed)

    def draw(path: tuple[str, ...], shape: tuple[int, ...]) -> np.ndarray:
        normal = rng.standard_normal(shape, np.float32)
        match path[-1]:
            case "kernel":
                return normal * np.float32(np.sqrt(2 / np.prod(shape[:-1])))
            case "var":
                return 2 * np.exp(normal / 3)
            case "scale":
                return np.exp(normal / 3)
            case _:
                return normal / 3

    leaves = flatten_dict(shapes(module, image_shape))
    return unflatten_dict({path: draw(path, leaf.shape) for path, leaf in leaves.items()})


def error(ours: np.ndarray, theirs: np.ndarray) -> float:
    """Largest difference of two arrays of any one shape, relative to the second's largest value."""
    return float(np.abs(ours - theirs).max() / np.abs(theirs).max())


def torchvision_model(name: str, arrays: Arrays, **fields: Any) -> Any:
    """Make a network of torchvision's with these arrays, by the names of its state dict.

    Its fields are as given. Raises torch's RuntimeError unless they are all of its arrays but the
    counts of batches, and no others.
    """
    import torch
    import torchvision

    with torch.device("meta"):  # draws nothing
        model = getattr(torchvision.models, name)(**fields)
    state = {name: torch.from_numpy(np.ascontiguousarray(a)) for name, a in arrays.items()}
    counts = [name for name in model.state_dict() if name.endswith("num_batches_tracked")]
    model.load_state_dict(state | {name: torch.tensor(0) for name in counts}, assign=True)
    return model.eval()


def keras_model(name: str, arrays: Arrays, classes: int, image_shape: Sequence[int]) -> Any:
    """Make an application of Keras's, without softmax, with these arrays by their published names.

    Raises ValueError unless they are all of its arrays, and no others.
    """
    import keras

    keras.backend.clear_session()  # layers without a name of their own are numbered from 0
    model = getattr(keras.applications, name)(
        weights=None, classes=classes, classifier_activation=None, input_shape=tuple(image_shape)
    )
    # Keras 3 says "kernel" where the published files have "depthwise_kernel".
    named = [
        (
            f"{layer.name}/depthwise_kernel"
            if isinstance(layer, keras.layers.DepthwiseConv2D)
            else weight.path,
            weight,
        )
        for layer in model.layers
        for weight in layer.weights
    ]
    if differing := {name for name, _ in named}.symmetric_difference(arrays):
        raise ValueError(f"{name} and the arrays do not agree on {', '.join(sorted(differing))}")
    for theirs, weight in named:
        weight.assign(arrays[theirs])
    return model


def parity_error(
    backbone: str, origin: str, image_shape: Sequence[int], classes: int = 1000
) -> float:
    """Return the `error` of a network's logits against its origin's, both in float32.

    Weights, statistics and two images are random.

    Args:
      backbone: a name in `BACKBONES`.
      origin: a name in `ORIGINS` that is one of the backbone's sources.
      image_shape: (height, width, 3); what the origin's network takes.
      classes: of both heads.
    """
    source = SOURCES[backbone][origin]
    network = BACKBONES[backbone](classes, **source.fields)
    variables = random_variables(network, image_shape)
    arrays = restore_names(flatten(variables), source.names(network))
    images = np.random.default_rng(1).standard_normal((2, *image_shape), np.float32)
    ours = jax.jit(network.apply)(variables, images)
    return error(np.asarray(ours), ORIGINS[origin](backbone, arrays, images, classes))


def _torchvision_logits(
    backbone: str, arrays: Arrays, images: np.ndarray, classes: int
) -> np.ndarray:
    import torch

    name, fields = TORCHVISION[backbone]
    model = torchvision_model(name, arrays, num_classes=classes, **fields)
    with torch.inference_mode():
        return model(torch.from_numpy(images.transpose(0, 3, 1, 2).copy())).numpy()


def _keras_logits(backbone: str, arrays: Arrays, images: np.ndarray, classes: int) -> np.ndarray:
    model = keras_model(KERAS[backbone], arrays, classes, images.shape[1:])
    return model.predict_on_batch(images)


# By the name of the package.
ORIGINS: Mapping[str, Callable[[str, Arrays, np.ndarray, int], np.ndarray]] = {
    "torchvision": _torchvision_logits,
    "keras": _keras_logits,
}
