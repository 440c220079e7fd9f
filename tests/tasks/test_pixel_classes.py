"""From masks to targets and from probabilities to masks, pixel by pixel."""

import jax.numpy as jnp
import numpy as np
import pytest

from vocjax.data.classes import VOC, VOID
from vocjax.errors import UserError
from vocjax.tasks.pixel_classes import (
    decide,
    foreground_of,
    pixel_classes,
    probability_of,
    truth_of,
)

STUDY = "segmentation_dice"
PETS = ("cat", "dog")
CLASSES = VOC.names
KINDS = ("foreground", "sigmoid", "softmax")


@pytest.fixture
def target_of(tiny_config):
    def make(kind, classes=PETS):
        return pixel_classes(tiny_config(STUDY, **{"model.target": kind, "data.classes": classes}))

    return make


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("classes", [PETS, ()])
def test_truth_equals_a_double_loop(target_of, kind, classes):
    target = target_of(kind, classes)
    mask = np.random.default_rng(0).choice(np.uint8([0, 8, 12, 20, VOID]), (3, 5, 4))
    valid = np.float32([1, 1, 0])
    index, truth, weight = truth_of(target, jnp.asarray(mask), jnp.asarray(valid))
    names = classes or CLASSES
    assert truth.shape == (
        3,
        5,
        4,
        {"foreground": 1, "sigmoid": len(names)}.get(kind, len(names) + 1),
    )
    for place in np.ndindex(mask.shape):
        voc = mask[place]
        name = CLASSES[voc - 1] if 0 < voc < VOID else "background"
        if kind == "foreground":
            own, wanted = int(0 < voc < VOID), [0 < voc < VOID]
        else:
            own = names.index(name) + 1 if name in names else 0
            wanted = [name == other for other in names]
            if kind == "softmax":
                wanted = [own == 0, *wanted]
        assert weight[place][0] == (voc != VOID and place[0] < 2)
        if voc != VOID:
            assert index[place] == own
            np.testing.assert_array_equal(truth[place], wanted)


def test_indices_lead_back_to_vocs(target_of):
    assert target_of("sigmoid").names == ("background", "cat", "dog")
    np.testing.assert_array_equal(target_of("softmax").own_indices, [0, 8, 12])
    np.testing.assert_array_equal(target_of("foreground").own_indices, [0, 1])
    for kind in ("sigmoid", "softmax"):
        target = target_of(kind, ())
        np.testing.assert_array_equal(target.indices[target.own_indices], np.arange(21))
        assert target.indices[VOID] == VOID


def test_sigmoids_decide_for_the_largest_above_the_threshold(target_of):
    probability = np.float32([[[0.2, 0.4], [0.7, 0.9], [0.8, 0.1], [0.55, 0.5]]])
    decided = decide(target_of("sigmoid"), probability, 0.6)
    np.testing.assert_array_equal(decided, [[0, 2, 1, 0]])
    np.testing.assert_allclose(
        foreground_of(target_of("sigmoid"), probability), probability.max(-1)
    )


def test_a_softmax_decides_for_the_likeliest_whatever_the_threshold(target_of):
    logits = jnp.float32([[[3.0, 1, 0], [0, 1, 2], [0, 2, 1.9]]])
    probability = probability_of(target_of("softmax"), logits)
    np.testing.assert_allclose(probability.sum(-1), 1, rtol=1e-6)
    for threshold in (0.1, 0.9):
        np.testing.assert_array_equal(
            decide(target_of("softmax"), probability, threshold), [[0, 2, 1]]
        )
    covered = foreground_of(target_of("softmax"), probability)
    np.testing.assert_allclose(covered, probability[..., 1:].sum(-1), rtol=1e-6)


def test_a_class_that_voc_lacks_is_named(target_of):
    with pytest.raises(UserError, match=r"data\.classes is 'unicorn'; it is one of"):
        target_of("sigmoid", ("unicorn",))
