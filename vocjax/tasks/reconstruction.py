"""Task 1: reconstruct an image from a short code; PCA, linear and convolutional autoencoders."""

import functools
import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from jax.typing import DTypeLike
from ml_collections import ConfigDict
from PIL import Image

from vocjax import losses
from vocjax.errors import UserError, check_range
from vocjax.metrics import streaming
from vocjax.models import dct, linear, pca, transform
from vocjax.models.autoencoder import ConvAutoencoder
from vocjax.models.layers import STYLE_FIELDS, check_fields
from vocjax.tasks import linear_codes
from vocjax.tasks.encoders import ENCODERS, encoder_and_decoder
from vocjax.tasks.task import (
    Baseline,
    Batch,
    Description,
    Outputs,
    Task,
    Variables,
    applier,
    codec_of,
    compute_dtype,
    image_shape,
    initializer,
    summed,
    thumbnails,
)


def build_model(config: ConfigDict) -> nn.Module:
    """Return the autoencoder that `config.model` describes."""
    shape, dtype = image_shape(config), compute_dtype(config)
    model = config.model
    if model.name == "pca":
        check_fields(model, ("components", "solver"))
        _check_components(config)
        return pca.PCA(model.components, shape)
    if model.name == "linear_autoencoder":
        check_fields(model, ("components", "tied"))
        _check_components(config)
        return linear.LinearAutoencoder(model.components, shape, model.tied, dtype)
    if model.name == "autoencoder":
        check_fields(model, (*ENCODERS, "decoder", *STYLE_FIELDS))
        return ConvAutoencoder(*encoder_and_decoder(config, config.data.channels))
    if model.name == "transform_autoencoder":
        return _transform_autoencoder(config, dtype)
    raise UserError(
        f"model.name is {model.name!r}; reconstruction has pca, linear_autoencoder, autoencoder, "
        "transform_autoencoder."
    )


def _check_components(config: ConfigDict) -> None:
    components, numbers = config.model.components, math.prod(image_shape(config))
    if not 1 <= components <= numbers:
        raise UserError(
            f"model.components is {components}; it must be at least 1 and at most {numbers}, the "
            "numbers in an image."
        )


def _transform_autoencoder(config: ConfigDict, dtype: DTypeLike) -> nn.Module:
    fields = ("components", "width", "encoder_blocks", "decoder_blocks", "patch", "refinements")
    check_fields(config.model, fields)
    shape, values = image_shape(config), {field: config.model[field] for field in fields}
    for field, value in values.items():
        least = 0 if field.endswith(("blocks", "refinements")) else 1
        if value < least:
            raise UserError(f"model.{field} is {value}; it must be at least {least}.")
    _check_components(config)
    if config.data.size % config.model.patch:
        raise UserError(
            f"data.size={config.data.size} is no multiple of model.patch={config.model.patch}."
        )
    return transform.TransformAutoencoder(image_shape=shape, dtype=dtype, **values)


def make_task(config: ConfigDict) -> Task:
    """Build the task of a config; `UserError` where its fields don't fit together."""
    model = build_model(config)
    fields = config.loss.to_dict()
    noise = fields.pop("noise", 0.0)
    loss = losses.make_image_loss(fields)
    if "ssim" in config.loss.name.split() and config.data.size < losses.SSIM_WINDOW:
        raise UserError(
            f"data.size is {config.data.size}; the loss ssim needs {losses.SSIM_WINDOW} pixels."
        )
    check_range("loss.noise", noise, 0)
    codec = codec_of(model, config)
    is_pca = config.model.name == "pca"
    if is_pca and config.epochs:
        raise UserError(f"epochs is {config.epochs}; PCA has a closed form: set it to 0.")
    baselines = {
        "mean image": Baseline(summed(_image_sum), _mean_image),
        # n images have no more than n - 1 components.
        f"PCA, at most {codec.numbers} components": Baseline(
            functools.partial(linear_codes.fit_pca, codec.numbers), linear_codes.outputs_of(pca)
        ),
        f"DCT, {codec.numbers} coefficients": Baseline(
            functools.partial(linear_codes.fit_dct, codec.numbers), linear_codes.outputs_of(dct)
        ),
    }
    if is_pca:
        del baselines[f"PCA, at most {codec.numbers} components"]
    return Task(
        init=initializer(model, config),
        fit=fitter(config, codec.numbers),
        apply=denoising(applier(model, ("image", "code")), noise),
        loss=lambda outputs, batch: loss(outputs["image"], batch["image"]),
        metrics=measure,
        summary=summary,
        keep=keep,
        baselines=baselines,
        codec=codec,
        inspect=linear_codes.INSPECTIONS.get(config.model.name),
    )


