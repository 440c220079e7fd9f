"""What the contract of `Backbone` promises, checked on a network."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from models.backbones.parity import random_variables, shapes


def count(network, size):
    """Numbers of parameters and of statistics, of a network that draws none."""
    variables = shapes(network, (size, size, 3))
    params, statistics = (
        sum(leaf.size for leaf in jax.tree.leaves(variables[collection]))
        for collection in ("params", "batch_stats")
    )
    return params, statistics


def sizes(network, height, width):
    """(rows, columns) of every stage's map, by eval_shape; as many maps as strides and channels."""
    backbone, order = network.backbone, []

    def stages(images):
        maps, _ = backbone.init_with_output(jax.random.key(0), images, method="stages")
        order.extend(maps)
        return maps

    maps = jax.eval_shape(stages, jax.ShapeDtypeStruct((1, height, width, 3), jnp.float32))
    assert order == list(backbone.strides) == list(backbone.channels)
    assert {name: maps[name].shape[3] for name in order} == backbone.channels
    return {name: maps[name].shape[1:3] for name in order}


def check_rounded_up(network, height, width):
    """Every map has the image's size divided by its stride, rounded up."""
    strides = network.backbone.strides
    expected = {name: (-(-height // s), -(-width // s)) for name, s in strides.items()}
    assert sizes(network, height, width) == expected


def check_dilation(make, height, width, first=lambda factor: 0, **fields):
    """Maps at output strides 8 and 16 hold those at 32, every `factor`th value from the `first`."""
    sparse = make(**fields)
    variables = random_variables(sparse, (height, width, 3))
    images = np.random.default_rng(1).standard_normal((1, height, width, 3), np.float32)

    def maps_of(network):
        inside = {collection: tree["backbone"] for collection, tree in variables.items()}
        stages = functools.partial(network.backbone.apply, method="stages")
        return jax.jit(stages)(inside, images)

    strided = maps_of(sparse)
    for output_stride in (16, 8):
        dense = make(output_stride=output_stride, **fields)
        assert max(dense.backbone.strides.values()) == output_stride
        maps = maps_of(dense)
        for name, expected in strided.items():
            factor = sparse.backbone.strides[name] // dense.backbone.strides[name]
            rows, columns = expected.shape[1:3]
            start = first(factor)
            got = maps[name][:, start::factor, start::factor][:, :rows, :columns]
            scale = float(jnp.abs(expected).max())
            np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-5 * scale, err_msg=name)


def check_training(network, height, width):
    """Training moves all statistics and nothing else; padding does not; gradients are finite."""
    variables = random_variables(network, (height, width, 3))
    images = np.random.default_rng(1).standard_normal((3, height, width, 3), np.float32)

    @jax.jit
    def train(images, valid):
        def loss(params):
            logits, moved = network.apply(
                variables | {"params": params},
                images,
                train=True,
                valid=valid,
                mutable=["batch_stats"],
                rngs={"dropout": jax.random.key(0)},
            )
            return (valid[:, None] * jax.nn.log_softmax(logits)[:, :1]).sum(), (logits, moved)

        return jax.grad(loss, has_aux=True)(variables["params"])

    padded = np.concatenate([images[:2], 1 + images[:1]])
    gradients, (logits, moved) = train(images, jnp.ones(3))
    of_two, (logits_of_two, moved_by_two) = train(images, jnp.asarray([1.0, 1, 0]))
    again, (logits_again, moved_again) = train(padded, jnp.asarray([1.0, 1, 0]))

    for gradient in jax.tree.leaves(gradients):
        assert jnp.isfinite(gradient).all() and jnp.abs(gradient).max() > 0
    assert set(moved) == {"batch_stats"}
    before, after, by_two = (
        jax.tree.leaves(tree)
        for tree in (variables["batch_stats"], *moved.values(), *moved_by_two.values())
    )
    for a, b, c in zip(before, after, by_two, strict=True):
        assert (a != b).any() and (b != c).any()
    jax.tree.map(np.testing.assert_array_equal, moved_by_two, moved_again)
    jax.tree.map(np.testing.assert_array_equal, of_two, again)
    np.testing.assert_array_equal(logits_of_two[:2], logits_again[:2])
    assert (logits_of_two[2] != logits_again[2]).any()
