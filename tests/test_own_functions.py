"""A network and a loss of one's own, which a config names as `module:function`."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

import vocjax
from vocjax.errors import UserError
from vocjax.evaluate import evaluate
from vocjax.predict import predict
from vocjax.runs.reader import read_config
from vocjax.tasks import make_task
from vocjax.training.loop import train_and_evaluate
from vocjax.training.validate import validate

MINE = """
import flax.linen as nn
import jax.numpy as jnp


class Autoencoder(nn.Module):
    size: int

    def setup(self):
        self.inner, self.outer = nn.Dense(2), nn.Dense(3 * self.size**2)

    def __call__(self, images, *, train=False, valid=None):
        code = self.encode(images)
        return self.decode(code), code

    def encode(self, images):
        return self.inner(images.reshape(len(images), -1))

    def decode(self, code):
        return nn.sigmoid(self.outer(code)).reshape(-1, self.size, self.size, 3)


class Classifier(nn.Module):
    classes: int

    def setup(self):
        self.encoder, self.head = nn.Conv(2, (4, 4), (4, 4)), nn.Dense(self.classes)

    def __call__(self, images, code=None, *, train=False, valid=None):
        code = self.encoder(images) if code is None else code
        return self.classify(code), code

    def encode(self, images):
        return self.encoder(images)

    def classify(self, code):
        return self.head(code.mean(axis=(1, 2)))


class Segmenter(nn.Module):
    outputs: int

    @nn.compact
    def __call__(self, images, *, train=False, valid=None):
        return nn.Conv(self.outputs, (1, 1))(images), images


def autoencoder(config, outputs):
    return Autoencoder(config.data.size)


def classifier(config, outputs):
    return Classifier(outputs)


def segmenter(config, outputs):
    return Segmenter(outputs)




def doubled(prediction, target, *, factor=2.0):
    return factor * jnp.square(prediction - target).mean(axis=(1, 2, 3))
"""
MODELS = {
    "autoencoder_256": ("mine:autoencoder", "image"),
    "classifier_256": ("mine:classifier", "logits"),
    "segmentation_dice": ("mine:segmenter", "logits"),
}


@pytest.fixture(scope="module", autouse=True)
def mine(tmp_path_factory):
    """The module `mine` can be imported."""
    folder = tmp_path_factory.mktemp("mine")
    (folder / "mine.py").write_text(MINE)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(folder)
        yield


@pytest.mark.parametrize("name", MODELS)
def test_a_network_of_ones_own_trains_is_loaded_evaluated_and_predicted_with(
    name, tiny_config, tmp_path
):
    model, output = MODELS[name]
    run, photo = tmp_path / "run", tmp_path / "photo.png"
    results = train_and_evaluate(tiny_config(name, **{"model.name": model, "data.size": 8}), run)
    assert results["step"] == 2 * 2
    assert evaluate(run)["metrics"] == pytest.approx(results["val"], rel=1e-5)

    loaded = vocjax.load(run)
    channels = loaded.config.data.channels
    images = np.random.default_rng(0).random((3, 8, 8, channels), np.float32)
    task = make_task(read_config(run))
    batch = {"image": jnp.asarray(images), "valid": jnp.ones(3)}
    expected, _ = task.apply(loaded.variables, batch, False, jax.random.key(0))
    np.testing.assert_allclose(loaded.outputs(images)[output], expected[output], rtol=1e-5)

    Image.new("RGB", (20, 30), (200, 60, 60)).save(photo)
    assert predict(run, [photo], tmp_path / "said").images == [photo]
    assert (tmp_path / "said" / "photo.png").is_file()


def test_a_loss_of_ones_own_trains(quick_run, tmp_path):
    results = quick_run(tmp_path, **{"loss.name": "mine:doubled + 0.5 mse"})
    for split in ("train", "val"):
        assert results[split]["loss"] == pytest.approx(2.5 * results[split]["mse"], rel=1e-5)


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("model.name", "none_such:network", "none_such cannot be imported"),
        ("model.name", "mine:none_such", "has no function none_such"),
        ("loss.name", "none_such:loss", "none_such cannot be imported"),
        ("loss.name", "mine:none_such", "has no function none_such"),
        ("loss.name", ":loss", "a function of yours is named as module:function"),
    ],
)
def test_what_cannot_be_imported_is_named(field, value, message, tiny_config):
    with pytest.raises(UserError, match=message):
        validate(tiny_config("autoencoder_256", **{field: value}))
