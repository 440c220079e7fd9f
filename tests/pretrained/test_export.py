"""Imported weights and runs go out under the names of others, where the network is the same."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from drawn_weights import CLASSES, drawn, same
from flax.traverse_util import unflatten_dict

from vocjax.config import base_config, load_config, to_json, with_backbone
from vocjax.errors import UserError
from vocjax.models.backbones.preprocessing import CAFFE, IDENTITY, TORCHVISION
from vocjax.pretrained import export
from vocjax.pretrained.export import export_weights
from vocjax.pretrained.formats import read, write
from vocjax.pretrained.matching import flatten
from vocjax.pretrained.store import import_weights
from vocjax.runs.checkpoints import Checkpoints
from vocjax.runs.restore import Restored
from vocjax.tasks import make_task

CONFIGS = Path(__file__).parents[2] / "configs"
CONV1 = {"conv1/conv/kernel": np.arange(54, dtype=np.float32).reshape(3, 3, 3, 2)}


def test_names_can_be_exchanged_where_the_network_is_the_same(tmp_path):
    ours, theirs = drawn("squeezenet", "gluon")
    write(tmp_path / "in.npz", theirs)
    import_weights("squeezenet", tmp_path / "in.npz", tmp_path / "w", classes=CLASSES)
    out = tmp_path / "out.npz"
    assert export_weights(tmp_path / "w", out, "torchvision").source == "torchvision"
    assert "features.3.squeeze.weight" in read(out)
    again = import_weights("squeezenet", out, tmp_path / "again", classes=CLASSES)
    assert again.source == "torchvision"
    same(again.arrays, ours)
    with pytest.raises(UserError, match=r"out\.npz exists; remove it, or name another file"):
        export_weights(tmp_path / "w", out)


def test_names_of_another_network_are_refused(tmp_path):
    write(tmp_path / "a.npz", drawn("mobilenet_v2", "keras")[1])
    import_weights("mobilenet_v2", tmp_path / "a.npz", tmp_path / "w", classes=CLASSES)
    for other in ("torchvision", "gluon"):
        words = f"has variant 'keras', and under the names of {other} .* that fit: keras\\."
        with pytest.raises(UserError, match=words):
            export_weights(tmp_path / "w", tmp_path / "b.npz", other)
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
        trained = Restored(config, None, {"params": params, "batch_stats": {}}, 1)
        monkeypatch.setattr(export, "load_run", lambda workdir, mesh: trained)
        return tmp_path / "run"

    return make


def test_a_runs_backbone_goes_out_and_comes_back(tmp_path):
    config = with_backbone(load_config(CONFIGS / "classifier_256.py"), "mobilenet_v2")
    config.model.backbone.update({"last": "block1", "fields": (("variant", "keras"),)})
    leaves, rng = (
        jax.eval_shape(make_task(config).init, jax.random.key(0)),
        np.random.default_rng(0),
    )
    variables = jax.tree.map(lambda leaf: jnp.asarray(rng.random(leaf.shape, np.float32)), leaves)
    (tmp_path / "run").mkdir()
    (tmp_path / "run/config.json").write_text(to_json(config))
    with Checkpoints(tmp_path / "run", config) as checkpoints:
        checkpoints.save(1, variables)

    told = export_weights(tmp_path / "run", tmp_path / "out.npz")
    assert (told.backbone, told.source, told.preprocessing) == ("mobilenet_v2", "keras", IDENTITY)
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
    ("backbone", "fields", "preprocessing", "source"),
    [
        ("vgg16", (), TORCHVISION, "torchvision"),
        ("vgg16", (), CAFFE, "keras"),
        ("vgg16", (), IDENTITY, "torchvision"),
        ("resnet50", (), IDENTITY, "torchvision"),
        ("resnet50", (("variant", "keras"),), IDENTITY, "keras"),
        ("resnet50", (("variant", "caffe"),), TORCHVISION, "caffe"),
    ],
)
def test_a_run_takes_the_source_that_is_like_it(
    backbone, fields, preprocessing, source, run_of, tmp_path
):
    arrays = {"conv1/conv1/kernel": CONV1["conv1/conv/kernel"]} if backbone == "vgg16" else CONV1
    run = run_of(backbone, arrays, fields=fields, preprocessing=preprocessing._asdict())
    told = export_weights(run, tmp_path / "out.npz")
    assert (told.source, told.preprocessing) == (source, preprocessing)
    assert len(read(tmp_path / "out.npz")) == 1


def test_what_cannot_be_exported(run_of, tmp_path):
    out = tmp_path / "out.npz"
    usual = run_of("darknet19", fields=(("norm", "usual"),))
    with pytest.raises(UserError, match=r"norm 'usual', and .* names of darknet .*: none, so that"):
        export_weights(usual, out)
    with pytest.raises(UserError, match=r"run is a run without a backbone \(model.name is 'class"):
        export_weights(run_of(""), out)
    with pytest.raises(UserError, match=r"holds neither imported weights .* nor a run"):
        export_weights(tmp_path, out)
    with pytest.raises(UserError, match=r"no source of weights 'caffe'; it is one of torchvision"):
        export_weights(run_of("resnet18"), out, "caffe")
    assert not out.exists()
