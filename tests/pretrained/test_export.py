"""Imported weights and runs go out under the names of others, where the network is the same."""

from pathlib import Path

import pytest
from drawn_weights import CLASSES, drawn, same, write_run

from vocjax.config import load_config, with_backbone
from vocjax.errors import UserError
from vocjax.models.backbones import BACKBONES
from vocjax.models.backbones.preprocessing import CAFFE, IDENTITY, TORCHVISION
from vocjax.pretrained.export import Weights, export_weights, fitting_source
from vocjax.pretrained.formats import read
from vocjax.pretrained.matching import flatten
from vocjax.pretrained.store import import_weights

CONFIGS = Path(__file__).parents[2] / "configs"


def test_names_can_be_exchanged_where_the_network_is_the_same(squeezenet, tmp_path):
    out = tmp_path / "out.npz"
    assert export_weights(squeezenet, out, "torchvision").source == "torchvision"
    assert "features.3.squeeze.weight" in read(out)
    again = import_weights("squeezenet", out, tmp_path / "again", classes=CLASSES)
    assert again.source == "torchvision"
    same(again.arrays, drawn("squeezenet", "gluon")[0])
    with pytest.raises(UserError, match=r"out\.npz exists; remove it, or name another file"):
        export_weights(squeezenet, out)


def test_a_runs_backbone_goes_out_and_comes_back(tmp_path):
    config = with_backbone(load_config(CONFIGS / "classifier_256.py"), "mobilenet_v2")
    config.model.backbone.update({"last": "block1", "fields": (("variant", "keras"),)})
    variables = write_run(tmp_path / "run", config)
    made = export_weights(tmp_path / "run", tmp_path / "out.npz")
    assert (made.backbone, made.source, made.preprocessing) == ("mobilenet_v2", "keras", IDENTITY)
    skip = [r"backbone/block([2-9]|1\d)", "backbone/conv2", "head"]
    again = import_weights("mobilenet_v2", tmp_path / "out.npz", tmp_path / "again", skip=skip)
    ours = {path: array for path, array in flatten(variables).items() if path.startswith("encoder")}
    assert len(ours) == 15
    same({f"encoder/{path}": array for path, array in again.arrays.items()}, ours)


@pytest.mark.parametrize(
    ("backbone", "fields", "preprocessing", "source"),
    [
        ("vgg16", {}, TORCHVISION, "torchvision"),
        ("vgg16", {}, CAFFE, "keras"),
        ("vgg16", {}, IDENTITY, "torchvision"),
        ("resnet50", {}, IDENTITY, "torchvision"),
        ("resnet50", {"variant": "keras"}, IDENTITY, "keras"),
        ("resnet50", {"variant": "caffe"}, TORCHVISION, "caffe"),
    ],
)
def test_a_run_takes_the_source_that_is_like_it(backbone, fields, preprocessing, source):
    weights = Weights(backbone, fields, "", preprocessing, {})
    assert fitting_source(weights, BACKBONES[backbone](**fields)) == source


@pytest.mark.parametrize(
    ("backbone", "fields", "source", "words"),
    [
        (
            "mobilenet_v2",
            {"variant": "keras"},
            "gluon",
            r"'keras', and .* of gluon .* fit: keras\.",
        ),
        ("darknet19", {"norm": "usual"}, "", r"norm 'usual', and .* of darknet .*: none, so that"),
        ("resnet18", {}, "caffe", r"--source of resnet18 is 'caffe'; it is one of torchvision"),
    ],
)
def test_names_of_another_network_are_refused(backbone, fields, source, words):
    weights = Weights(backbone, fields, "", IDENTITY, {})
    with pytest.raises(UserError, match=words):
        fitting_source(weights, BACKBONES[backbone](**fields), source)
