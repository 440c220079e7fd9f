"""Augmentation by two images of a batch, and by a hole: pure functions of a key."""

import jax
import jax.numpy as jnp

from vocjax.data.classes import VOID

AREAS, ASPECTS = (0.02, 0.33), (0.3, 3.3)  # of what is erased, as the paper has them


def mix(
    key: jax.Array, images: jax.Array, mixable: jax.Array, *, mixup: float, cutmix: float
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Mix each image with another one of the batch, by mixup or CutMix; one of the two is above 0.

    mixup is s a + (1 - s) b, s drawn from Beta(mixup, mixup) (Zhang et al. 2018, "mixup: beyond
    empirical risk minimization"). CutMix puts a box of b into a, which has the share 1 - s of the
    area, s from Beta(cutmix, cutmix), anywhere and cut off at the edges (Yun et al. 2019, "CutMix:
    regularization strategy to train strong classifiers"). With both each image draws which.

    Images are [batch, height, width, channels], `mixable` [batch] bool: a pair is mixed where both
    are. Returns the images, the partner [batch] of each and the share s [batch] of the image
    itself, 1 where it is not mixed; of a box it is the share of pixels.
    """
    n, height, width = images.shape[:3]
    partner_key, mixup_key, cutmix_key, place_key, which_key = jax.random.split(key, 5)
    partner = jax.random.permutation(partner_key, n)
    others, together = images[partner], mixable & mixable[partner]
    keep = jnp.ones((n, height, width, 1))  # how much of a pixel is the image's own
    if mixup:
        share = jax.random.beta(mixup_key, mixup, mixup, (n,))
        keep = jnp.broadcast_to(share[:, None, None, None], keep.shape)
    if cutmix:
        sides = jnp.sqrt(1 - jax.random.beta(cutmix_key, cutmix, cutmix, (n,)))
        centres = jax.random.uniform(place_key, (n, 2))
        inside = [
            abs((jnp.arange(side) + 0.5) / side - centres[:, axis, None]) < sides[:, None] / 2
            for axis, side in enumerate((height, width))
        ]
        boxes = 1.0 - (inside[0][:, :, None] & inside[1][:, None, :])[..., None]
        chosen = jax.random.bernoulli(which_key, 0.5 if mixup else 1.0, (n, 1, 1, 1))
        keep = jnp.where(chosen, boxes, keep)
    keep = jnp.where(together[:, None, None, None], keep, 1.0)
    return keep * images + (1 - keep) * others, partner, keep.mean(axis=(1, 2, 3))


def erase(
    key: jax.Array, image: jax.Array, mask: jax.Array, chance: float
) -> tuple[jax.Array, jax.Array]:
    """Fill a box with noise, at a chance (Zhong et al. 2020, "Random erasing data augmentation").

    Its area is drawn from `AREAS`, a share of the image's, its height to width from `ASPECTS`, and
    its place from all at which it is inside; a side that is longer than the image's is cut. The
    image is [height, width, channels] in [0, 1]; the mask [height, width] is void there.
    """
    happens_key, area_key, aspect_key, place_key, noise_key = jax.random.split(key, 5)
    area = jax.random.uniform(area_key, minval=AREAS[0], maxval=AREAS[1])
    low, high = jnp.log(jnp.array(ASPECTS))
    aspect = jnp.exp(jax.random.uniform(aspect_key, minval=low, maxval=high))
    shape = jnp.array(mask.shape)
    box = jnp.sqrt(area * shape.prod() * jnp.array([aspect, 1 / aspect]))
    box = jnp.minimum(jnp.rint(box).astype(int), shape)
    corner = jnp.floor(jax.random.uniform(place_key, (2,)) * (shape - box + 1)).astype(int)
    rows, columns = (
        (jnp.arange(n) >= corner[axis]) & (jnp.arange(n) < corner[axis] + box[axis])
        for axis, n in enumerate(mask.shape)
    )
    hole = jnp.outer(rows, columns) & jax.random.bernoulli(happens_key, chance)
    noise = jax.random.uniform(noise_key, image.shape)
    return jnp.where(hole[..., None], noise, image), jnp.where(hole, VOID, mask)
