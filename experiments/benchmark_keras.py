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

# Relative: the wheel has this folder as vocjax.experiments.
from .benchmark_rows import PIXEL_LOSSES, batch_of, epoch_of, joined

LEAVES = {"gamma": "scale", "beta": "bias", "moving_mean": "mean", "moving_variance": "var"}
# MobileNetV2's rows: expansion, features, repetitions, stride of the first (Sandler et al. 2018).
ROWS = (
    *((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2)),
    *((6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1)),
)
HOME, FLAT = "encoder.backbone", "head.Flatten_0"


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
        x = layers.Flatten(name=FLAT)(x)
        return layers.Dense(spec["outputs"], name="head.Dense_0")(x)
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


def resnet(x: Any, depths: tuple[int, ...], bottleneck: bool) -> list[Any]:
    """A ResNet with the stride in the convolution of 3x3; images to maps, shallow to deep."""
    x = conv_norm(x, f"{HOME}.conv1", 64, 7, 2)
    maps, expansion = [x], 4 if bottleneck else 1
    x = layers.MaxPooling2D(3, 2)(layers.ZeroPadding2D(1)(x))  # nothing is below a ReLU's 0
    for stage, depth in enumerate(depths, 2):
        width = 2 ** (4 + stage)
        for i in range(1, depth + 1):
            name, stride = f"{HOME}.conv{stage}.block{i}", 2 if i == 1 and stage > 2 else 1
            if bottleneck:
                y = conv_norm(x, f"{name}.conv1", width)
                y = conv_norm(y, f"{name}.conv2", width, 3, stride)
                y = conv_norm(y, f"{name}.conv3", 4 * width, act="")
            else:
                y = conv_norm(x, f"{name}.conv1", width, 3, stride)
                y = conv_norm(y, f"{name}.conv2", width, 3, act="")
            if i == 1 and x.shape[-1] != y.shape[-1]:
                x = conv_norm(x, f"{name}.projection", expansion * width, 1, stride, act="")
            x = layers.Activation("relu")(layers.Add()([x, y]))
        maps.append(x)
    return maps


def mobilenet_v2(x: Any) -> list[Any]:
    """MobileNetV2 of width 1; images to the last map of each stride, shallow to deep."""
    x = conv_norm(x, f"{HOME}.conv1", 32, 3, 2, "relu6")
    maps, blocks = [], [(t, c, s if i == 0 else 1) for t, c, n, s in ROWS for i in range(n)]
    for i, (expansion, features, stride) in enumerate(blocks, 1):
        name, y, channels = f"{HOME}.block{i}", x, x.shape[-1]
        if stride == 2:
            maps.append(x)
        if expansion > 1:
            y = conv_norm(y, f"{name}.expand", expansion * channels, act="relu6")
        y = conv_norm(y, f"{name}.depthwise", None, 3, stride, "relu6")
        y = conv_norm(y, f"{name}.project", features, act="")
        x = layers.Add()([x, y]) if stride == 1 and channels == features else y
    return [*maps, conv_norm(x, f"{HOME}.conv2", 1280, act="relu6")]


def unet(maps: list[Any], spec: dict[str, Any]) -> Any:
    """U-Net's decoder; maps, shallow to deep, to logits of the images' size."""
    *shallower, x = maps
    for i, (features, skip) in enumerate(zip(spec["decoder"], reversed(shallower), strict=True)):
        x = layers.Concatenate()([layers.UpSampling2D()(x), skip])
        name = f"decoder.SkipBlock_{i}"
        conv = layers.Conv2D(features, 3, padding="same", activation="relu", name=f"{name}.conv")
        x = layers.BatchNormalization(name=f"{name}.BatchNorm_0")(conv(x))
    x = layers.Dense(spec["outputs"], name="decoder.score")(x)
    return layers.UpSampling2D(interpolation="bilinear")(x)


BACKBONES: Mapping[str, Callable[[Any], list[Any]]] = {
    "resnet18": lambda x: resnet(x, (2, 2, 2, 2), bottleneck=False),
    "resnet50": lambda x: resnet(x, (3, 4, 6, 3), bottleneck=True),
    "mobilenet_v2": mobilenet_v2,
}


def network(spec: dict[str, Any]) -> keras.Model:
    """Return a row's network, freshly drawn; the images are in [0, 1]."""
    images = keras.Input(spec["image"])
    if not spec["backbone"]:
        return keras.Model(images, study(images, spec))
    maps = BACKBONES[spec["backbone"]](images)
    if spec["network"] == "unet":
        return keras.Model(images, unet(maps, spec))
    x = layers.GlobalAveragePooling2D()(maps[-1])
    return keras.Model(images, layers.Dense(spec["outputs"], name="head.Dense_0")(x))


