"""Mixup, CutMix and random erasing, by their key alone."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vocjax.data.classes import VOID
from vocjax.data.mix import AREAS, ASPECTS, erase, mix

N, HEIGHT, WIDTH = 300, 20, 12


@functools.cache
def mixed(**parameters):
    """Images whose pixels are their numbers; every seventh isn't to be mixed."""
    images = jnp.broadcast_to(
        jnp.arange(N, dtype=jnp.float32)[:, None, None, None], (N, HEIGHT, WIDTH, 1)
    )
    mixable = jnp.arange(N) % 7 != 0
    run = jax.jit(functools.partial(mix, **parameters))
    return jax.device_get(run(jax.random.key(0), images, mixable))


def test_mixup_adds_two_images_by_their_shares():
    images, partner, share = mixed(mixup=0.4, cutmix=0.0)
    own = np.arange(N)
    expected = share * own + (1 - share) * partner
    np.testing.assert_allclose(images[:, 0, 0, 0], expected, rtol=1e-4, atol=1e-3)
    assert np.ptp(images, axis=(1, 2, 3)).max() < 1e-3
    assert sorted(partner) == own.tolist()
    still = (own % 7 == 0) | (partner % 7 == 0)
    np.testing.assert_array_equal(share[still], 1)
    drawn = share[~still & (partner != own)]
    assert drawn.mean() == pytest.approx(0.5, abs=0.08)
    assert drawn.var() == pytest.approx(1 / (4 * (2 * 0.4 + 1)), abs=0.03)  # Beta(.4, .4)'s


def test_cutmix_puts_in_a_box_of_the_partner_and_counts_its_pixels():
    images, partner, share = mixed(mixup=0.0, cutmix=1.0)
    shares = []
    for i, (image, other) in enumerate(zip(images[..., 0], partner, strict=True)):
        if other == i:
            continue
        foreign = ~np.isclose(image, i)
        assert np.allclose(image[foreign], other)
        assert share[i] == pytest.approx(1 - foreign.mean(), abs=1e-6)
        if foreign.any():
            rows, columns = foreign.any(axis=1), foreign.any(axis=0)
            np.testing.assert_array_equal(foreign, np.outer(rows, columns))
            assert rows.sum() == np.ptp(np.flatnonzero(rows)) + 1
            shares.append(foreign.mean())
    assert len(shares) > 150 and min(shares) < 0.05 and max(shares) > 0.7


def test_with_both_an_image_draws_which():
    images, partner, share = mixed(mixup=1.0, cutmix=1.0)
    changed = (share < 1) & (partner != np.arange(N))
    even = np.ptp(images, axis=(1, 2, 3)) < 1e-3
    assert 0.35 < even[changed].mean() < 0.7


def test_a_box_is_erased_with_its_mask_at_a_chance():
    image, mask = jnp.full((40, 60, 3), 2.0), jnp.zeros((40, 60), jnp.uint8)
    run = jax.jit(jax.vmap(lambda key: erase(key, image, mask, 0.25)))
    images, masks = jax.device_get(run(jax.random.split(jax.random.key(0), 400)))
    np.testing.assert_array_equal(masks == VOID, (images < 2).all(axis=-1))
    happened = (masks == VOID).any(axis=(1, 2))
    assert 70 < happened.sum() < 130
    areas, aspects = [], []
    for hole in masks[happened] == VOID:
        rows, columns = hole.any(axis=1), hole.any(axis=0)
        np.testing.assert_array_equal(hole, np.outer(rows, columns))
        areas.append(hole.mean())
        if rows.sum() < 40 and columns.sum() < 60:
            aspects.append(rows.sum() / columns.sum())
    assert AREAS[0] * 0.8 < min(areas) < 0.06 and 0.25 < max(areas) < AREAS[1] * 1.1
    assert ASPECTS[0] * 0.85 < min(aspects) < 0.5 and 2 < max(aspects) < ASPECTS[1] * 1.15
    assert 0.4 < images[happened][masks[happened] == VOID].mean() < 0.6
