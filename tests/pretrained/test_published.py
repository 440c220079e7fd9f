"""Published ImageNet weights, where there are copies: what they fill, and what they recognise."""

import os
from pathlib import Path

import numpy as np
import pytest
from models.backbones.parity import apply, error, shapes
from PIL import Image

from vocjax.errors import UserError
from vocjax.models.backbones import BACKBONES, SOURCES
from vocjax.models.backbones.preprocessing import apply as preprocess
from vocjax.pretrained.formats import read
from vocjax.pretrained.matching import detect, fill, flatten, match

FOLDER = Path(os.environ.get("VOCJAX_DEVKITS", "nowhere"))
WEIGHTS, DEVKIT = FOLDER / "weights", FOLDER / "VOCdevkit/VOC2009"
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not WEIGHTS.is_dir(),
        reason="set VOCJAX_DEVKITS to a folder that holds weights/ and VOCdevkit/VOC2009",
    ),
]
SQUEEZENET, TINY = "squeezenet1.1_gluon_full_oihw.npz", "tiny_darknet.weights"
CATS = {"tabby", "tiger cat", "Persian cat", "Siamese cat", "Egyptian cat"}


def load(backbone, file, skip=()):
    """(network, its variables as far as the file has them, match, source) of a published file."""
    arrays, sources = read(WEIGHTS / file), SOURCES[backbone]
    networks = {name: BACKBONES[backbone](**source.fields) for name, source in sources.items()}
    key_maps = {name: source.key_map(networks[name]) for name, source in sources.items()}
    name = detect(arrays, key_maps)
    abstract = shapes(networks[name], (224, 224, 3))
    wanted = {path: leaf.shape for path, leaf in flatten(abstract).items()}
    found = match(arrays, key_maps[name], wanted, skip)
    return networks[name], fill(abstract, found.arrays), found, name


@pytest.mark.parametrize(
    ("backbone", "file", "skip", "source", "numbers"),
    [
        ("squeezenet", SQUEEZENET, "", "gluon", 1_235_496),
        ("tiny_darknet", TINY, "", "darknet", 1_046_488),
        ("mobilenet_v2", "mobilenetv2_1.0_gluon_trunk_oihw.npz", "head", "gluon", 2_259_136),
        (
            "mobilenet",
            "mobilenetv1_1.0_keras_no_pw13_hwio.npz",
            "backbone/block13/pointwise/conv",
            "keras",
            3_205_288,
        ),
        (
            "resnet50",
            "resnet50v1_caffe_conv1-conv4_hwio.npz",
            "backbone/conv5|head",
            "caffe",
            8_589_184,
        ),
    ],
)
def test_the_whole_file_is_taken(backbone, file, skip, source, numbers):
    *_, found, name = load(backbone, file, [skip] if skip else [])
    assert name == source
    assert sum(array.size for array in found.arrays.values()) == numbers
    assert not found.ignored
    if skip:
        with pytest.raises(UserError, match=f"{len(found.skipped)} missing") as caught:
            load(backbone, file)
        assert str(caught.value).endswith(f": {skip}")


def test_squeezenet_meets_its_reference():
    network, variables, *_ = load("squeezenet", SQUEEZENET)
    with np.load(WEIGHTS / "squeezenet1.1_reference.npz") as reference:
        images, expected = reference["input_nchw"].transpose(0, 2, 3, 1), reference["output"]
    assert error(apply(network, variables, images), expected) < 1e-5


def photographs(name):
    lines = (DEVKIT / f"ImageSets/Main/{name}_val.txt").read_text().splitlines()
    ids = [line.split()[0] for line in lines if line.split()[1] == "1"][:20]
    files = [Image.open(DEVKIT / f"JPEGImages/{i}.jpg").convert("RGB") for i in ids]
    return np.stack([np.asarray(f.resize((224, 224)), np.float32) / 255 for f in files])


@pytest.mark.parametrize(("backbone", "file"), [("squeezenet", SQUEEZENET), ("tiny_darknet", TINY)])
def test_cats_are_seen_in_photographs_of_cats(backbone, file):
    network, variables, _, name = load(backbone, file)
    labels = (WEIGHTS / "tiny_darknet_labels.txt").read_text().splitlines()
    darknets = {i for i, label in enumerate(labels) if label in CATS}
    cats = darknets if backbone == "tiny_darknet" else range(281, 286)

    def seen(photos):
        images = preprocess(SOURCES[backbone][name].preprocessing, photos)
        return np.isin(apply(network, variables, images).argmax(axis=1), list(cats)).mean()

    assert seen(photographs("cat")) > 0.3  # of 1000 classes
    assert seen(photographs("dog")) < 0.1
