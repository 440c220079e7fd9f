"""The auxiliary head: what it reads, its loss, and what is settled of a frozen encoder."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from random_values import draw, draw_variables

from vocjax import losses
from vocjax.errors import UserError
from vocjax.models import build
from vocjax.models.segmenter import enlarged
from vocjax.tasks import make_task


def test_its_scores_are_of_an_inner_map_and_join_the_loss(tiny_config):
    config = tiny_config("segmentation_fcn", **{"model.auxiliary": 2, "loss.auxiliary": 0.25})
    model = build.segmenter(config, 21)
    images = jnp.abs(draw(2, 16, 16, 3)) % 1
    variables = {"batch_stats": {}} | draw_variables(model, images)
    logits, _, scores = jax.jit(model.apply)(variables, images)

    own = model.bind(variables)
    strides = own.encoder.strides
    inner = own.encoder.stages(images)[[n for n, s in strides.items() if s == 2][-1]]
    expected = enlarged(own.auxiliary(inner), 2, 16, 16)
    np.testing.assert_allclose(scores, expected, rtol=1e-4, atol=1e-5)
    assert np.abs(np.asarray(scores) - logits).max() > 1e-3

    task = make_task(config)
    mask = jnp.asarray(np.random.default_rng(0).integers(0, 21, (2, 16, 16)), jnp.uint8)
    batch = {"image": images, "mask": mask, "valid": jnp.ones(2)}
    outputs, _ = task.apply(variables, batch, False, jax.random.key(0))
    targets = task.targets(batch)
    loss = losses.make_pixel_loss(config.loss, exclusive=True)
    each = [loss(x, targets["wanted"], targets["pixel_weight"]) for x in (logits, scores)]
    np.testing.assert_allclose(task.loss(outputs, targets), each[0] + each[1] / 4, rtol=1e-4)
    assert {2, 4} <= {strides[name] for name in model.settled(frozenset({"encoder"}))}


@pytest.mark.parametrize(
    ("name", "stride", "message"),
    [
        ("segmentation_dice", 2, "mirror has no auxiliary head"),
        ("segmentation_fcn", 64, "model.auxiliary is 64"),
    ],
)
def test_wrong_strides_are_refused(tiny_config, name, stride, message):
    with pytest.raises(UserError, match=message):
        make_task(tiny_config(name, **{"model.auxiliary": stride}))
