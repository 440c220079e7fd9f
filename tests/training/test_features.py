"""What a frozen part computes is computed once, and a run comes out as if it was not."""

import jax
import numpy as np
import pytest
from flax.traverse_util import flatten_dict

from vocjax.data.pipeline import plan
from vocjax.mesh import make_mesh
from vocjax.tasks.task import FrozenFeatures
from vocjax.training import features
from vocjax.training.features import with_features
from vocjax.training.loop import train_and_evaluate
from vocjax.training.phases import frozen_modules
from vocjax.training.step import as_float, variables_of

BATCH_SIZE = 4
FROZEN = ((0, (("encoder/.*", 0.0), (".*", 1.0))),)
PARTLY = ((0, (("encoder/backbone/(conv1|fire2|fire3)/.*", 0.0), (".*", 1.0))),)
RESTLESS = {"model.norm": "batch", "model.dropout": 0.2, "model.norm_statistics": "debiased"}
SGD = {"optimizer.name": "sgd", "optimizer.learning_rate": 0.1}
STILL = {"data.augment.flip": False, "data.augment.zoom": 0.0, "data.augment.colour": 0.0}


def padded_plan(order, batch_size, mesh, *, first=0):
    """As on several devices: each batch has two rows more, which are no examples."""
    for rows, valid in plan(order, batch_size, mesh, first=first):
        yield np.append(rows, np.int32([0, 0])), np.append(valid, np.float32([0, 0]))


def moments(variables, batch):
    """Of an image and of a variable, [batch, 2]: an image can be known by them."""
    image = batch["image"]
    both = jax.numpy.stack([image.mean((1, 2, 3)), image.std((1, 2, 3))], 1)
    return {"both": variables["scale"] * both, "mean": both[:, 0]}


@pytest.mark.parametrize("storage", ["device", "stream"])
@pytest.mark.parametrize("planned", [plan, padded_plan])
def test_batches_hold_the_features_of_their_own_images(
    storage, planned, tiny_config, begun, monkeypatch
):
    monkeypatch.setattr(features, "plan", planned)
    start = begun(tiny_config("linear_autoencoder", **{"data.storage": storage}))
    train, mesh, scale = start.train, make_mesh(), {"scale": jax.numpy.float32(3)}
    evaluator = start.evaluator._replace(
        task=start.task._replace(features=FrozenFeatures("known", lambda frozen: moments)),
        batch_size=BATCH_SIZE,
    )
    known = with_features(evaluator, train, scale, moments)
    assert (known.ids == train.ids).all()
    order = np.random.default_rng(0).permutation(len(train.ids))  # 10 of them
    batches = list(known.batches(planned(order, BATCH_SIZE, mesh)))
    plain = list(train.batches(planned(order, BATCH_SIZE, mesh)))
    assert len(batches) == len(plain) == 3
    for batch, own in zip(batches, plain, strict=True):
        assert batch.keys() == own.keys() | {"known"}
        for name in own:
            np.testing.assert_array_equal(batch[name], own[name])
        expected = moments(scale, as_float(own))
        for name, value in batch["known"].items():
            np.testing.assert_allclose(value, expected[name], rtol=1e-5)
    assert len({float(mean) for batch in batches for mean in batch["known"]["mean"]}) == 10
    assert features.bytes_of(evaluator, {"train": train, "val": train}, scale, moments) == 20 * 12


@pytest.mark.parametrize(
    ("name", "changes", "names"),
    [
        ("segmentation_deeplab", {}, {"stage3"}),
        ("segmentation_fcn", {"model.skips": 1}, {"stage2", "stage3"}),
        ("segmentation_unet", {"model.decoder": (4,)}, {"stage2", "stage3"}),
        ("segmentation_pretrained", {"optimizer.phases": PARTLY}, {"fire3"}),
    ],
)
def test_a_step_is_the_same_with_known_maps(name, changes, names, tiny_config, begun):
    """Those that the decoder reads, and no other, or those before what learns."""
    config = tiny_config(name, **(RESTLESS | STILL | SGD | {"optimizer.phases": FROZEN} | changes))
    start = begun(config)
    compute = start.task.features.of(frozen_modules(start.valid.phases[0], start.state.params))
    maps = jax.jit(compute)(variables_of(start.state), as_float(start.batch))
    assert maps.keys() == names
    before = jax.tree.map(lambda x: x.copy(), start.state)  # a step takes the state it is given
    known, ours = start.step(jax.tree.map(lambda x: x.copy(), before), start.batch | {"maps": maps})
    anew, theirs = start.step(start.state, start.batch)
    assert float(ours) == pytest.approx(float(theirs), rel=1e-5)
    for collection in ("params", "batch_stats"):
        new, other = (flatten_dict(getattr(s, collection), sep="/") for s in (known, anew))
        for path, array in new.items():
            np.testing.assert_allclose(array, other[path], rtol=1e-4, atol=1e-5, err_msg=path)
    moved = jax.tree.map(lambda x, y: float(abs(x - y).max()), known.params, before.params)
    assert max(jax.tree.leaves(moved)) > 1e-3


def test_maps_are_computed_once_if_they_are_not_too_large(
    tiny_config, bare, tmp_path, monkeypatch, capsys
):
    config = tiny_config("segmentation_fcn", **(STILL | SGD | {"optimizer.phases": FROZEN}))
    task, runs = bare(config), []
    plain = task.features

    def of(frozen):
        compute = plain.of(frozen)

        def counted(variables, batch):
            jax.debug.callback(lambda: runs.append(0))
            return compute(variables, batch)

        return counted

    task = task._replace(features=plain._replace(of=of))
    known = train_and_evaluate(config, tmp_path / "known", task)
    assert "the maps of what is frozen: 0 MiB, were computed once" in capsys.readouterr().err
    jax.effects_barrier()
    assert len(runs) == 2 + 1  # the batches of train, and that of val
    monkeypatch.setattr(features, "MOST_BYTES", 1000)
    anew = train_and_evaluate(config, tmp_path / "anew", task)
    assert "more than 0, are computed in each step" in capsys.readouterr().err
    assert len(runs) == 3
    assert known["val"] == pytest.approx(anew["val"], rel=1e-4, abs=1e-5)
