"""What a run begins with: its data, a closed form, a fresh draw or another run's encoder."""

import re
import shutil
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vocjax.data import voc
from vocjax.data.classes import VOC
from vocjax.data.dataset import open_dataset
from vocjax.data.pipeline import resize_image
from vocjax.errors import UserError
from vocjax.mesh import make_mesh
from vocjax.models import build
from vocjax.pretrained.initialise import with_encoder_of
from vocjax.runs.restore import latent_space_of, load_run
from vocjax.tasks import make_task
from vocjax.tasks.reconstruction import codec_of
from vocjax.training.evaluation import make_evaluator, whole_batches
from vocjax.training.loop import train_and_evaluate
from vocjax.training.setup import Setup, fitted, initial_variables, notes
from vocjax.training.step import INIT, draw_key
from vocjax.training.validate import validate


def open_tiny(config):
    return open_dataset(config, voc.load("toy", Path(config.data.data_dir)), make_mesh())


def drawn(config, task=None):
    """The variables that a run begins with."""
    valid, data, mesh = validate(config, task), open_tiny(config), make_mesh()
    evaluator = make_evaluator(valid.task, valid.sums, config.batch_size, mesh)
    setup = Setup(config, Path(), valid, data, (), evaluator, {})
    return fitted(setup, initial_variables(setup), data.splits["train"])[0]


def images_of(config, batch_size):
    batches = list(whole_batches(open_tiny(config).splits["train"], batch_size, make_mesh()))
    return np.concatenate([batch["image"] for batch in batches]), [len(b["image"]) for b in batches]


def equal(a, b):
    same = jax.tree.map(np.array_equal, a, b)
    return all(jax.tree.leaves(same))


def test_splits_are_vocs_own(tiny_config):
    data = open_tiny(tiny_config("segmentation_dice"))
    assert data.counts == {"train": 12, "val": 8}
    assert all(id_.startswith("train_") for id_ in data.splits["train"].ids)
    assert all(id_.startswith("val_") for id_ in data.splits["val"].ids)
    assert {split: labels.shape for split, labels in data.labels.items()} == {
        "train": (12, 20),
        "val": (8, 20),
    }


def test_held_out_images_are_training_images_that_are_not_trained_on(tiny_config):
    config = tiny_config("pca", **{"data.classes": (), "data.held_out": 0.4})
    data = open_tiny(config)
    ids = {split: set(examples.ids) for split, examples in data.splits.items()}
    assert not ids["train"] & ids["val"]
    whole = open_tiny(tiny_config("pca", **{"data.classes": ()}))
    assert ids["train"] | ids["val"] == set(whole.splits["train"].ids)
    assert 0 < len(ids["val"]) < len(ids["train"])
    assert {split: len(labels) for split, labels in data.labels.items()} == data.counts


@pytest.mark.parametrize("storage", ["device", "stream"])
def test_a_split_is_given_once_in_row_order_without_padding(storage, tiny_config):
    config = tiny_config("pca", **{"data.classes": (), "data.storage": storage})
    images, sizes = images_of(config, 5)
    assert sizes == [5, 5, 5, 5, 4]
    assert images.shape == (24, 16, 16, 3)
    assert images.dtype == np.float32
    assert 0 <= images.min() < images.max() <= 1
    at_once, sizes = images_of(config, 24)
    assert sizes == [24]
    np.testing.assert_array_equal(images, at_once)
    prepared = voc.load("toy", Path(config.data.data_dir))
    first = prepared.index.ids.tolist().index(open_tiny(config).splits["train"].ids[0])
    resized = resize_image(prepared.examples[first]["image"], 16, 3)
    np.testing.assert_allclose(images[0], resized / 255, rtol=1e-6)


def test_draw_depends_on_the_seed_alone(tiny_config):
    def draw(**overrides):
        return drawn(tiny_config("autoencoder_256", **overrides))

    first = draw()
    assert equal(first, draw(batch_size=3))
    assert not equal(first, draw(seed=1))


def test_closed_form_is_fitted_to_the_training_images(tiny_config):
    config = tiny_config("pca")
    variables = drawn(config)
    images, _ = images_of(config, 3)
    np.testing.assert_allclose(
        np.ravel(variables["params"]["mean"]), images.mean(axis=0).ravel(), atol=1e-6
    )


def test_a_part_in_closed_form_leaves_the_drawn_rest(tiny_config):
    """The linear autoencoder begins from the mean image; its components are drawn."""
    config = tiny_config("linear_autoencoder")
    begun = drawn(config)["params"]
    plain = make_task(config).init(draw_key(jax.random.key(config.seed), INIT, 0))["params"]
    images, _ = images_of(config, 8)
    np.testing.assert_allclose(begun["mean"], images.mean(axis=0).ravel(), atol=1e-6)
    assert not np.any(plain["mean"])
    assert equal(begun["components"], plain["components"])
    assert equal(begun["encoder"], plain["encoder"])


