"""The losses that a config names: sums, fields, functions of the user's own, mistakes."""

import inspect

import jax
import numpy as np
import pytest
from compiled import values_of

from vocjax import losses
from vocjax.config import study_classifier, study_segmenter
from vocjax.errors import UserError
from vocjax.losses import table

OWN = """
import jax.numpy as jnp

def border(logits, truth, weight, *, width, power=2.0):
    return width * jnp.abs(logits - truth).mean(axis=(1, 2, 3)) ** power

def scalar(logits, truth, weight):
    return logits.mean()

def margin(logits, truth, weight, *, exclusive=True):
    return (logits * truth * weight).sum(axis=1)
"""


@pytest.fixture
def arrays():
    rng = np.random.default_rng(0)
    index = rng.integers(0, 3, (2, 4, 4))
    arrays = rng.standard_normal((2, 4, 4, 3)), np.eye(3)[index], rng.random((2, 4, 4, 1)) > 0.3
    return tuple(x.astype(np.float32) for x in arrays)


@pytest.fixture
def own(tmp_path, monkeypatch):
    """The current directory has a module `my_losses`, and one that cannot be imported."""
    (tmp_path / "my_losses.py").write_text(OWN)
    (tmp_path / "broken_losses.py").write_text("import there_is_no_such_module")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.path", ["/nowhere"])
    monkeypatch.delitem("sys.modules", "my_losses", raising=False)


def pixel_fields(**values):
    fields = study_segmenter().loss
    fields.update(values)
    return fields


def class_fields(**values):
    fields = study_classifier().loss.to_dict()
    del fields["reconstruction"]  # the task's own
    return fields | values


def test_a_sum_has_its_factors(arrays):
    fields = pixel_fields(name="soft_dice + 0.5 cross_entropy", classes="all")
    ours = jax.jit(losses.make_pixel_loss(fields, exclusive=True))(*arrays)
    dice = values_of(losses.soft_dice, *arrays, exclusive=True, classes="all")
    entropy = values_of(losses.cross_entropy, *arrays, exclusive=True, reduction="batch")
    np.testing.assert_allclose(ours, dice + 0.5 * entropy, rtol=1e-6)
    ours = jax.jit(losses.make_image_loss({"name": "mse + 2 mae"}))(*arrays[:2])
    error = arrays[0] - arrays[1]
    expected = (error**2 + 2 * np.abs(error)).mean(axis=(1, 2, 3))
    np.testing.assert_allclose(ours, expected, rtol=1e-6)


FIELDS = {
    "cross_entropy": {"reduction"},
    "focal": {"gamma", "reduction"},
    "soft_dice": {"reduction", "smoothing", "classes"},
    "soft_jaccard": {"reduction", "smoothing", "classes"},
    "tversky": {"alpha", "beta", "reduction", "smoothing", "classes"},
    "lovasz": {"reduction", "classes"},
}


@pytest.mark.parametrize("exclusive", [False, True], ids=["sigmoid", "softmax"])
@pytest.mark.parametrize("name", table.PIXEL_LOSSES)
def test_every_loss_of_pixels_gets_its_fields(arrays, name, exclusive):
    fields = pixel_fields(name=name, alpha=0.3, gamma=1.0, smoothing=0.25, classes="all")
    loss = losses.make_pixel_loss(fields, exclusive)
    function = table.PIXEL_LOSSES[name]
    keywords = inspect.signature(function).parameters.values()
    named = {p.name for p in keywords if p.kind is p.KEYWORD_ONLY} - {"exclusive"}
    known = FIELDS.get(name, named)
    expected = {field: fields[field] for field in known} | {"exclusive": exclusive}
    if name == "soft_jaccard":
        function, expected = losses.tversky, expected | function.keywords
    assert (loss.func, loss.keywords) == (function, expected)
    assert jax.eval_shape(loss, *arrays).shape == (2,)