def fitter(
    config: ConfigDict, numbers: int
) -> Callable[[Variables, Iterator[Batch]], Variables] | None:
    """Return the closed form of a model, or of the part of it that has one; else None."""
    if config.model.name == "pca":
        solvers, name = linear_codes.SOLVERS, config.model.solver
        if name not in solvers:
            raise UserError(f"model.solver is {name!r}; it is one of {', '.join(solvers)}.")

        def fit(variables: Variables, batches: Iterator[Batch]) -> Variables:
            return variables | {"params": solvers[name](batches, numbers)._asdict()}

        return fit
    if config.model.name == "linear_autoencoder":

        def centre(variables: Variables, batches: Iterator[Batch]) -> Variables:
            total, count = summed(_image_sum)(batches)
            return linear.with_mean(variables, total / count)

        return centre
    if config.model.name == "transform_autoencoder":
        return lambda variables, batches: transform.with_code(
            variables, linear_codes.fit_dct(numbers, batches)
        )
    return None


def denoising(
    apply: Callable[..., tuple[Outputs, Any]], deviation: float
) -> Callable[..., tuple[Outputs, Any]]:
    """Add Gaussian noise to what a model sees in training; its target stays clean.

    Source: Vincent et al. 2008, "Extracting and composing robust features with denoising
    autoencoders". `deviation` is in units of the intensity, 0 for none.
    """

    def noisy(
        variables: Variables, batch: Batch, train: bool, key: jax.Array
    ) -> tuple[Outputs, Any]:
        if train and deviation:
            noise_key, key = jax.random.split(key)
            noise = deviation * jax.random.normal(noise_key, batch["image"].shape)
            batch = batch | {"image": batch["image"] + noise}
        return apply(variables, batch, train, key)

    return noisy


def errors(outputs: Outputs, batch: Batch) -> dict[str, jax.Array]:
    """Return MSE, MAE, PSNR (dB) and SSIM of each image, [batch]; intensities are in [0, 1].

    SSIM is left out for images smaller than its window, 11 pixels.
    """
    functions = {
        "mse": losses.mse,
        "mae": losses.mae,
        "psnr": streaming.psnr,
        "ssim": losses.structural_similarity,
    }
    if min(batch["image"].shape[1:3]) < losses.SSIM_WINDOW:
        del functions["ssim"]
    return {name: f(outputs["image"], batch["image"]) for name, f in functions.items()}


def measure(outputs: Outputs, batch: Batch) -> dict[str, streaming.Mean]:
    """Sum the errors of the valid images."""
    return {
        name: streaming.mean(values, batch["valid"])
        for name, values in errors(outputs, batch).items()
    }


def summary(sums: dict[str, streaming.Mean]) -> dict[str, float]:
    """Divide the sums: the images' mean errors, and the PSNR of the data set's MSE."""
    means = {name: streaming.value(s) for name, s in sums.items()}
    mse = means["mse"]
    return means | {"psnr_of_set": -10 * math.log10(mse) if mse else math.inf}


def keep(outputs: Outputs, batch: Batch) -> tuple[Outputs, Outputs]:
    """Keep every code [batch, numbers], error and thumbnail; show images and reconstructions."""
    code, image = outputs["code"].astype(jnp.float32), batch["image"]
    return (
        {
            "code": code.reshape(code.shape[0], -1),
            "thumbnail": thumbnails(image),
            **errors(outputs, batch),
        },
        {"image": image, "reconstruction": outputs["image"].clip(0, 1)},
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
    config: ConfigDict,
    results: Mapping[str, Any],
) -> Description:
    """Return errors, and what the model saw beside what it gave, [height, 2 * width].

    `outputs` are one example's; `image` [height, width, channels] float32 is the model's input,
    `photo` the file it was made from.
    """
    error = outputs["image"] - image
    pair = np.concatenate([image, outputs["image"].clip(0, 1)], axis=1)
    pair = np.broadcast_to(pair, (*pair.shape[:2], 3))
    return Description(
        {"mse": float((error**2).mean()), "mae": float(np.abs(error).mean())},
        {"": Image.fromarray(np.round(255 * pair).astype(np.uint8))},
    )
