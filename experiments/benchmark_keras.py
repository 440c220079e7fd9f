"""Keras's part of the benchmark, on the backend that KERAS_BACKEND names.

The networks are written as its users do; a layer has the path of our parameters as its name, with
dots. The backbones are torchvision's, and ours, which differ from `keras.applications` in strides
and constants.
"""

from collections.abc import Callable, Mapping
from typing import Any

import keras
import numpy as np
from keras import layers, ops

from .benchmark_rows import batch_of  # relative: the wheel has this folder as vocjax.experiments

LEAVES = {"gamma": "scale", "beta": "bias", "moving_mean": "mean", "moving_variance": "var"}
# MobileNetV2's rows: expansion, features, repetitions, stride of the first (Sandler et al. 2018).
ROWS = (
    *((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2)),
    *((6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1)),
)
HOME = "encoder.backbone"


def block(x: Any, name: str, features: int, spec: dict[str, Any]) -> Any:
    """Convolution, ReLU, batch norm and dropout."""
    x = layers.Conv2D(features, 3, padding="same", activation="relu", name=f"{name}.Conv_0")(x)
    if spec["norm"]:
        x = layers.BatchNormalization(name=f"{name}.BatchNorm_0")(x)
    return layers.Dropout(spec["dropout"])(x) if spec["dropout"] else x


def study(x: Any, spec: dict[str, Any]) -> Any:
    """The study's encoder, and its mirror or a head; images to outputs."""
    for i, features in enumerate(spec["encoder"]):
        x = block(layers.MaxPooling2D()(x) if i else x, f"encoder.ConvBlock_{i}", features, spec)
    if not spec["decoder"]:
        return layers.Dense(spec["outputs"], name="head.Dense_0")(layers.Flatten()(x))
    for i, features in enumerate(spec["decoder"]):
        x = block(layers.UpSampling2D()(x) if i else x, f"decoder.ConvBlock_{i}", features, spec)
    last = layers.Conv2D(spec["outputs"], 3, padding="same", name="decoder.Conv_0")
    x = last(layers.UpSampling2D()(x))
    return layers.Activation("sigmoid")(x) if spec["loss"] == "mse" else x