def started(config):
    """The variables that begin with the encoder of `init_from`, and a fresh draw of them."""
    fresh = make_task(config).init(jax.random.key(0))
    return with_encoder_of(fresh, config, make_mesh()), fresh


def test_classifier_begins_with_the_encoder_of_another_run(finished_run, tiny_config):
    source = finished_run("autoencoder_256")
    begun, fresh = started(tiny_config("classifier_256", init_from=str(source)))
    theirs = load_run(source, make_mesh()).variables["params"]
    assert equal(begun["params"]["encoder"], theirs["encoder"])
    assert not equal(begun["params"]["encoder"], fresh["params"]["encoder"])
    assert begun["params"].keys() == fresh["params"].keys() == {"encoder", "head"}


def test_statistics_come_with_the_encoder(random_config, uninterrupted):
    begun, fresh = started(random_config(**{"model.dropout": 0.0, "init_from": str(uninterrupted)}))
    theirs = load_run(uninterrupted, make_mesh()).variables
    for collection in ("params", "batch_stats"):
        assert equal(begun[collection]["encoder"], theirs[collection]["encoder"])
        assert equal(begun[collection]["decoder"], fresh[collection]["decoder"])


@pytest.mark.parametrize(
    ("name", "source", "overrides", "line"),
    [
        (
            "classifier_256",
            "autoencoder_256",
            {"model.encoder": (4, 4, 6)},
            "ConvBlock_2/Conv_0/kernel: (3, 3, 4, 4) there, (3, 3, 4, 6) here",
        ),
        (
            "classifier_256",
            "autoencoder_256",
            {"model.encoder": (4, 4, 4, 4)},
            "ConvBlock_3/Conv_0/bias: absent there, (4,) here",
        ),
        (
            "autoencoder_256",
            "segmentation_dice",
            {},
            "kernel: (3, 3, 1, 4) there, (3, 3, 3, 4) here",
        ),
        ("classifier_256", "pca", {}, "Conv_0/kernel: absent there, (3, 3, 3, 4) here"),
    ],
)
def test_another_encoder_is_refused_with_what_differs(
    name, source, overrides, line, finished_run, tiny_config
):
    config = tiny_config(name, init_from=str(finished_run(source)), **overrides)
    with pytest.raises(UserError, match="does not fit this config's") as refused:
        started(config)
    assert line in str(refused.value)


def test_an_encoder_that_is_refused_leaves_no_run(finished_run, tiny_config, bare, tmp_path):
    missing, run = tmp_path / "nothing", tmp_path / "run"
    for source, message in (
        (finished_run("pca"), "does not fit this config's"),
        (missing, r"nothing has neither imported weights"),
    ):
        config = tiny_config("classifier_256", init_from=str(source))
        with pytest.raises(UserError, match=message):
            train_and_evaluate(config, run, bare(config))
    assert not list(tmp_path.iterdir())


def test_a_grey_encoder_begins_with_the_sum_of_a_colour_ones_kernels(finished_run, tiny_config):
    """A grey image has the code that three equal channels would have."""
    source = finished_run("autoencoder_256")
    config = tiny_config("segmentation_dice", init_from=str(source))
    begun, _ = started(config)
    image = jax.random.uniform(jax.random.key(1), (2, 16, 16, 1))
    batch = {"image": image, "valid": jnp.ones(2)}
    outputs, _ = make_task(config).apply(begun, batch, False, jax.random.key(0))
    theirs = tiny_config("autoencoder_256")
    code = codec_of(build.autoencoder(theirs), theirs).encode(
        load_run(source, make_mesh()).variables, jnp.repeat(image, 3, axis=-1)
    )
    assert np.any(code)
    np.testing.assert_allclose(outputs["code"].reshape(2, -1), code, rtol=1e-4, atol=1e-6)


def test_a_colour_encoder_does_not_begin_with_a_grey_one(finished_run, tiny_config, tmp_path):
    source = finished_run("segmentation_dice")
    config = tiny_config("autoencoder_256", init_from=str(source))
    with pytest.raises(UserError, match=r"kernel: \(3, 3, 1, 4\) there, \(3, 3, 3, 4\) here"):
        train_and_evaluate(config, tmp_path / "run")


