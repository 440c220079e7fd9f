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
    Given,
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


MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
OF_255 = (123.68, 116.779, 103.939)


@pytest.mark.parametrize(
    ("given", "usual", "mode"),
    [
        (Given(mean=MEAN, std=STD), SYMMETRIC, "torch"),
        (Given("RGB", 1.0, MEAN, STD), CAFFE, "torch"),
        (Given("BGR", 255.0, OF_255[::-1]), TORCHVISION, "caffe"),
        (Given(mean=(0.5,) * 3, std=(0.5,) * 3), TORCHVISION, "tf"),
        (Given(), CAFFE, "caffe"),
    ],
)
def test_what_is_given_prevails(given, usual, mode):
    expected = keras.applications.imagenet_utils.preprocess_input(255 * IMAGES, mode=mode)
    np.testing.assert_allclose(apply(given.over(usual), IMAGES), expected, rtol=1e-5, atol=1e-4)


def test_another_order_of_channels_alone_turns_the_usual_values():
    turned = apply(Given("BGR").over(TORCHVISION), IMAGES)
    np.testing.assert_allclose(turned, apply(TORCHVISION, IMAGES)[..., ::-1], rtol=1e-6)
    assert Given("RGB").over(TORCHVISION) == TORCHVISION


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (Given("rgb"), "--channels is 'rgb'; it is one of RGB, BGR"),
        (Given(mean=OF_255), r"--mean is 123.68,116.779,103.939, and pixels are from 0 to 1 wh"),
        (Given(white=1 / 255), r"--scale is 0.0039\d*; it is one of 1, 255"),
        (Given(mean=(-0.5,) * 3), "--mean is -0.5,-0.5,-0.5, and pixels are from 0 to 1"),
        (Given(std=(1.0, -1.0, 1.0)), "--std is 1,-1,1; they must"),
        (Given(mean=(float("nan"), 0.0, 0.0)), "--mean is nan,0,0"),
        (Given(white=float("inf")), "--scale is inf"),
    ],
)
def test_values_that_can_not_be_given(given, words):
    with pytest.raises(UserError, match=words):
        given.over(SYMMETRIC)
