"""Imported weights and runs go out under the names of others, where the network is the same."""

from pathlib import Path

import numpy as np
import pytest
from drawn_weights import CLASSES, drawn, imported, same, write_run
from flax.traverse_util import unflatten_dict

from vocjax.config import base_config, load_config, to_json, with_backbone
from vocjax.errors import UserError
from vocjax.models.backbones.preprocessing import CAFFE, IDENTITY, TORCHVISION
from vocjax.pretrained import export
from vocjax.pretrained.export import export_weights
from vocjax.pretrained.formats import read
from vocjax.pretrained.matching import flatten
from vocjax.pretrained.store import import_weights
from vocjax.runs.restore import Trained

CONFIGS = Path(__file__).parents[2] / "configs"
CONV1 = {"conv1/conv/kernel": np.arange(54, dtype=np.float32).reshape(3, 3, 3, 2)}


def test_names_can_be_exchanged_where_the_network_is_the_same(squeezenet, tmp_path):
    out = tmp_path / "out.npz"
    assert export_weights(squeezenet, out, "torchvision").family == "torchvision"
    assert "features.3.squeeze.weight" in read(out)
    again = import_weights("squeezenet", out, tmp_path / "again", classes=CLASSES)
    assert again.family == "torchvision"
    same(again.arrays, drawn("squeezenet", "gluon")[0])
    with pytest.raises(UserError, match=r"out\.npz exists; remove it, or name another file"):
        export_weights(squeezenet, out)


def test_names_of_another_network_are_refused(tmp_path):
    weights = imported(tmp_path / "w", "mobilenet_v2", "keras")
    for other in ("torchvision", "gluon"):
        words = f"has variant 'keras', and under the names of {other} .* that fit: keras\\."
        with pytest.raises(UserError, match=words):
            export_weights(weights, tmp_path / "b.npz", other)
    assert not (tmp_path / "b.npz").exists()


@pytest.fixture
def run_of(tmp_path, monkeypatch):
    """`run_of(backbone, arrays, **fields of model.backbone)` is a run with such parameters."""

    def make(name, arrays=CONV1, **fields):
        config = base_config()
        config.model.name = "classifier"
        if name:
            with_backbone(config, name).model.backbone.update(fields)
        (tmp_path / "run").mkdir(exist_ok=True)
        (tmp_path / "run/config.json").write_text(to_json(config))
        paths = {("encoder", "backbone", *path.split("/")): arrays[path] for path in arrays}
        params = unflatten_dict(paths | {("dense", "kernel"): np.ones((2, 2), np.float32)})
        trained = Trained(config, None, {"params": params, "batch_stats": {}}, 1)
        monkeypatch.setattr(export, "load_run", lambda workdir, mesh: trained)
        return tmp_path / "run"

    return make


def test_a_runs_backbone_goes_out_and_comes_back(tmp_path):
    config = with_backbone(load_config(CONFIGS / "classifier_256.py"), "mobilenet_v2")
    config.model.backbone.update({"last": "block1", "fields": (("variant", "keras"),)})
    variables = write_run(tmp_path / "run", config)
    made = export_weights(tmp_path / "run", tmp_path / "out.npz")
    assert (made.backbone, made.family, made.preprocessing) == ("mobilenet_v2", "keras", IDENTITY)
    skip = [r"backbone/block([2-9]|1\d)", "backbone/conv2", "head"]
    again = import_weights("mobilenet_v2", tmp_path / "out.npz", tmp_path / "again", skip=skip)
    ours = {path: array for path, array in flatten(variables).items() if path.startswith("encoder")}
    assert len(ours) == 15
    same({f"encoder/{path}": array for path, array in again.arrays.items()}, ours)


def test_a_run_that_ends_at_a_stage(run_of, tmp_path):
    ours, _ = drawn("squeezenet", "gluon")
    params = {
        path.removeprefix("backbone/"): array
        for path, array in ours.items()
        if path.startswith(("backbone/conv1", "backbone/fire2"))
    }
    export_weights(run_of("squeezenet", params, last="fire2"), tmp_path / "out.npz", "gluon")
    skip = ["backbone/fire[3-9]", "head"]
    again = import_weights("squeezenet", tmp_path / "out.npz", tmp_path / "again", skip=skip)
    same(again.arrays, {f"backbone/{path}": array for path, array in params.items()})


@pytest.mark.parametrize(
    ("backbone", "fields", "preprocessing", "family"),
    [
        ("vgg16", (), TORCHVISION, "torchvision"),
        ("vgg16", (), CAFFE, "keras"),
        ("vgg16", (), IDENTITY, "torchvision"),
        ("resnet50", (), IDENTITY, "torchvision"),
        ("resnet50", (("variant", "keras"),), IDENTITY, "keras"),
        ("resnet50", (("variant", "caffe"),), TORCHVISION, "caffe"),
    ],
)
def test_a_run_takes_the_family_that_is_like_it(
    backbone, fields, preprocessing, family, run_of, tmp_path
):
    arrays = {"conv1/conv1/kernel": CONV1["conv1/conv/kernel"]} if backbone == "vgg16" else CONV1
    run = run_of(backbone, arrays, fields=fields, preprocessing=preprocessing._asdict())
    made = export_weights(run, tmp_path / "out.npz")
    assert (made.family, made.preprocessing) == (family, preprocessing)
    assert len(read(tmp_path / "out.npz")) == 1


def test_what_cannot_be_exported(run_of, tmp_path):
    out = tmp_path / "out.npz"
    usual = run_of("darknet19", fields=(("norm", "usual"),))
    with pytest.raises(UserError, match=r"norm 'usual', and .* names of darknet .*: none, so that"):
        export_weights(usual, out)
    with pytest.raises(UserError, match=r"run is a run without a backbone \(model.name is 'class"):
        export_weights(run_of(""), out)
    with pytest.raises(UserError, match=r"has neither imported weights .* nor a run"):
        export_weights(tmp_path, out)
    with pytest.raises(
        UserError, match=r"--family of resnet18 is 'caffe'; it is one of torchvision"
    ):
        export_weights(run_of("resnet18"), out, "caffe")
    assert not out.exists()
