"""What every backbone promises, checked on a few of its stages with few channels.

A new backbone is checked as soon as it has its line in `BACKBONES`: nothing is added here.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from models.backbones.cases import CLASSES, DIFFERENT, of_each, trace
from models.backbones.parity import error, random_variables

from vocjax.errors import UserError
from vocjax.models.backbones import BACKBONES
from vocjax.models.backbones.blocks import Conv


@pytest.fixture
def small(monkeypatch):
    """`small(name, stages, **fields)`: a backbone of these stages with a 16th of the channels."""

    def narrow(conv):
        conv.features = -(-conv.features // 16)
        nn.Module.__post_init__(conv)

    def make(name, stages, **fields):
        kind = type(BACKBONES[name]().backbone)
        whole = kind.plan.fget
        few = property(lambda self: {stage: whole(self)[stage] for stage in stages})
        monkeypatch.setattr(kind, "plan", few)
        return BACKBONES[name](**fields).backbone

    monkeypatch.setattr(Conv, "__post_init__", narrow)
    return make


def strided(name, fields):
    """The first stage, those that stride, and the last."""
    plan = BACKBONES[name](**fields).backbone.plan
    ends = (next(iter(plan)), next(reversed(plan)))
    return tuple(stage for stage, (stride, _) in plan.items() if stride > 1 or stage in ends)


def one_of_each_kind(name, fields):
    """The first stage of each class."""
    backbone, kinds = BACKBONES[name](**fields).backbone, {}
    make = type(backbone).stage.__wrapped__  # Flax's own wants to be within a call
    for stage, sampling in backbone.sampling.items():
        kinds.setdefault(type(make(backbone, stage, sampling)), stage)
    return tuple(kinds.values())


@of_each(CLASSES)
def test_the_small_stem_keeps_more_of_an_image_with_the_same_parameters(name, fields, small):
    stages, whole = strided(name, fields), BACKBONES[name](**fields).backbone
    *_, deepest = whole.strides.values()
    variables, _ = trace(small(name, stages, **fields))
    backbone = small(name, stages, stem="small", **fields)
    same, maps = trace(backbone, (64, 45, 3))
    assert same == variables
    first, *_, last = backbone.strides.values()
    assert first == 1 and last <= deepest // 2
    for stage, stride in backbone.strides.items():
        for pixels, values in zip((64, 45), maps[stage].shape[1:3], strict=True):
            assert 0 <= -(-pixels // stride) - values <= 2


@of_each(CLASSES)
def test_a_backbone_ends_at_its_last_stage(name, fields, small):
    stages = strided(name, fields)
    variables, maps = trace(small(name, stages, last=stages[-2], **fields))
    assert tuple(maps) == stages[:-1] and set(variables["params"]) <= set(stages[:-1])


@of_each(CLASSES)
def test_only_maps_are_in_bfloat16(name, fields, small):
    small(name, strided(name, fields))
    network = BACKBONES[name](dtype=jnp.bfloat16, stem="small", **fields)

    def maps_and_logits(network, images):
        maps = network.backbone.stages(images)
        return maps, network.head(list(maps.values())[-1])

    run = functools.partial(network.init_with_output, method=maps_and_logits)
    images = jax.ShapeDtypeStruct((2, 64, 64, 3), jnp.float32)
    (maps, logits), variables = jax.eval_shape(run, jax.random.key(0), images)
    assert set(variables["params"]) == {"backbone", "head"}
    assert {leaf.dtype for leaf in (logits, *jax.tree.leaves(variables))} == {jnp.dtype("float32")}
    assert {leaf.dtype for leaf in maps.values()} == {jnp.dtype("bfloat16")}


@of_each(DIFFERENT, slow=[case for case in DIFFERENT if case not in CLASSES])
def test_dilated_maps_hold_the_strided_ones(name, fields, small):
    """Between their own values, from a first one on that depends on the padding."""
    whole, stages = BACKBONES[name](**fields).backbone, strided(name, fields)
    sparse, half, dense = (
        small(name, stages, output_stride=output_stride, **fields) for output_stride in (32, 16, 8)
    )
    assert dense.channels == {stage: whole.channels[stage] for stage in stages}
    for most, backbone in ((32, sparse), (16, half), (8, dense)):
        assert backbone.strides == {stage: min(whole.strides[stage], most) for stage in stages}
    variables = random_variables(sparse, (96, 96, 3))
    images = np.random.default_rng(1).standard_normal((1, 224, 160, 3), np.float32)

    def maps_of(backbone):
        apply = functools.partial(backbone.apply, method="stages", mutable=["batch_stats"])
        maps, state = jax.device_get(jax.jit(apply)(variables, images))
        frozen = {kind: tree for kind, tree in variables.items() if kind in state}
        jax.tree.map(np.testing.assert_array_equal, state, frozen)  # not in training
        return maps

    strided_maps, maps = maps_of(sparse), maps_of(dense)
    largest = next(maps[stage] for stage in reversed(stages) if whole.strides[stage] <= 8)
    for stage, expected in strided_maps.items():
        rows, columns = expected.shape[1:3]
        step = sparse.strides[stage] // dense.strides[stage]
        if step > 1:
            assert maps[stage].shape[1:3] == largest.shape[1:3]
        found = [
            error(kept, expected[:, : kept.shape[1], : kept.shape[2]])
            for start in range(step)
            for kept in [maps[stage][:, start::step, start::step][:, :rows, :columns]]
        ]
        assert min(found) < 1e-5, stage


@of_each(CLASSES)
def test_training_moves_statistics_of_valid_examples_and_nothing_else(name, fields, small):
    backbone = small(name, one_of_each_kind(name, fields), stem="small", **fields)
    variables = random_variables(backbone, (32, 40, 3))
    images = np.random.default_rng(1).standard_normal((3, 32, 40, 3), np.float32)

    @jax.jit
    def train(images, valid):
        def loss(params):
            how = {"train": True, "valid": valid, "mutable": ["batch_stats"]}
            y, moved = backbone.apply(variables | {"params": params}, images, **how)
            return (valid[:, None, None, None] * (y - 1) ** 2).sum(), moved

        return jax.grad(loss, has_aux=True)(variables["params"])

    def run(images, *valid):
        return jax.device_get(train(images, np.asarray(valid, np.float32)))

    gradients, moved = run(images, 1, 1, 1)
    of_two, moved_by_two = run(images, 1, 1, 0)
    again, moved_again = run(np.concatenate([images[:2], 1 + images[2:]]), 1, 1, 0)
    for gradient in jax.tree.leaves(gradients):
        assert np.isfinite(gradient).all() and gradient.any()
    jax.tree.map(np.testing.assert_array_equal, (of_two, moved_by_two), (again, moved_again))
    assert set(moved) == set(variables) - {"params"}
    if moved:
        trees = variables["batch_stats"], moved["batch_stats"], moved_by_two["batch_stats"]
        for a, b, c in zip(*map(jax.tree.leaves, trees), strict=True):
            assert (a != b).any() and (b != c).any()


@pytest.mark.parametrize("name", BACKBONES)
def test_a_value_that_a_backbone_does_not_know_is_refused(name):
    backbone = BACKBONES[name]().backbone
    for field in ("output_stride", "stem", "last", "variant", "padding", "norm"):
        if hasattr(backbone, field):
            with pytest.raises(UserError, match=f"{field}.* 'other'"):
                BACKBONES[name](**{field: "other"})
    if name == "resnet18":  # the sources of ResNet50's other variants have no ResNet18
        with pytest.raises(UserError, match="variant is 'keras'; it is one of torchvision"):
            BACKBONES[name](variant="keras")
