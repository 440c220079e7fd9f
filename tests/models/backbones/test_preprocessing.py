"""Values before the network equal Keras's own for each of its modes; JSON keeps them."""

import json

import jax
import jax.numpy as jnp
import keras
import numpy as np
import pytest

from vocjax.errors import UserError
from vocjax.models.backbones.preprocessing import (
    CAFFE,
    IDENTITY,
    SYMMETRIC,
    TORCHVISION,
    Preprocessing,
    apply,
)

IMAGES = np.random.default_rng(0).random((2, 4, 5, 3), np.float32)


@pytest.mark.parametrize(
    ("preprocessing", "mode"), [(TORCHVISION, "torch"), (SYMMETRIC, "tf"), (CAFFE, "caffe")]
)
def test_values_equal_keras(preprocessing, mode):
    expected = keras.applications.imagenet_utils.preprocess_input(255 * IMAGES, mode=mode)
    got = jax.jit(lambda images: apply(preprocessing, images))(IMAGES)
    assert got.dtype == jnp.float32
    np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-5)


def test_darknet_takes_images_as_they_are():
    np.testing.assert_array_equal(apply(IDENTITY, jnp.asarray(IMAGES)), IMAGES)


@pytest.mark.parametrize("preprocessing", [TORCHVISION, SYMMETRIC, CAFFE, IDENTITY])
def test_json_keeps_everything(preprocessing):
    read = json.loads(json.dumps(preprocessing._asdict()))
    again = Preprocessing(**read)
    np.testing.assert_array_equal(apply(again, IMAGES), apply(preprocessing, IMAGES))


def test_grey_images_and_unknown_orders_are_refused():
    with pytest.raises(UserError, match=r"1 channels.*set data\.channels to 3"):
        apply(CAFFE, jnp.zeros((1, 2, 2, 1)))
    with pytest.raises(UserError, match="order is 'GBR'; it is one of RGB, BGR"):
        apply(CAFFE._replace(order="GBR"), jnp.zeros((1, 2, 2, 3)))
