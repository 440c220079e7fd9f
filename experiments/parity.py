"""Compare a network with its source's network, with the same random weights and images in both.

Only the functions that need torchvision or Keras import them. Keras has to run on JAX: set
KERAS_BACKEND=jax in the environment.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import numpy as np
from flax import linen as nn
from flax.traverse_util import flatten_dict, unflatten_dict

from vocjax.models.backbones import BACKBONES, SOURCES
from vocjax.models.backbones.size import shapes
from vocjax.pretrained.matching import Arrays, flatten, restore_names

TORCHVISION = {  # the name of its function, and the fields
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
    """Draw the variables of a network, a backbone or a stage, as `drawn`."""
    return drawn(shapes(module, image_shape), seed)


def drawn(like: Any, seed: int = 0) -> Any:
    """Draw variables with the shapes of a tree of them, float32, as NumPy arrays.

    Kernels keep the size of activations (He et al. 2015). No bias, mean or scale is 0 or 1.
    Variances are about 2, so that residual sums do not hide the biases.
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

    leaves = flatten_dict(like)
    return unflatten_dict({path: draw(path, leaf.shape) for path, leaf in leaves.items()})


def error(ours: np.ndarray, theirs: np.ndarray) -> float:
    """Return the largest difference of two arrays of one shape, divided by `theirs`' maximum."""
    return float(np.abs(ours - theirs).max() / np.abs(theirs).max())


def torchvision_model(name: str, arrays: Arrays, **fields: Any) -> Any:
    """Make a network of torchvision with these arrays, by the names of its state dict.

    Raises torch's RuntimeError unless `arrays` has all of the network's arrays, without the counts
    of batches, and no others. `fields` are the network's own.
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
    """Make a network of Keras, without softmax, with these arrays by their published names.

    Raises ValueError unless `arrays` has all of the network's arrays, and no others.
    """
    import keras

    keras.backend.clear_session()  # layers without a name of their own are numbered from 0
    model = getattr(keras.applications, name)(
        weights=None, classes=classes, classifier_activation=None, input_shape=tuple(image_shape)
    )
    named = []
    for layer in model.layers:
        # Keras 3 writes "kernel" where the published files have "depthwise_kernel".
        depthwise = isinstance(layer, keras.layers.DepthwiseConv2D)
        own = f"{layer.name}/depthwise_kernel"
        named += [(own if depthwise else weight.path, weight) for weight in layer.weights]
    if differing := {name for name, _ in named}.symmetric_difference(arrays):
        raise ValueError(f"{name} and the arrays do not agree on {', '.join(sorted(differing))}")
    for theirs, weight in named:
        weight.assign(arrays[theirs])
    return model


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


# Each takes a backbone's name, arrays, images and the number of classes, and returns logits.
PEERS: Mapping[str, Callable[[str, Arrays, np.ndarray, int], np.ndarray]] = {
    "torchvision": _torchvision_logits,
    "keras": _keras_logits,
}


def parity_error(
    backbone: str, source: str, image_shape: Sequence[int], classes: int = 1000
) -> float:
    """Return the `error` of a network's logits against its source's, both in float32.

    Weights, statistics and two images, of a size that the source's network takes, are random.
    """
    fields, key_map = SOURCES[backbone][source].fields, SOURCES[backbone][source].key_map
    network = BACKBONES[backbone](classes, **fields)
    variables = random_variables(network, image_shape)
    arrays = restore_names(flatten(variables), key_map(network))
    images = np.random.default_rng(1).standard_normal((2, *image_shape), np.float32)
    ours = jax.jit(network.apply)(variables, images)
    return error(np.asarray(ours), PEERS[source](backbone, arrays, images, classes))
