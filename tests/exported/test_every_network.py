"""Every shipped config and every backbone, small, as StableHLO and as ONNX; slow."""

import importlib
import sys
from pathlib import Path

import jax
import numpy as np
import pytest
from flax import linen as nn
from models.random_values import draw_variables

import vocjax
from vocjax.errors import UserError
from vocjax.exported.export import check_equal, export
from vocjax.exported.formats import FORMATS, Content
from vocjax.exported.function import facts_of, function_of
from vocjax.models.backbones import BACKBONES
from vocjax.models.backbones.blocks import Conv
from vocjax.models.fields import image_shape
from vocjax.tasks import make_task
from vocjax.training.loop import train_and_evaluate

CONFIGS = Path(__file__).parents[2] / "configs"
pytestmark = pytest.mark.slow
formats = pytest.mark.parametrize("name", ["stablehlo", "onnx"])


def write_and_compare(content, name, folder):
    path = folder / FORMATS[name].file
    FORMATS[name].write(path, content)
    check_equal(FORMATS[name].read(path), content, name)


def places(leaf):
    """Places are all 0 before a fit, which chooses different ones."""
    return np.arange(leaf.size, dtype=leaf.dtype) if leaf.dtype.kind == "i" else leaf


@formats
@pytest.mark.parametrize("config", sorted(path.stem for path in CONFIGS.glob("*.py")))
def test_every_config_is_exported(config, name, tiny_config, tmp_path):
    config = tiny_config(config)
    if config.model.get("output_stride", 0) > 4:  # of a shrunk encoder, whose stride is 4
        config.model.output_stride = 4
    task = make_task(config)
    variables = jax.tree.map(places, jax.device_get(task.init(jax.random.key(0))))
    function = function_of(config, task, variables, {})
    images = jax.ShapeDtypeStruct((1, *image_shape(config)), np.uint8)
    facts = facts_of(config, "uint8", jax.eval_shape(function, images), {})
    write_and_compare(Content(function, variables, facts), name, tmp_path)


@formats
@pytest.mark.parametrize("backbone", BACKBONES)
def test_every_backbone_is_exported(backbone, name, tmp_path, monkeypatch):
    def narrow(conv):
        conv.features = -(-conv.features // 16)
        nn.Module.__post_init__(conv)

    monkeypatch.setattr(Conv, "__post_init__", narrow)
    network = BACKBONES[backbone]().backbone
    size = 75 if backbone == "inception_v3" else 64
    variables = draw_variables(network, np.zeros((1, size, size, 3), np.float32))

    def function(images):
        return {"map": network.apply(variables, images)}

    facts = {"input": {"shape": ["batch", size, size, 3], "dtype": "float32"}}
    write_and_compare(Content(function, variables, facts), name, tmp_path)


def test_onnx_computes_in_float32_what_was_trained_in_bfloat16(tiny_config, toy_dir, tmp_path):
    config = tiny_config("linear_autoencoder", precision="bfloat16")
    train_and_evaluate(config, tmp_path / "run")
    facts = export(tmp_path / "run", tmp_path / "out", "onnx")
    assert facts["config"]["precision"] == "float32"
    photo = np.random.default_rng(0).integers(0, 256, (20, 30, 3), np.uint8)
    one, other = (vocjax.load(tmp_path / n).predict([photo])[0] for n in ("run", "out"))
    assert one == pytest.approx(other, abs=0.02)


MINE = """
from flax import linen as nn


class Flat(nn.Module):
    outputs: int

    @nn.compact
    def __call__(self, images, *, train=False, valid=None):
        code = images.reshape(images.shape[0], -1)
        wide = nn.Dense(16 * 16 * self.outputs)(nn.Dense(2)(code))
        return wide.reshape(-1, 16, 16, self.outputs), code


def network(config, outputs):
    return Flat(outputs)
"""


def test_a_network_of_ones_own_is_exported_or_says_what_it_lacks(
    tiny_config, tmp_path, monkeypatch
):
    (tmp_path / "mine_to_export.py").write_text(MINE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    config = tiny_config("segmentation_dice", epochs=1)
    target = config.model.target
    with config.unlocked():
        config.model = {"name": "mine_to_export:network", "target": target}
    train_and_evaluate(config, tmp_path / "run")
    export(tmp_path / "run", tmp_path / "out", "onnx")
    photo = np.random.default_rng(0).integers(0, 256, (20, 30, 3), np.uint8)
    one, other = (vocjax.load(tmp_path / n).predict([photo])[0] for n in ("run", "out"))
    assert one == pytest.approx(other, abs=1e-5)
    (tmp_path / "mine_to_export.py").write_text(MINE.replace("images.shape[0]", "len(images)"))
    del sys.modules["mine_to_export"]
    importlib.invalidate_caches()
    with pytest.raises(UserError, match=r"network can't be traced for batches.*images\.shape\[0\]"):
        export(tmp_path / "run", tmp_path / "other", "stablehlo")
    assert not (tmp_path / "other").exists()
