"""What backbones compute: dilation's values, statistics in training, padded examples, gradients."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from models.backbones.parity import random_variables

from vocjax.models.backbones import alexnet, mobilenet, mobilenet_v2, resnet, squeezenet, vgg
from vocjax.models.backbones.blocks import Sampling
from vocjax.models.backbones.heads import MeanHead, Network

TORCH, KERAS = (resnet.VARIANTS[name] for name in ("torchvision", "keras"))
TORCH_V2, KERAS_V2 = (mobilenet_v2.VARIANTS[name] for name in ("torchvision", "keras"))

# A stage by its sampling, and where the first values of two of them, strided, are in the maps of
# the two dilated ones: not at 0 where strided windows are not centred on a pixel that is kept.
STAGES = {
    "alexnet": (lambda sampling: alexnet.Stage(3, 4, True, sampling), (1, 3)),
    "vgg": (lambda sampling: vgg.Stage(2, 4, sampling), (0, 1)),
    "resnet basic": (lambda sampling: resnet.Stage(2, 4, False, False, sampling, TORCH), (0, 0)),
    "resnet v1.5": (lambda sampling: resnet.Stage(2, 1, True, False, sampling, TORCH), (0, 0)),
    "resnet v1": (lambda sampling: resnet.Stage(2, 1, True, False, sampling, KERAS), (0, 0)),
    "squeezenet": (lambda sampling: squeezenet.Fire(2, 2, sampling), (1, 3)),
    "mobilenet": (lambda sampling: mobilenet.Block(4, sampling), (1, 3)),
    "mobilenet_v2 of torch": (
        lambda sampling: mobilenet_v2.Block(2, 4, sampling, TORCH_V2),
        (0, 0),
    ),
    "mobilenet_v2 of keras": (
        lambda sampling: mobilenet_v2.Block(2, 4, sampling, KERAS_V2),
        (1, 3),
    ),
}


@pytest.mark.parametrize("name", STAGES)
def test_dilated_stages_have_the_strided_ones_values(name):
    make, starts = STAGES[name]
    x = np.random.default_rng(0).standard_normal((1, 40, 44, 3), np.float32)
    one, two = (random_variables(make(Sampling(2, 1, 1)), (8, 8, c), seed=c) for c in (3, 4))

    @functools.partial(jax.jit, static_argnums=0)
    def both(samplings):
        y = make(Sampling(*samplings[0])).apply(one, x, train=False, valid=None)
        return y, make(Sampling(*samplings[1])).apply(two, y, train=False, valid=None)

    strided = both(((2, 1, 1), (2, 1, 1)))
    dilated = both(((1, 1, 2), (1, 2, 4)))
    for s, d, step, start in zip(strided, dilated, (2, 4), starts, strict=True):
        assert d.shape == (1, 40, 44, 4)
        kept = d[:, start::step, start::step]
        inner = np.s_[:, 3:-3, 3:-3]  # the rest saw padding
        kept = kept[:, : s.shape[1], : s.shape[2]]
        assert s[inner].size
        np.testing.assert_allclose(kept[inner], s[inner], rtol=1e-4, atol=1e-4)


MODULES = {
    **{name: make(Sampling(2, 1, 1)) for name, (make, _) in STAGES.items()},
    "VGG": Network(vgg.VGG(table=((1, 8),) * 5), MeanHead(3)),
    "ResNet": Network(resnet.ResNet(depths=(1, 0, 0, 0), bottleneck=False), MeanHead(3)),
}


@pytest.mark.parametrize("name", MODULES)
def test_a_training_step(name):
    module = MODULES[name]
    variables = random_variables(module, (32, 32, 3))
    images = np.random.default_rng(1).standard_normal((3, 32, 32, 3), np.float32)
    valid = np.asarray([1, 1, 0])

    @jax.jit
    def step(images):
        def loss(params):
            y, state = module.apply(
                variables | {"params": params}, images, train=True, valid=valid, mutable=True
            )
            return jnp.sum(valid * jnp.mean((y - 1) ** 2, range(1, y.ndim))), state

        return jax.grad(loss, has_aux=True)(variables["params"])

    gradients, state = step(images)
    for gradient in jax.tree.leaves(gradients):
        assert np.isfinite(gradient).all()
        assert gradient.any()
    assert set(state) == set(variables)
    jax.tree.map(np.testing.assert_array_equal, state["params"], variables["params"])
    if "batch_stats" in variables:
        of = [jax.tree.leaves(tree["batch_stats"]) for tree in (state, variables)]
        assert all((after != before).any() for after, before in zip(*of, strict=True))

    images[2] += 1  # of the padded example
    again = step(images)
    close = functools.partial(np.testing.assert_allclose, rtol=1e-5, atol=1e-5)
    jax.tree.map(close, again, (gradients, state))