def test_run_without_an_encoder_is_refused(finished_run, tiny_config, tmp_path):
    config = tiny_config("classifier_256", init_from=str(finished_run("pca")))
    with pytest.raises(UserError, match=r"Conv_0/kernel: absent there, \(3, 3, 3, 4\) here"):
        train_and_evaluate(config, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_missing_run_is_refused(tiny_config, tmp_path):
    config = tiny_config("classifier_256", init_from=str(tmp_path / "nothing"))
    with pytest.raises(UserError, match=r"nothing has neither imported weights"):
        train_and_evaluate(config, tmp_path / "run")
    assert not (tmp_path / "run").exists()
    assert not (tmp_path / "nothing").exists()


@pytest.mark.parametrize(
    ("name", "overrides", "message"),
    [
        ("autoencoder_256", {"batch_size": 0}, "batch_size is 0; it must be at least 1"),
        ("autoencoder_256", {"batch_size": 10**40}, "a whole number is 2147483647 at most"),
        ("pca", {"data.size": 2**16}, "data.size is 65536; it must be at least 1 and less than"),
        ("autoencoder_256", {"data.width": -3}, "data.width is -3; it must be at least 0"),
        ("autoencoder_256", {"epochs": -1}, "epochs is -1; it must be at least 0"),
        ("autoencoder_256", {"evaluate_every_epochs": 0}, "evaluate_every_epochs is 0"),
        ("autoencoder_256", {"seed": -1}, "seed is -1; it must be at least 0"),
        ("autoencoder_256", {"seed": 2**32}, "seed is 4294967296; .* less than 4294967296"),
        (
            "classifier_256",
            {"best.metric": "accuracy"},
            r"best.metric is 'accuracy'; it is one of loss, .*argmax_accuracy",
        ),
        (
            "classifier_256",
            {"best.metric": "roc_auc"},
            "'min', and more of roc_auc is better: set it to 'max'",
        ),
        ("autoencoder_256", {"best.mode": "low"}, "best.mode is 'low'; it is one of min, max"),
        ("pca", {"epochs": 3}, "epochs is 3; PCA has a closed form: set it to 0"),
        ("autoencoder_256", {"data.augment.crop_padding": -1}, "crop_padding is -1"),
        ("autoencoder_256", {"data.augment.crop_padding": 16}, "less than 16"),
        (
            "autoencoder_256",
            {"data.augment.zoom": 1.0},
            "zoom is 1.0; .* less than 1",
        ),
        ("autoencoder_256", {"data.augment.colour": 1.0}, r"colour is 1.0; .* less than 1"),
    ],
)
def test_values_out_of_range_are_refused(name, overrides, message, tiny_config):
    config = tiny_config(name, **overrides)
    with pytest.raises(UserError, match=message):
        validate(config)


# The latent space of a run -----------------------------------------------------------------------


def test_latent_space_is_that_of_the_trained_model(finished_run):
    run = finished_run("autoencoder_256")
    config, space = latent_space_of(run)
    assert config.name == "AE 256"
    images, _ = images_of(config, 8)
    with np.load(run / "samples.npz") as samples:
        codes, shown = samples["train/code"], samples["reconstruction"]
        pictured = jnp.asarray(samples["image"], jnp.float32)
    np.testing.assert_allclose(space.encode(jnp.asarray(images)), codes, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(space.axes.mean, codes.mean(axis=0), rtol=1e-5, atol=1e-6)
    assert len(space.axes.variance) <= len(codes) - 1
    # Both have passed through half precision: what is kept of pictures.
    np.testing.assert_allclose(space.decode(space.encode(pictured)), shown, atol=2e-3)


def test_latent_space_of_something_else_is_refused(finished_run, uninterrupted, tmp_path):
    unfinished = tmp_path / "unfinished"
    shutil.copytree(finished_run("pca"), unfinished)
    (unfinished / "samples.npz").unlink()
    for run, message in (
        (unfinished, "unfinished is not finished; continue its `vocjax train`"),
        (uninterrupted, "is a run of segmentation, which has no decoder; give one of reconstr"),
        (finished_run("classifier_256"), "is a run of classification, which has no decoder"),
        (tmp_path, r"holds no run \(no config.json\)"),
    ):
        with pytest.raises(UserError, match=message):
            latent_space_of(run)


def test_notes_tell_the_rule_the_origin_and_known_images(tiny_config, finished_run, tmp_path):
    def said(**overrides):
        config = tiny_config("classifier_256", **overrides)
        prepared = voc.load("toy", Path(config.data.data_dir))
        data = open_dataset(config, prepared, make_mesh())
        return [*data.notes, *notes(config, workdir, prepared, data)]

    workdir = tmp_path / "none"
    every = VOC.names
    assert said()[-1] == "all parameters begin from a fresh draw"
    rule, _ = said(**{"data.classes": every})
    assert re.fullmatch(
        r"\d+ train and \d+ val images show several of the classes: each is used once.*", rule
    )
    (begun,) = said(init_from=str(finished_run("autoencoder_256")))
    assert begun == f"the encoder begins from {finished_run('autoencoder_256')}"
    # What was held out of train to tune on, the autoencoder was trained on.
    held_out = {"data.held_out": 0.3, "init_from": str(finished_run("autoencoder_256"))}
    *_, warning = said(**held_out)
    seen = rf"\d of the val images were training images of {held_out['init_from']}: val is no test"
    assert re.fullmatch(seen, warning)
    workdir = finished_run("classifier_256")
    epochs = tiny_config("classifier_256").epochs
    assert said()[-1] == "the run is continued"
    more = f"the run of {epochs} epochs is continued to 9"
    assert said(epochs=9)[-1] == more
    assert said(epochs=9, **held_out)[-2:] == [more, warning]
