"""Classifiers without gradient steps through a network: the baselines of task 2."""

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from vocjax.models import pca
from vocjax.models.logistic import Linear
from vocjax.tasks.linear_codes import fit_pca
from vocjax.tasks.task import Baseline, Batch, Outputs, Targets, summed

COMPONENTS = 16
SIDE = 64  # pixels of the images that PCA sees
STRENGTHS = 10.0 ** np.arange(-3, 4)  # of the ridge, in units of the codes' mean squared norm


def baselines(
    targets: Callable[[Batch], Targets],
    exclusive: bool,
    codes: Callable[[Batch], jax.Array],
    *,
    joint: bool,
) -> Mapping[str, Baseline]:
    """Return the baselines of a classification by name.

    `exclusive` says whether logits are of a softmax over the classes, or of a sigmoid each;
    `codes(batch)` are [batch, numbers]. `joint` outputs need a reconstruction: the mean colour.
    """

    def outputs(logits: jax.Array, batch: Batch) -> Outputs:
        mean = jnp.broadcast_to(batch["image"].mean((1, 2), keepdims=True), batch["image"].shape)
        return {"logits": logits} | ({"reconstruction": mean} if joint else {})

    def class_sums(batch: Batch) -> tuple[jax.Array, jax.Array]:
        found = targets(batch)
        weight = found["known"] * batch["valid"][:, None]
        return (found["present"] * weight).sum(axis=0), weight.sum(axis=0)

    def frequency(statistic: Any, batch: Batch) -> Outputs:
        present, counted = statistic
        # Half an image keeps the logit finite for a class that is always or never there.
        others = 0.0 if exclusive else jnp.log(counted - present + 0.5)
        logits = jnp.log(present + 0.5) - others
        return outputs(jnp.broadcast_to(logits, (len(batch["image"]), logits.size)), batch)

    def gather(
        batches: Iterator[Batch], features: Callable[[Batch], jax.Array]
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        held = ((features(batch), targets(batch)) for batch in batches)
        rows = [(x, found["present"], found["known"]) for x, found in held]
        x, truth, weight = map(np.concatenate, zip(*rows, strict=True))
        return x.astype(np.float64), truth.astype(np.float64), weight.astype(np.float64)

    def linear(fit: Callable[..., Linear], features: Callable[[Batch], jax.Array]) -> Baseline:
        return Baseline(
            lambda batches: fit(*gather(batches, features), exclusive),
            lambda fitted, batch: outputs(fitted(features(batch)), batch),
        )

    def pca_codes(state: pca.PCAState, batch: Batch) -> jax.Array:
        return pca.encode(state, flat(small(batch["image"])))

    def fit_codes(batches: Iterator[Batch]) -> tuple[pca.PCAState, Linear]:
        # Two passes over what comes once: held, and therefore small.
        held = [batch | {"image": small(batch["image"])} for batch in batches]
        state = fit_pca(COMPONENTS, iter(held))
        rows = gather(iter(held), partial(pca_codes, state))
        return state, logistic_regression(*rows, exclusive)

    def outputs_of_codes(fitted: tuple[pca.PCAState, Linear], batch: Batch) -> Outputs:
        state, logits = fitted
        return outputs(logits(pca_codes(state, batch)), batch)

    codes_name = f"logistic regression on {COMPONENTS} PCA codes"
    return {
        "majority class (frequency)": Baseline(summed(class_sums), frequency),
        "logistic regression on mean colour": linear(logistic_regression, mean_colour),
        codes_name: Baseline(fit_codes, outputs_of_codes),
        "ridge probe on the codes before training": linear(ridge_probe, codes),
    }


def mean_colour(batch: Batch) -> jax.Array:
    """Return the mean of each channel, [batch, channels]."""
    return batch["image"].mean(axis=(1, 2))


def small(images: jax.Array) -> jax.Array:
    """Shrink images [batch, height, width, channels] to `SIDE` pixels, if they are larger."""
    if images.shape[1] <= SIDE:
        return images
    return jax.image.resize(images, (len(images), SIDE, SIDE, images.shape[-1]), "linear")


def flat(arrays: jax.Array) -> jax.Array:
    """[batch, ...] to [batch, numbers] float32."""
    return arrays.reshape(arrays.shape[0], -1).astype(jnp.float32)


def logistic_regression(
    features: np.ndarray, truth: np.ndarray, weight: np.ndarray, exclusive: bool
) -> Linear:
    """Fit scikit-learn's logistic regression (L2 strength 1) to standardised features.

    Exclusive classes have one softmax, to the first class present; others one sigmoid each.
    Shapes: `features` [n, numbers], `truth` (0 or 1) and `weight` (0 leaves out) [n, classes].
    """
    from sklearn.linear_model import LogisticRegression  # here, as importing it takes a second

    mean, deviation = features.mean(axis=0), features.std(axis=0)
    scale = np.where(deviation > 0, deviation, 1)
    scaled = (features - mean) / scale

    def solve(rows: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        model = LogisticRegression(max_iter=1000).fit(scaled[rows], labels[rows])
        return model.coef_, model.intercept_, model.classes_

    classes = truth.shape[1]
    kernel, bias = np.zeros((features.shape[1], classes)), _log_odds(truth, weight, exclusive)
    present = truth * (weight > 0)
    if exclusive:
        rows, labels = np.any(present, axis=1), np.argmax(present, axis=1)
        if len(np.unique(labels[rows])) > 1:
            coefficients, intercepts, found = solve(rows, labels)
            if len(found) == 2:  # scikit-learn then has the second's logit alone
                coefficients = np.concatenate([0 * coefficients, coefficients])
                intercepts = np.concatenate([0 * intercepts, intercepts])
            kernel[:, found], bias[found] = coefficients.T, intercepts
            bias[np.setdiff1d(np.arange(classes), found)] = intercepts.min() - np.log(rows.sum())
    else:
        for column in range(classes):
            rows = weight[:, column] > 0
            if len(np.unique(truth[rows, column])) > 1:
                coefficients, intercepts, _ = solve(rows, truth[:, column])
                kernel[:, column], bias[column] = coefficients[0], intercepts[0]
    kernel /= scale[:, None]
    return Linear(*(jnp.asarray(x, jnp.float32) for x in (kernel, bias - mean @ kernel)))


def _log_odds(truth: np.ndarray, weight: np.ndarray, exclusive: bool) -> np.ndarray:
    counted = weight > 0
    present, total = (truth * counted).sum(axis=0), counted.sum(axis=0)
    return np.log(present + 0.5) - (0 if exclusive else np.log(total - present + 0.5))


def ridge_probe(
    features: np.ndarray, truth: np.ndarray, weight: np.ndarray, exclusive: bool
) -> Linear:
    """Fit a ridge regression of the labels in closed form, and turn its scores into logits.

    The strength, one for all classes, has the smallest leave-one-out error, which is closed, too
    (Hastie et al. 2009, "The elements of statistical learning", 7.52). A logistic regression on the
    leave-one-out scores gives logits; scores without information give the class's frequency.
    Excluded labels count as their class's mean. Shapes as in `logistic_regression`.
    """
    n = len(features)
    mean = features.mean(axis=0)
    centred = features - mean
    counted = weight > 0
    level = (truth * counted).sum(axis=0) / np.maximum(counted.sum(axis=0), 1)
    labels = np.where(counted, truth - level, 0.0)
    # By the Gram matrix, because most codes have more numbers than there are images.
    values, vectors = np.linalg.eigh(centred @ centred.T)
    values = values.clip(0)
    projected = vectors.T @ labels

    def left_out_at(strength: float) -> np.ndarray:
        shrink = values / (values + strength)
        fitted = vectors @ (shrink[:, None] * projected)
        leverage = np.einsum("ik,k->i", vectors**2, shrink)[:, None] + 1 / n
        return labels - (labels - fitted) / np.maximum(1 - leverage, 1e-6)

    def error_at(strength: float) -> float:
        return ((labels - left_out_at(strength)) ** 2 * counted).sum()

    strength = min(STRENGTHS * max(values.sum() / n, 1e-12), key=error_at)
    left_out = left_out_at(strength)
    dual = vectors @ (projected / (values + strength)[:, None])
    kernel = centred.T @ dual
    offset = level - mean @ kernel
    return _as_logits(kernel, offset, left_out + level, truth, weight, exclusive)


def _as_logits(
    kernel: np.ndarray,
    offset: np.ndarray,
    scores: np.ndarray,
    truth: np.ndarray,
    weight: np.ndarray,
    exclusive: bool,
) -> Linear:
    """Scale each class's score to a logit by logistic regression on the scores given."""
    columns = [
        logistic_regression(scores[:, [k]], truth[:, [k]], weight[:, [k]], exclusive=False)
        for k in range(truth.shape[1])
    ]
    slope = np.array([float(c.kernel[0, 0]) for c in columns])
    shift = np.array([float(c.bias[0]) for c in columns])
    # Scores without information run against the labels: each image lowers its class's mean by being
    # left out. The frequency is left then.
    shift = np.where(slope > 0, shift, _log_odds(truth, weight, exclusive=False))
    slope = slope.clip(0)
    # A softmax of one sigmoid's logits each: for two classes twice as steep as either.
    factor = 1 / 2 if exclusive and len(columns) == 2 else 1.0
    linear = factor * kernel * slope, factor * (offset * slope + shift)
    return Linear(*(jnp.asarray(x, jnp.float32) for x in linear))
