"""Mixed images ask for mixed labels; a classifier's logits of an image and of its mirror."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vocjax.errors import UserError
from vocjax.tasks import make_task
from vocjax.training.step import augments, mixed
from vocjax.training.validate import validate

AEROPLANE, DOG = 0, 11
N = 12


@pytest.fixture(scope="module")
def batch():
    rng = np.random.default_rng(0)
    labels = np.full((N, 20), -1, np.int8)
    labels[::2, AEROPLANE] = labels[1::2, DOG] = 1
    labels[4, DOG] = 1  # shows both
    labels[5, AEROPLANE] = 0  # difficult
    valid = np.ones(N, np.float32)
    valid[-1] = 0
    images = jnp.asarray(rng.random((N, 16, 16, 3)), jnp.float32)
    return {"image": images, "labels": jnp.asarray(labels), "valid": jnp.asarray(valid)}


@pytest.mark.parametrize("loss", ["softmax_cross_entropy", "binary_cross_entropy"])
def test_the_loss_is_that_of_the_two_images_by_their_shares(tiny_config, batch, loss):
    """Cross-entropy is linear in the truth."""
    fields = {"data.augment.mixup": 1.0, "data.augment.cutmix": 1.0, "loss.name": loss}
    config = tiny_config("classifier_256", **fields)
    assert augments(config)
    task, logits = make_task(config), np.random.default_rng(1).normal(size=(N, 2))
    outputs = {"logits": jnp.asarray(logits, jnp.float32)}
    after = jax.jit(lambda key: mixed(key, batch, config))(jax.random.key(3))
    share = np.asarray(after["share"])
    partner = [int(np.flatnonzero((np.asarray(batch["labels"]) == row).all(axis=1))[0])
               for row in np.asarray(after["other_labels"])]  # fmt: skip
    assert share[5] == share[-1] == 1 and 3 < (share < 1).sum() <= N - 2
    own = task.targets(batch)
    other = {name: value[jnp.array(partner)] for name, value in own.items()}
    losses = [np.asarray(task.loss(outputs, targets)) for targets in (own, other)]
    targets = task.targets(after)
    expected = share * losses[0] + (1 - share) * losses[1]
    np.testing.assert_allclose(task.loss(outputs, targets), expected, rtol=1e-5)
    larger = np.where(share[:, None] >= 0.5, own["present"], other["present"])
    np.testing.assert_array_equal(targets["present"], larger)


def test_without_mixing_nothing_is_added(tiny_config, batch):
    config = tiny_config("classifier_256")
    assert mixed(jax.random.key(0), batch, config) is batch


def test_a_mirrored_image_has_the_same_probabilities(tiny_config, batch):
    plain, flipping = (
        make_task(tiny_config("classifier_256", **{"evaluation.flip": flip}))
        for flip in (False, True)
    )
    variables = plain.init(jax.random.key(0))
    mirrored = batch | {"image": batch["image"][:, :, ::-1]}

    @jax.jit
    def logits(batch, mirrored):
        runs = [(t, b) for t in (plain, flipping) for b in (batch, mirrored)]
        return [t.apply(variables, b, False, jax.random.key(0))[0]["logits"] for t, b in runs]

    one, other, both, same = logits(batch, mirrored)
    np.testing.assert_allclose(both, (one + other) / 2, atol=1e-6)
    np.testing.assert_allclose(both, same, atol=1e-6)
    assert np.abs(one - other).max() > 1e-4


@pytest.mark.parametrize(
    ("name", "fields", "message"),
    [
        ("autoencoder_256", {"mixup": 0.2}, "data.augment.mixup is 0.2, which mixes the labels"),
        ("classifier_256", {"cutmix": -1.0}, "data.augment.cutmix is -1.0"),
        ("classifier_256", {"erase": 1.5}, "data.augment.erase is 1.5"),
        ("classifier_256", {"rand_augment": (2,)}, "data.augment.rand_augment is"),
        ("classifier_256", {"rand_augment": (2, 31)}, "data.augment.rand_augment is"),
        ("classifier_256", {"scale": (2.0, 0.5)}, "data.augment.scale is"),
        ("classifier_256", {"scale": (0.5, 2.0)}, "Set data.fit to pad, and data.longest"),
    ],
)
def test_wrong_fields_are_refused(tiny_config, name, fields, message):
    config = tiny_config(name, **{f"data.augment.{k}": v for k, v in fields.items()})
    with pytest.raises(UserError, match=message):
        validate(config)
