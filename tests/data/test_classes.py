"""Which classes a config has, and how it chooses among them."""

import numpy as np
import pytest

from vocjax.config import base_config
from vocjax.data.classes import (
    PALETTE,
    VOC,
    Classes,
    check_names,
    chosen,
    class_columns,
    classes_of,
    with_classes,
)
from vocjax.errors import UserError

FRUIT = ("apple", "pear", "white plum")


def config_of(classes=(), dataset="fruit"):
    config = base_config()
    config.data.classes, config.data.dataset = classes, dataset
    return config


def test_vocs_own_classes_need_no_fields():
    config = config_of(("dog", "cat"))
    assert with_classes(config, VOC).to_dict() == config.to_dict()
    assert classes_of(config.data).names == VOC.names and class_columns(config.data) == (11, 7)


def test_a_config_carries_the_names_and_colours_of_its_data_set():
    palette = PALETTE.copy()
    palette[1] = 10, 20, 30
    config = with_classes(config_of(), Classes(FRUIT, palette))
    known = classes_of(config.data)
    assert known.names == FRUIT
    np.testing.assert_array_equal(known.palette, palette)
    assert config.data.palette == ((0, 0, 0), (10, 20, 30), (0, 128, 0), (128, 128, 0))
    assert with_classes(config_of(), Classes(FRUIT)).data.palette == ()  # VOC's colours


@pytest.mark.parametrize(
    ("given", "columns"),
    [
        (("pear",), (1,)),
        (("white plum", "apple"), (2, 0)),
        (("all",), (0, 1, 2)),
        (("pear,white plum",), (1, 2)),  # as --config.data.classes=pear,white plum gives it
        ((), ()),
    ],
)
def test_classes_are_chosen_by_name(given, columns):
    config = with_classes(config_of(given), Classes(FRUIT))
    assert class_columns(config.data) == columns
    assert config.data.classes == chosen(config.data) == tuple(FRUIT[c] for c in columns)


@pytest.mark.parametrize(
    ("classes", "given", "message"),
    [
        (
            FRUIT,
            ("aple",),
            "is 'aple'; it is one of apple, pear, white plum. Did you mean 'apple'?.*classes=all",
        ),
        (FRUIT, ("dog",), "data.classes is 'dog'; it is one of apple, pear"),
        (FRUIT, ("all,pear",), "data.classes is all, pear; all means every class, and so stands"),
        (FRUIT, (1,), "data.classes is '1'; it is one of apple"),
        (FRUIT, ("pear", "pear"), "names a class twice: pear, pear"),
        (
            (),
            ("dog",),
            r"is dog, and the images of fruit have no classes; an autoencoder .*='\(\)'",
        ),
    ],
)
def test_a_class_that_the_data_set_lacks_is_refused(classes, given, message):
    with pytest.raises(UserError, match=message):
        with_classes(config_of(given), Classes(classes))


def test_there_are_at_most_254_classes_with_names_of_their_own():
    check_names(tuple(map(str, range(254))), "classes.txt")
    for names, message in (
        (tuple(map(str, range(255))), "classes.txt names 255 classes; .* room for 254"),
        (("a", "b", "a"), "names 'a' twice"),
        (("a", ""), "has an empty name"),
        (("a", "all"), "names the class 'all'; expected names without commas"),
        (("a,b",), "names the class 'a,b'"),
        (("a=b",), "names the class 'a=b'"),
        (("a\x1b[2K",), r"names the class 'a\\x1b\[2K'"),
        (("a\u2028b",), "names the class"),
    ):
        with pytest.raises(UserError, match=message):
            check_names(names, "classes.txt")
