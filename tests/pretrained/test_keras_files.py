"""Keras's files of all its versions give the same arrays by the same names."""

import h5py
import keras
import numpy as np
import pytest
from drawn_weights import same

from vocjax.errors import UserError
from vocjax.pretrained.formats import read


def model():
    """Layers of every kind that the backbones have, named and unnamed, none of them at 0."""
    layers = keras.layers
    images = keras.Input((8, 8, 3))
    x = layers.Conv2D(4, 3, name="conv1")(images)
    x = layers.BatchNormalization(name="bn")(x)
    x = layers.DepthwiseConv2D(3, use_bias=False, name="dw")(x)
    x = layers.SeparableConv2D(5, 3, use_bias=False, name="sep")(x)
    for _ in range(2):
        x = layers.BatchNormalization(scale=False)(layers.Conv2D(2, 1)(x))
    x = layers.Dropout(0.5)(layers.GlobalAveragePooling2D()(x))
    made = keras.Model(images, layers.Dense(2, name="predictions")(x))
    rng = np.random.default_rng(0)
    for weight in made.weights:
        weight.assign(rng.standard_normal(weight.shape, np.float32))
    return made


@pytest.fixture(scope="module")
def network():
    """The second model of a process, and its weights as tables of names have them."""
    keras.backend.clear_session()
    model()
    made = model()
    assert made.layers[5].name == "conv2d_2"
    first_model = {"conv2d_2": "conv2d", "conv2d_3": "conv2d_1"}
    first_model |= {"batch_normalization_2": "batch_normalization"}
    first_model |= {"batch_normalization_3": "batch_normalization_1"}
    arrays = {
        f"{first_model.get(layer.name, layer.name)}/{weight.name}": np.asarray(weight)
        for layer in made.layers
        for weight in layer.weights
    }
    arrays["dw/depthwise_kernel"] = arrays.pop("dw/kernel")
    return made, arrays


# NumPy's, about how Keras copies a variable.
@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
@pytest.mark.parametrize("name", ["a.weights.h5", "a.h5", "a.keras"])
def test_what_keras_3_writes(tmp_path, network, name):
    made, arrays = network
    (made.save_weights if "weights" in name else made.save)(tmp_path / name)
    same(read(tmp_path / name), arrays)


class Subclassed(keras.Model):
    """A network that is an attribute of another one."""

    def __init__(self, network):
        super().__init__()
        self.first, self.own = network, keras.layers.Dense(3, name="own")

    def call(self, images):
        return self.own(self.first(images))

    def get_config(self):
        return {}


def functional(network):
    images = keras.Input((8, 8, 3))
    x = network(keras.layers.Normalization(name="norm")(images))
    return keras.Model(images, keras.layers.Dense(3, name="own")(keras.layers.Dropout(0.5)(x)))


def sequential(network):
    return keras.Sequential([network, keras.layers.Dense(3, name="own")])


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
@pytest.mark.parametrize("outer", [functional, sequential, Subclassed])
@pytest.mark.parametrize("name", ["a.weights.h5", "a.h5", "a.keras"])
def test_a_network_that_is_a_layer_of_another(tmp_path, network, name, outer):
    made, arrays = network
    whole = outer(made)
    whole(np.zeros((1, 8, 8, 3)))
    (whole.save_weights if "weights" in name else whole.save)(tmp_path / name)
    found = read(tmp_path / name)
    inner = {key: array for key, array in found.items() if key.startswith(f"{made.name}/")}
    same(inner, {f"{made.name}/{key}": array for key, array in arrays.items()})
    assert {key.split("/")[0] for key in found if key not in inner} <= {"own", "norm"}


def write_older(path, arrays, rename, cut=False):
    """Keras 1 and 2: layers listed at the root or, where that is long, in parts."""
    with h5py.File(path, "w") as file:
        layers = {name.split("/")[0]: {} for name in arrays}
        for name, array in arrays.items():
            layer, weight = name.split("/")
            layers[layer][rename(layer, weight)] = array
        names = [layer.encode() for layer in (*layers, "dropout")]
        parts = {"layer_names0": names[:2], "layer_names1": names[2:]}
        file.attrs.update(parts if cut else {"layer_names": names})
        for layer, weights in layers.items():
            group = file.create_group(layer)
            group.attrs["weight_names"] = [weight.encode() for weight in weights]
            for weight, array in weights.items():
                group[weight] = array
        file.create_group("dropout").attrs["weight_names"] = np.zeros(0)


def test_what_keras_2_wrote(tmp_path, network):
    _, arrays = network
    # Then the first layer had the number 1.
    older = {name.replace("conv2d/", "conv2d_7/"): array for name, array in arrays.items()}
    older = {name.replace("conv2d_1/", "conv2d_10/"): array for name, array in older.items()}
    write_older(tmp_path / "a.h5", older, lambda layer, weight: f"{layer}_1/{weight}:0", cut=True)
    same(read(tmp_path / "a.h5"), arrays)


def test_what_keras_1_wrote(tmp_path, network):
    said = {"kernel": "W", "bias": "b"}
    said |= {"moving_mean": "running_mean", "moving_variance": "running_std"}

    def rename(layer, weight):
        end = "_1" if layer == "conv1" else ""
        return f"{layer}_{said.get(weight, weight)}{end}:0"

    _, arrays = network
    # Then unnamed layers had names without underscores.
    older = {name.replace("conv2d", "convolution2d"): array for name, array in arrays.items()}
    older = {
        name.replace("batch_normalization", "batchnormalization"): array
        for name, array in older.items()
    }
    write_older(tmp_path / "a.h5", older, rename)
    same(read(tmp_path / "a.h5"), arrays)


@pytest.mark.parametrize(
    ("datasets", "weights", "words"),
    [
        (["inner/a/k", "inner/b/k"], ["a/k", "a/k"], "two weights of the same name"),
        (["layers/conv2d/vars/0"], None, "'conv2d' has no name.*newer one"),
        (["numbers"], None, "has no layer_names, as the files of Keras"),
    ],
    ids=["the same name", "no names", "another program's"],
)
def test_files_of_other_models_and_programs_are_refused(datasets, weights, words, tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        for dataset in datasets:
            file[dataset] = np.zeros((1, 1, 2, 2))
        if weights:
            file.attrs["layer_names"] = ["inner"]
            file["inner"].attrs["weight_names"] = weights
    with pytest.raises(UserError, match=words):
        read(tmp_path / "a.h5")