def soft_dice(wanted: Any, logits: Any) -> Any:
    """Soft Dice over the batch."""
    p = ops.sigmoid(logits)
    return 1 - 2 * ops.sum(p * wanted) / (ops.sum(p) + ops.sum(wanted))


def cross_entropy_and_dice(wanted: Any, logits: Any) -> Any:
    """Cross-entropy of pixels, and soft Dice over the batch, mean of the classes that occur."""
    entropy = keras.losses.sparse_categorical_crossentropy(wanted, logits, from_logits=True)
    truth, p = ops.one_hot(ops.cast(wanted, "int32"), logits.shape[-1]), ops.softmax(logits)
    both, truth, p = (ops.sum(x, axis=(0, 1, 2)) for x in (p * truth, truth, p))
    occurs = ops.cast(truth > 0, "float32")
    return ops.mean(entropy) + ops.sum((1 - 2 * both / (p + truth)) * occurs) / ops.sum(occurs)


LOSSES: Mapping[str, Callable[[], Any]] = {
    "mse": keras.losses.MeanSquaredError,
    "binary_cross_entropy": lambda: keras.losses.BinaryCrossentropy(from_logits=True),
    "softmax_cross_entropy": lambda: keras.losses.CategoricalCrossentropy(from_logits=True),
    "soft_dice": lambda: soft_dice,
    "cross_entropy + soft_dice": lambda: cross_entropy_and_dice,
}
OPTIMIZERS = {"rmsprop": keras.optimizers.RMSprop, "adam": keras.optimizers.Adam}


class Contender:
    """As ours: `outputs` of images, and `step`, which returns the loss."""

    def __init__(self, spec: dict[str, Any]) -> None:
        """Make the network and the batch; Keras itself chooses whether XLA compiles."""
        keras.utils.set_random_seed(0)
        self.spec, self.model = spec, network(spec)
        for layer in self.model.layers:
            layer.trainable = not (spec["frozen"] and layer.name.startswith("encoder."))
        self._trained = self.model
        if spec["codes"]:
            code = self.model.get_layer(FLAT).input
            self._encoder = keras.Model(self.model.input, code)
            self._trained = keras.Model(code, self.model.output)
        optimizer = OPTIMIZERS[spec["optimizer"]](spec["learning_rate"], epsilon=1e-7)
        self._trained.compile(optimizer, LOSSES[spec["loss"]]())
        self._inputs, self._wanted = self._arrays(*batch_of(spec))

    def _arrays(self, images: np.ndarray, wanted: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return what is trained on images, and what its loss compares the outputs with."""
        pixels = images.astype(np.float32) / 255
        inputs = self._encoder.predict_on_batch(pixels) if self.spec["codes"] else pixels
        return inputs, wanted_of(self.spec, pixels, wanted)

    def step(self) -> float:
        """Take a step on the batch."""
        return float(self._trained.train_on_batch(self._inputs, self._wanted))

    def epochs(self, times: int, ended: Callable[[], None]) -> None:
        """Train some epochs, each with val at its end; call `ended` after each."""
        train, val = (self._arrays(*part) for part in epoch_of(self.spec))
        call = keras.callbacks.LambdaCallback(on_epoch_end=lambda *_: ended())
        fields = {"batch_size": self.spec["batch_size"], "epochs": times, "verbose": 0}
        self._trained.fit(*train, validation_data=val, callbacks=[call], **fields)

    def load(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Begin with our arrays, by our paths; ValueError unless the network has all of them."""
        own = {
            path_of(layer, weight): weight
            for layer in self.model.layers
            for weight in layer.weights
            if "seed_generator" not in weight.path
        }
        arrays = joined(arrays)
        if differing := own.keys() ^ arrays.keys():
            raise ValueError(f"the networks do not agree on {', '.join(sorted(differing))}")
        for path, weight in own.items():
            array = arrays[path]
            weight.assign(array if array.shape == weight.shape else array.swapaxes(2, 3))
        self._inputs, self._wanted = self._arrays(*batch_of(self.spec))

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
    if spec["loss"] in PIXEL_LOSSES:
        return wanted[..., None].astype(np.float32) if spec["outputs"] == 1 else wanted
    return np.eye(spec["outputs"], dtype=np.float32)[wanted]