@pytest.mark.parametrize("exclusive", [False, True], ids=["sigmoid", "softmax"])
@pytest.mark.parametrize("name", table.PIXEL_LOSSES)
def test_every_loss_of_pixels_ignores_void(arrays, name, exclusive):
    loss = losses.make_pixel_loss(pixel_fields(name=name), exclusive)
    logits, truth, weight = arrays
    other = np.where(weight > 0, logits, 50.0).astype(np.float32)
    value = jax.jit(jax.value_and_grad(lambda x: loss(x, truth, weight).sum()))
    ours, gradient = jax.device_get(value(logits))
    assert float(value(other)[0]) == pytest.approx(float(ours), rel=1e-6)
    assert np.isfinite(gradient).all()
    assert np.any(gradient)
    assert not np.any(np.where(weight > 0, 0, gradient))


def test_a_loss_of_ones_own_gets_the_fields_that_it_names(arrays, own):
    fields = pixel_fields(name="0.5 my_losses:border + cross_entropy", width=3.0)
    ours = jax.jit(losses.make_pixel_loss(fields, exclusive=True))(*arrays)
    logits, truth, _ = arrays
    border = 3.0 * np.abs(logits - truth).mean(axis=(1, 2, 3)) ** 2
    entropy = values_of(losses.cross_entropy, *arrays, exclusive=True, reduction="batch")
    np.testing.assert_allclose(ours, 0.5 * border + entropy, rtol=1e-5)


def test_a_loss_of_classes_takes_them_as_exclusive_by_its_own_default(own):
    names = [*table.CLASS_LOSSES, "my_losses:margin", "my_losses:scalar"]
    assert [losses.is_exclusive(name) for name in names] == [True, False, False, True, False]
    rows, ones = np.eye(2), np.ones((2, 2))
    loss = losses.make_class_loss(class_fields(name="my_losses:margin", class_weights=(3.0, 1.0)))
    np.testing.assert_array_equal(jax.jit(loss)(rows, rows, ones), [3, 1])


NO_SUM = "or a sum of them with positive factors, such as 'cross_entropy \\+ 0.5 focal'"


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"name": "hinge"}, "loss.name is 'hinge'; it is one of cross_entropy, focal, soft_dice"),
        ({"name": "soft_dice + -1 focal"}, NO_SUM),
        ({"name": "soft_dice + x focal"}, NO_SUM),
        ({"name": "soft_dice +"}, r"loss.name is 'soft_dice \+'; it is one of"),
        ({"reduction": "pixel"}, "loss.reduction is 'pixel'; it is one of batch, image"),
        ({"name": "focal", "gamma": -1.0}, "loss.gamma is -1.0; it must be at least 0"),
        ({"smothing": 1.0}, "config has loss.smothing, .* they read alpha, .*, smoothing"),
        ({"exclusive": True}, "config has loss.exclusive, which no loss of this task reads"),
        ({"name": "my_losses:border"}, "the loss my_losses:border needs loss.width; set it in"),
        ({"name": "my_losses:edge"}, "but .*my_losses.py has no function edge"),
        ({"name": "no_losses:edge"}, "no_losses cannot be imported from .*: ModuleNotFoundError"),
        ({"name": "broken_losses:edge"}, "broken_losses cannot be .*: No module named 'there_is"),
        ({"name": ":edge"}, "':edge'; a function of yours is named as module:function"),
    ],
)
def test_mistakes_in_a_loss_of_pixels_are_named(own, values, message):
    with pytest.raises(UserError, match=message):
        losses.make_pixel_loss(pixel_fields(**values), exclusive=True)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"name": "mse"}, "loss.name is 'mse'; it is one of softmax_cross_entropy, binary_"),
        ({"label_smoothing": 1.0}, "label_smoothing is 1.0; it must be at least 0 and less than 1"),
        ({"name": "focal", "gamma": -1.0}, "loss.gamma is -1.0; it must be at least 0"),
        ({"reduction": "batch"}, "config has loss.reduction, .* they read gamma, name"),
    ],
)
def test_mistakes_in_a_loss_of_classes_are_named(values, message):
    with pytest.raises(UserError, match=message):
        losses.make_class_loss(class_fields(**values))


def test_mistakes_in_a_loss_of_images_are_named():
    with pytest.raises(UserError, match=r"loss.name is 'psnr'; it is one of mse, mae, ssim"):
        losses.make_image_loss({"name": "psnr"})
    with pytest.raises(UserError, match=r"config has loss.weight, .* they read name"):
        losses.make_image_loss({"name": "mse", "weight": 1.0})