def conv_norm(
    x: Any, name: str, features: int | None, side: int = 1, stride: int = 1, act: str = "relu"
) -> Any:
    """Convolution, depthwise where `features` is None, batch norm and activation ("" for none)."""
    if side > 1:
        x = layers.ZeroPadding2D(side // 2)(x)
    fields = {"strides": stride, "use_bias": False, "name": f"{name}.conv"}
    if features is None:
        x = layers.DepthwiseConv2D(side, **fields)(x)
    else:
        x = layers.Conv2D(features, side, **fields)(x)
    x = layers.BatchNormalization(momentum=0.9, epsilon=1e-5, name=f"{name}.norm")(x)
    return layers.Activation(act)(x) if act else x


def resnet50(x: Any) -> Any:
    """ResNet50 with the stride in the convolution of 3x3; images to its last map."""
    x = conv_norm(x, f"{HOME}.conv1", 64, 7, 2)
    x = layers.MaxPooling2D(3, 2)(layers.ZeroPadding2D(1)(x))  # nothing is below a ReLU's 0
    for stage, (depth, width) in enumerate(((3, 64), (4, 128), (6, 256), (3, 512)), 2):
        for i in range(1, depth + 1):
            name, stride = f"{HOME}.conv{stage}.block{i}", 2 if i == 1 and stage > 2 else 1
            y = conv_norm(x, f"{name}.conv1", width)
            y = conv_norm(y, f"{name}.conv2", width, 3, stride)
            y = conv_norm(y, f"{name}.conv3", 4 * width, act="")
            if i == 1:
                x = conv_norm(x, f"{name}.projection", 4 * width, 1, stride, act="")
            x = layers.Activation("relu")(layers.Add()([x, y]))
    return x


def mobilenet_v2(x: Any) -> Any:
    """MobileNetV2 of width 1; images to its last map."""
    x = conv_norm(x, f"{HOME}.conv1", 32, 3, 2, "relu6")
    blocks = [(t, c, s if i == 0 else 1) for t, c, n, s in ROWS for i in range(n)]
    for i, (expansion, features, stride) in enumerate(blocks, 1):
        name, y, channels = f"{HOME}.block{i}", x, x.shape[-1]
        if expansion > 1:
            y = conv_norm(y, f"{name}.expand", expansion * channels, act="relu6")
        y = conv_norm(y, f"{name}.depthwise", None, 3, stride, "relu6")
        y = conv_norm(y, f"{name}.project", features, act="")
        x = layers.Add()([x, y]) if stride == 1 and channels == features else y
    return conv_norm(x, f"{HOME}.conv2", 1280, act="relu6")


BACKBONES: Mapping[str, Callable[[Any], Any]] = {
    "resnet50": resnet50,
    "mobilenet_v2": mobilenet_v2,
}


def network(spec: dict[str, Any]) -> keras.Model:
    """Return a row's network, freshly drawn; the images are in [0, 1]."""
    images = keras.Input(spec["image"])
    if not spec["backbone"]:
        return keras.Model(images, study(images, spec))
    x = layers.GlobalAveragePooling2D()(BACKBONES[spec["backbone"]](images))
    return keras.Model(images, layers.Dense(spec["outputs"], name="head.Dense_0")(x))


def soft_dice(wanted: Any, logits: Any) -> Any:
    """Soft Dice over the batch."""
    p = ops.sigmoid(logits)
    return 1 - 2 * ops.sum(p * wanted) / (ops.sum(p) + ops.sum(wanted))


LOSSES: Mapping[str, Callable[[], Any]] = {
    "mse": keras.losses.MeanSquaredError,
    "binary_cross_entropy": lambda: keras.losses.BinaryCrossentropy(from_logits=True),
    "softmax_cross_entropy": lambda: keras.losses.CategoricalCrossentropy(from_logits=True),
    "soft_dice": lambda: soft_dice,
}
OPTIMIZERS = {"rmsprop": keras.optimizers.RMSprop, "adam": keras.optimizers.Adam}


class Contender:
    """As ours: `outputs` of images, and `step`, which returns the loss."""

    def __init__(self, spec: dict[str, Any]) -> None:
        """Make the network and the batch; Keras itself chooses whether XLA compiles."""
        keras.utils.set_random_seed(0)
        self.spec, self.model = spec, network(spec)
        optimizer = OPTIMIZERS[spec["optimizer"]](spec["learning_rate"], epsilon=1e-7)
        self.model.compile(optimizer, LOSSES[spec["loss"]]())
        images, wanted = batch_of(spec)
        self._images = images.astype(np.float32) / 255
        self._wanted = wanted_of(spec, self._images, wanted)

    def step(self) -> float:
        """Take a step on the batch."""
        return float(self.model.train_on_batch(self._images, self._wanted))

    def load(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Begin with our arrays, by our paths; ValueError unless the network has all of them."""
        own = {
            path_of(layer, weight): weight
            for layer in self.model.layers
            for weight in layer.weights
            if "seed_generator" not in weight.path
        }
        if differing := own.keys() ^ arrays.keys():
            raise ValueError(f"the networks do not agree on {', '.join(sorted(differing))}")
        for path, weight in own.items():
            array = arrays[path]
            weight.assign(array if array.shape == weight.shape else array.swapaxes(2, 3))

    def outputs(self, images: np.ndarray) -> np.ndarray:
        """Images uint8 to what ours says: [n, height, width, outputs] or [n, classes]."""
        return self.model.predict_on_batch(images.astype(np.float32) / 255)


def path_of(layer: keras.Layer, weight: Any) -> str:
    """Return our path of a layer's weight."""
    leaf = weight.path.rsplit("/", 1)[-1]
    leaf = "kernel" if isinstance(layer, layers.DepthwiseConv2D) else LEAVES.get(leaf, leaf)
    return f"{layer.name.replace('.', '/')}/{leaf}"


def wanted_of(spec: dict[str, Any], images: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Return what the loss of a row compares the outputs with, float32."""
    if spec["loss"] == "mse":
        return images
    if spec["loss"] == "soft_dice":
        return wanted[..., None].astype(np.float32)
    return np.eye(spec["outputs"], dtype=np.float32)[wanted]
