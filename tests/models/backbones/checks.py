"""What the contract of `Backbone` promises, checked on a network."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from flax.traverse_util import flatten_dict
from models.backbones.parity import error, foreign, random_variables, shapes

from vocjax.pretrained.parity import keras_model

known_shapes = functools.cache(shapes)


def count(network, size):
    """Numbers of parameters and of statistics, of a network that draws none."""
    variables = known_shapes(network, (size, size, 3))
    params, statistics = (
        sum(leaf.size for leaf in jax.tree.leaves(variables[collection]))
        for collection in ("params", "batch_stats")
    )
    return params, statistics


def paths(network, size):
    """Paths of all variables, as in the tables of names."""
    return {"/".join(path[1:]) for path in flatten_dict(known_shapes(network, (size, size, 3)))}


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


def check_dtypes(make, size):
    """In bfloat16 parameters and logits are float32, and maps are not."""
    network = make(dtype=jnp.bfloat16)
    variables = shapes(network, (size, size, 3))
    assert {leaf.dtype for leaf in jax.tree.leaves(variables)} == {jnp.dtype(jnp.float32)}

    def run(network, images):
        deepest = network.backbone(images)
        return deepest, network.head(deepest)

    images = jax.ShapeDtypeStruct((2, size, size, 3), jnp.float32)
    apply = functools.partial(network.apply, method=run)
    deepest, logits = jax.eval_shape(apply, variables, images)
    assert (deepest.dtype, logits.dtype) == (jnp.bfloat16, jnp.float32)
    assert deepest.shape[3] == list(network.backbone.channels.values())[-1]
    assert logits.shape[0] == 2


def keras_twin(network, names, application, size):
    """Random variables for a network, and Keras's model with the same."""
    variables = random_variables(network, (*size, 3))
    arrays = foreign(variables, names.keras(network))
    return variables, keras_model(application, arrays, 10, (*size, 3))


def check_rounded_up(network, height, width):
    """Every map has the image's size divided by its stride, rounded up."""
    strides = network.backbone.strides
    expected = {name: (-(-height // s), -(-width // s)) for name, s in strides.items()}
    assert sizes(network, height, width) == expected


def check_dilation(make, height, width, first):
    """Maps at output strides 8 and 16 hold those at 32 between their own values.

    `make` takes `output_stride`; `first` has where the held values begin, by (output stride, steps
    from one to the next), 0 if not said.
    """
    sparse = make(output_stride=32)
    variables = random_variables(sparse, (height, width, 3))
    images = np.random.default_rng(1).standard_normal((1, height, width, 3), np.float32)

    def maps_of(network):
        inside = {collection: tree["backbone"] for collection, tree in variables.items()}
        stages = functools.partial(network.backbone.apply, method="stages")
        return jax.jit(stages)(inside, images)

    strided = maps_of(sparse)
    for output_stride in (16, 8):
        dense = make(output_stride=output_stride)
        assert max(dense.backbone.strides.values()) == output_stride
        assert shapes(dense, (height, width, 3)) == shapes(sparse, (height, width, 3))
        maps = maps_of(dense)
        for name, expected in strided.items():
            step = sparse.backbone.strides[name] // dense.backbone.strides[name]
            rows, columns = expected.shape[1:3]
            start = first.get((output_stride, step), 0)
            got = maps[name][:, start::step, start::step][:, :rows, :columns]
            assert error(np.asarray(got), np.asarray(expected)) < 1e-5, name


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

    def run(images, *valid):
        return jax.device_get(train(images, np.asarray(valid, np.float32)))

    padded = np.concatenate([images[:2], 1 + images[:1]])
    gradients, (_, moved) = run(images, 1, 1, 1)
    of_two, (logits_of_two, moved_by_two) = run(images, 1, 1, 0)
    again, (logits_again, moved_again) = run(padded, 1, 1, 0)

    for gradient in jax.tree.leaves(gradients):
        assert np.isfinite(gradient).all() and gradient.any()
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
