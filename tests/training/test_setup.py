"""What a run begins with: its data, a closed form, a fresh draw or another run's encoder."""

from pathlib import Path

import jax
import numpy as np
import pytest

from vocjax.data import voc
from vocjax.devices import make_mesh
from vocjax.errors import UserError
from vocjax.tasks import make_task
from vocjax.training.loop import train_and_evaluate
from vocjax.training.setup import (
    all_images,
    check_config,
    initial_variables,
    load_run,
    open_data,
    with_encoder_of,
)


def open_tiny(config):
    return open_data(config, voc.load("toy", Path(config.data.data_dir)), make_mesh())


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


def test_all_images_are_in_row_order_without_padding(tiny_config):
    train = open_tiny(tiny_config("pca", **{"data.classes": ()})).splits["train"]
    images = all_images(train, 5, make_mesh())
    assert images.shape == (24, 16, 16, 3)
    assert images.dtype == np.float32
    assert 0 <= images.min() < images.max() <= 1
    np.testing.assert_array_equal(images, all_images(train, 24, make_mesh()))


def test_draw_depends_on_the_seed_alone(tiny_config):
    def draw(**overrides):
        config = tiny_config("linear_autoencoder", **overrides)
        train = open_tiny(config).splits["train"]
        return initial_variables(config, make_task(config), train, make_mesh())

    first = draw()
    assert equal(first, draw(batch_size=3))
    assert not equal(first, draw(seed=1))


def test_closed_form_is_fitted_to_the_training_images(tiny_config):
    config = tiny_config("pca")
    train = open_tiny(config).splits["train"]
    variables = initial_variables(config, make_task(config), train, make_mesh())
    images = all_images(train, 3, make_mesh())
    np.testing.assert_allclose(
        np.ravel(variables["params"]["mean"]), images.mean(axis=0).ravel(), atol=1e-6
    )


def test_classifier_begins_with_the_encoder_of_another_run(finished_run, tiny_config, tmp_path):
    source = finished_run("autoencoder_256")
    config = tiny_config("classifier_256", init_from=str(source), epochs=0)
    train_and_evaluate(config, tmp_path / "run")
    begun = load_run(tmp_path / "run", make_mesh()).variables["params"]
    fresh = jax.jit(make_task(config).init)(jax.random.key(0))["params"]
    theirs = load_run(source, make_mesh()).variables["params"]
    assert equal(begun["encoder"], theirs["encoder"])
    assert not equal(begun["encoder"], fresh["encoder"])
    assert begun.keys() == fresh.keys() == {"encoder", "head"}


def test_statistics_come_with_the_encoder(random_config, uninterrupted):
    config = random_config(**{"model.dropout": 0.0})
    fresh = jax.jit(make_task(config).init)(jax.random.key(0))
    begun = with_encoder_of(fresh, uninterrupted, make_mesh())
    theirs = load_run(uninterrupted, make_mesh()).variables
    for collection in ("params", "batch_stats"):
        assert equal(begun[collection]["encoder"], theirs[collection]["encoder"])
        assert equal(begun[collection]["decoder"], fresh[collection]["decoder"])


@pytest.mark.parametrize(
    ("overrides", "lines"),
    [
        (
            {"model.encoder": (4, 4, 6)},
            ["ConvBlock_2/Conv_0/kernel: (3, 3, 4, 4) there, (3, 3, 4, 6) here"],
        ),
        ({"model.encoder": (4, 4)}, ["ConvBlock_2/Conv_0/bias: (4,) there, absent here"]),
        (
            {"data.channels": 1},
            ["ConvBlock_0/Conv_0/kernel: (3, 3, 3, 4) there, (3, 3, 1, 4) here"],
        ),
    ],
)
def test_another_encoder_is_refused_with_what_differs(
    overrides, lines, finished_run, tiny_config, tmp_path
):
    source = finished_run("autoencoder_256")
    config = tiny_config("classifier_256", init_from=str(source), **overrides)
    with pytest.raises(UserError, match="does not fit this config's") as refused:
        train_and_evaluate(config, tmp_path / "run")
    for line in lines:
        assert line in str(refused.value)
    assert not (tmp_path / "run").exists()


def test_run_without_an_encoder_is_refused(finished_run, tiny_config, tmp_path):
    config = tiny_config("classifier_256", init_from=str(finished_run("pca")))
    with pytest.raises(UserError, match=r"Conv_0/kernel: absent there, \(3, 3, 3, 4\) here"):
        train_and_evaluate(config, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_missing_run_is_refused(tiny_config, tmp_path):
    config = tiny_config("classifier_256", init_from=str(tmp_path / "nothing"))
    with pytest.raises(UserError, match=r"nothing holds no run \(no config\.json\)"):
        train_and_evaluate(config, tmp_path / "run")
    assert not (tmp_path / "run").exists()
    assert not (tmp_path / "nothing").exists()


@pytest.mark.parametrize(
    ("name", "overrides", "message"),
    [
        ("autoencoder_256", {"batch_size": 0}, "batch_size is 0; it must be at least 1"),
        ("autoencoder_256", {"epochs": -1}, "epochs is -1; it must be at least 0"),
        ("autoencoder_256", {"evaluate_every_epochs": 0}, "evaluate_every_epochs is 0"),
        ("autoencoder_256", {"seed": -1}, "seed is -1; it must be at least 0"),
        ("autoencoder_256", {"seed": 2**32}, "seed is 4294967296; .* less than 2"),
        ("autoencoder_256", {"best.mode": "low"}, "best.mode is 'low'; it is min or max"),
        ("pca", {"epochs": 3}, "epochs is 3; pca has a closed form: set it to 0"),
        ("autoencoder_256", {"data.augment.crop_padding": -1}, "crop_padding is -1"),
        ("autoencoder_256", {"data.augment.crop_padding": 16}, "less than data.size, 16"),
        ("autoencoder_256", {"data.augment.colour": 1.0}, r"colour is 1\.0; .* in \[0, 1\)"),
    ],
)
def test_values_out_of_range_are_refused(name, overrides, message, tiny_config):
    config = tiny_config(name, **overrides)
    with pytest.raises(UserError, match=message):
        check_config(config, make_task(config))


def test_metric_that_is_not_measured_is_refused_with_those_that_are(tiny_config, tmp_path):
    config = tiny_config("classifier_256", **{"best.metric": "accuracy"})
    with pytest.raises(UserError, match=r"'accuracy'; this task measures .*argmax_accuracy"):
        train_and_evaluate(config, tmp_path / "run")
    assert not (tmp_path / "run").exists()
