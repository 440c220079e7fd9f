"""Published ImageNet weights, where there are copies: what they fill, and what they recognise."""

import os
import shlex
from pathlib import Path

import numpy as np
import pytest
from models.backbones.parity import apply, error, shapes
from PIL import Image

from vocjax.errors import UserError
from vocjax.models.backbones import BACKBONES
from vocjax.pretrained.classify import classifier_of
from vocjax.pretrained.matching import fill
from vocjax.pretrained.store import IMAGE, import_weights

FOLDER = Path(os.environ.get("VOCJAX_DEVKITS", "nowhere"))
WEIGHTS, DEVKIT = FOLDER / "weights", FOLDER / "VOCdevkit/VOC2009"
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not WEIGHTS.is_dir(),
        reason="set VOCJAX_DEVKITS to a folder that holds weights/ and VOCdevkit/VOC2009",
    ),
]
MOBILENET = "mobilenetv1_1.0_keras_no_pw13_hwio.npz"
RESNET = "resnet50v1_caffe_conv1-conv4_hwio.npz"
SQUEEZENET, TINY = "squeezenet1.1_gluon_full_oihw.npz", "tiny_darknet.weights"
CATS = {"tabby", "tiger cat", "Persian cat", "Siamese cat", "Egyptian cat"}


@pytest.mark.parametrize(
    ("backbone", "file", "skip", "source", "numbers"),
    [
        ("squeezenet", SQUEEZENET, "", "gluon", 1_235_496),
        ("tiny_darknet", TINY, "", "darknet", 1_046_488),
        ("mobilenet_v2", "mobilenetv2_1.0_gluon_trunk_oihw.npz", "head", "gluon", 2_259_136),
        ("mobilenet", MOBILENET, "backbone/block13/pointwise/conv", "keras", 3_205_288),
        ("resnet50", RESNET, "backbone/conv5|head", "caffe", 8_589_184),
    ],
)
def test_the_whole_file_is_taken(backbone, file, skip, source, numbers, tmp_path):
    facts = backbone, WEIGHTS / file, tmp_path / "out"
    made = import_weights(*facts, skip=[skip] if skip else [])
    assert (made.source, made.parameters, made.ignored) == (source, numbers, [])
    if skip:
        with pytest.raises(UserError, match=f"{len(made.skipped)} missing") as caught:
            import_weights(*facts)
        assert str(caught.value).endswith(f"skip that part: --skip {shlex.quote(skip)}")


def test_squeezenet_meets_its_reference(tmp_path):
    made = import_weights("squeezenet", WEIGHTS / SQUEEZENET, tmp_path / "out")
    network = BACKBONES["squeezenet"]()
    with np.load(WEIGHTS / "squeezenet1.1_reference.npz") as reference:
        images, expected = reference["input_nchw"].transpose(0, 2, 3, 1), reference["output"]
    variables = fill(shapes(network, IMAGE), made.arrays)
    assert error(apply(network, variables, images), expected) < 1e-5


def photographs(name):
    lines = (DEVKIT / f"ImageSets/Main/{name}_val.txt").read_text().splitlines()
    ids = [line.split()[0] for line in lines if line.split()[1] == "1"][:20]
    files = [Image.open(DEVKIT / f"JPEGImages/{i}.jpg").convert("RGB") for i in ids]
    return np.stack([np.asarray(f.resize((224, 224)), np.float32) / 255 for f in files])


@pytest.mark.parametrize(("backbone", "file"), [("squeezenet", SQUEEZENET), ("tiny_darknet", TINY)])
def test_cats_are_seen_in_photographs_of_cats(backbone, file, tmp_path):
    import_weights(backbone, WEIGHTS / file, tmp_path / "out")
    classify = classifier_of(tmp_path / "out")
    labels = (WEIGHTS / "tiny_darknet_labels.txt").read_text().splitlines()
    darknets = [i for i, label in enumerate(labels) if label in CATS]
    cats = darknets if backbone == "tiny_darknet" else range(281, 286)

    def seen(photos):
        return np.isin(classify(photos).argmax(axis=1), cats).mean()

    assert seen(photographs("cat")) > 0.3  # of 1000 classes
    assert seen(photographs("dog")) < 0.1
