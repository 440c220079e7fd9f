"""What networks read from a config: components, fields, widths, sizes."""

import re

import pytest
from ml_collections import ConfigDict

from vocjax.errors import UserError
from vocjax.models.fields import (
    check_components,
    check_fields,
    check_poolable,
    check_width,
    check_widths,
)


def test_unknown_fields_are_listed():
    model = ConfigDict({"name": "vae", "encoder": (4,), "depht": 1, "beta": 2})
    check_fields(model, ("encoder", "depht", "beta"))
    message = "model.beta, model.depht, which vae does not know; .* encoder, name"
    with pytest.raises(UserError, match=message):
        check_fields(model, ("encoder",))


@pytest.mark.parametrize("widths", [(), 4, (4, 0), (4.0,), (True,)])
def test_widths_are_positive_integers(widths):
    assert check_widths("model.encoder", (4, 2)) == (4, 2)
    with pytest.raises(UserError, match=r"model.encoder is .*; it is a tuple of positive integers"):
        check_widths("model.encoder", widths)


@pytest.mark.parametrize("width", [0, (48,), 4.0, True])
def test_a_width_is_one_positive_integer(width):
    assert check_width("model.low_level", 48) == 48
    with pytest.raises(UserError, match=r"model.low_level is .*; it is a positive integer"):
        check_width("model.low_level", width)


@pytest.mark.parametrize("components", [0, 49])
def test_components_are_at_most_the_numbers_of_an_image(components):
    config = ConfigDict({"data": {"size": 4, "channels": 3}, "model": {"components": 48}})
    assert check_components(config) == 48
    config.model.components = components
    with pytest.raises(UserError, match=f"is {components}; it must be at least 1 and at most 48"):
        check_components(config)


@pytest.mark.parametrize(
    ("size", "pools", "nearest"),
    [
        (60, 4, "48 or 64 (multiples of 16)"),
        (65, 4, "64 or 80 (multiples of 16)"),
        (10, 4, "16 (multiples of 16)"),
        (0, 2, "4 (multiples of 4)"),
    ],
)
def test_size_that_cannot_be_pooled_names_the_nearest(size, pools, nearest):
    message = f"data.size={size} can't be halved {pools} times; .* are {re.escape(nearest)}"
    with pytest.raises(UserError, match=message):
        check_poolable(size, 2**pools)


def test_size_that_can_be_pooled_passes():
    for size, pools in ((64, 4), (64, 6), (48, 4), (7, 0)):
        check_poolable(size, 2**pools)
