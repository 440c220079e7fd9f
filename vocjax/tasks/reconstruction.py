"""Task 1: reconstruct an image from a short code; PCA, linear and convolutional autoencoders."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from matplotlib.figure import Figure
from ml_collections import ConfigDict

from vocjax import figures as draw
from vocjax import losses, metrics
from vocjax.data.splits import class_columns
from vocjax.errors import UserError
from vocjax.models import pca
from vocjax.models.autoencoder import ConvAutoencoder, Decoder, Encoder, LinearAutoencoder
from vocjax.tasks.task import (
    Baseline,
    Batch,
    Outputs,
    Task,
    Variables,
    applier,
    check_encoder_and_decoder,
    compute_dtype,
    group_by_class,
    image_shape,
    initializer,
)

LOSSES = {"mse": losses.mse, "mae": losses.mae}


def build_model(config: ConfigDict) -> nn.Module:
    """Return the autoencoder that `config.model` describes."""
    shape, dtype = image_shape(config), compute_dtype(config)
    model = config.model
    if model.name in ("pca", "linear_autoencoder") and model.components < 1:
        raise UserError(f"model.components is {model.components}; it must be at least 1.")
    if model.name == "pca":
        return pca.PCA(model.components, shape)
    if model.name == "linear_autoencoder":
        return LinearAutoencoder(model.components, shape, model.kernel_init, dtype)
    if model.name == "autoencoder":
        check_encoder_and_decoder(config)
        shared = {"kernel_init": model.kernel_init, "dtype": dtype}
        return ConvAutoencoder(
            Encoder(tuple(model.encoder), **shared),
            Decoder(tuple(model.decoder), config.data.channels, **shared),
        )
    raise UserError(
        f"model.name is {model.name!r}; reconstruction has pca, linear_autoencoder, autoencoder."
    )


def make_task(config: ConfigDict) -> Task:
    """Build the task of a config; `UserError` where its fields don't fit together."""
    model = build_model(config)
    if config.loss.name not in LOSSES:
        raise UserError(f"loss.name is {config.loss.name!r}; it is one of {', '.join(LOSSES)}.")
    loss = LOSSES[config.loss.name]

    def fit(images: jax.Array) -> Variables:
        state = pca.fit(images.reshape(images.shape[0], -1), config.model.components)
        return {"params": dict(state._asdict()), "batch_stats": {}}

    return Task(
        init=initializer(model, config),
        fit=fit if config.model.name == "pca" else None,
        apply=applier(model, ("image", "code")),
        loss=lambda outputs, batch: loss(outputs["image"], batch["image"]),
        metrics=measure,
        summary=lambda sums: {name: metrics.value(s) for name, s in sums.items()},
        keep=keep,
        baselines={"mean image": Baseline(_image_sum, _mean_image)},
    )


def measure(outputs: Outputs, batch: Batch) -> dict[str, metrics.Mean]:
    """Sum MSE, MAE and PSNR per image; values in [0, 1], PSNR in dB."""
    of_example = {"mse": losses.mse, "mae": losses.mae, "psnr": metrics.psnr}
    return {
        name: metrics.mean(function(outputs["image"], batch["image"]), batch["valid"])
        for name, function in of_example.items()
    }


def keep(outputs: Outputs, batch: Batch) -> tuple[Outputs, Outputs]:
    """Keep every code [batch, numbers]; show images and reconstructions."""
    code = outputs["code"].astype(jnp.float32)
    return (
        {"code": code.reshape(code.shape[0], -1)},
        {"image": batch["image"], "reconstruction": outputs["image"].clip(0, 1)},
    )


def _image_sum(batch: Batch) -> tuple[jax.Array, jax.Array]:
    return jnp.einsum("b,bhwc->hwc", batch["valid"], batch["image"]), batch["valid"].sum()


def _mean_image(statistic: Any, batch: Batch) -> Outputs:
    total, count = statistic
    return {"image": jnp.broadcast_to(total / count, batch["image"].shape)}


def describe(
    outputs: Mapping[str, np.ndarray],
    image: np.ndarray,
    photo: np.ndarray,
    config: Mapping[str, Any],
) -> tuple[dict[str, float], np.ndarray]:
    """Return errors, and what the model saw beside what it gave, uint8 [height, 2 * width, 3].

    `outputs` are one example's; `image` [height, width, channels] float32 is the model's input,
    `photo` the file it was made from.
    """
    error = outputs["image"] - image
    pair = np.concatenate([image, outputs["image"].clip(0, 1)], axis=1)
    pair = np.broadcast_to(pair, (*pair.shape[:2], 3))
    return (
        {"mse": float((error**2).mean()), "mae": float(np.abs(error).mean())},
        np.round(255 * pair).astype(np.uint8),
    )


def figures(samples: Mapping[str, np.ndarray], config: Mapping[str, Any]) -> dict[str, Figure]:
    """Draw reconstructions and the latent space from what a run kept."""
    classes = tuple(config["data"]["classes"])
    rows = {"validation image": samples["image"], "reconstruction": samples["reconstruction"]}
    result = {"Reconstructions": draw.image_rows(rows)}
    codes = np.concatenate([samples["train/code"], samples["val/code"]])
    if min(codes.shape) >= 2:
        labels = np.concatenate([samples["train/labels"], samples["val/labels"]])
        centred = codes - samples["train/code"].mean(axis=0)
        _, _, axes = np.linalg.svd(centred[: len(samples["train/code"])], full_matrices=False)
        result["Codes along their first two principal directions"] = draw.scatter(
            centred @ axes[:2].T,
            group_by_class(labels, class_columns(classes)),
            classes or ("image",),
            held_out=np.repeat(
                [False, True], [len(samples["train/code"]), len(samples["val/code"])]
            ),
        )
    return result
