"""Task 1: reconstruct an image from a short code; PCA, linear and convolutional autoencoders."""

import functools
import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from ml_collections import ConfigDict
from PIL import Image

from vocjax import losses
from vocjax.errors import UserError, check_choice, check_range
from vocjax.latent import Codec, survey
from vocjax.metrics import streaming
from vocjax.models import build, dct, linear, pca, stacked_pca, transform
from vocjax.models.fields import image_shape
from vocjax.tasks import linear_codes, task


def make_task(config: ConfigDict, model: nn.Module | None = None) -> task.Task:
    """Build the task of a config; `UserError` where its fields don't fit together.

    A `model` of your own takes the place of the config's: a Linen module that maps images to
    (reconstruction, code), with the methods `encode` and `decode`.
    """
    own, model = model is not None, model or build.autoencoder(config)
    fields = config.loss.to_dict()
    noise = fields.pop("noise", 0.0)
    check_range("loss.noise", noise, 0)
    loss = losses.make_image_loss(fields)
    least = min(image_shape(config)[:2])
    if "ssim" in config.loss.name.split() and least < losses.SSIM_WINDOW:
        raise UserError(f"data.size is {least}; the loss ssim needs {losses.SSIM_WINDOW} pixels.")
    codec = codec_of(model, config)
    fit = None if own else closed_form(config, codec.numbers)
    if config.model.name == "pca" and config.epochs:
        raise UserError(f"epochs is {config.epochs}; PCA has a closed form: set it to 0.")
    return task.Task(
        init=task.initializer(model, config),
        fit=fit and (lambda variables, batches, ids: (fit(variables, batches), {})),
        apply=functools.partial(apply, model, noise),
        targets=lambda batch: {"image": batch["image"], "weight": batch["valid"]},
        loss=lambda outputs, targets: loss(outputs["image"], targets["image"]),
        measure=measure,
        summary=summary,
        finish=functools.partial(finish, config.model.name, codec),
        inspect=linear_codes.INSPECTIONS.get(config.model.name),
        baselines=baselines(codec.numbers, with_pca=config.model.name != "pca"),
    )


def closed_form(
    config: ConfigDict, numbers: int
) -> Callable[[task.Variables, Iterator[task.Batch]], task.Variables] | None:
    """Return the fit of a model, or a part of it, that has a closed form, else None."""
    model = config.model
    if model.name == "pca":
        check_choice("model.solver", model.solver, linear_codes.SOLVERS)
        solve = linear_codes.SOLVERS[model.solver]
        return lambda variables, batches: variables | {"params": solve(batches, numbers)._asdict()}
    if model.name == "linear_autoencoder":

        def centre(variables: task.Variables, batches: Iterator[task.Batch]) -> task.Variables:
            total, count = task.summed(_image_sum)(batches)
            return linear.with_mean(variables, total / count)

        return centre
    if model.name == "transform_autoencoder":
        return lambda variables, batches: transform.with_code(
            variables, linear_codes.fit_dct(numbers, batches)
        )
    if model.name == "autoencoder" and stacked_pca.begins_with_pca(config):

        def start(variables: task.Variables, batches: Iterator[task.Batch]) -> task.Variables:
            images = linear_codes.first_images(batches, stacked_pca.IMAGES)
            fitted = jax.jit(stacked_pca.fit, static_argnums=1)(images, model.encoder)
            return variables | {"params": stacked_pca.with_stages(variables["params"], fitted)}

        return start
    return None


def baselines(numbers: int, *, with_pca: bool) -> Mapping[str, task.Baseline]:
    """Return the mean image, and PCA and the cosine transform with codes of as many numbers."""
    mean = task.Baseline(task.summed(_image_sum), _mean_image)
    of_pca, of_dct = (
        task.Baseline(functools.partial(fit, numbers), linear_codes.outputs_of(model))
        for fit, model in ((linear_codes.fit_pca, pca), (linear_codes.fit_dct, dct))
    )
    # n images have no more than n - 1 components
    of_linear = {f"PCA, at most {numbers} components": of_pca} if with_pca else {}
    return {"mean image": mean, **of_linear, f"DCT, {numbers} coefficients": of_dct}


def apply(
    model: nn.Module,
    noise: float,
    variables: task.Variables,
    batch: task.Batch,
    train: bool,
    key: jax.Array,
) -> tuple[task.Outputs, Any]:
    """Return reconstruction and code of a batch's images, and the batch statistics after it.

    In training, Gaussian noise of the deviation `noise`, in units of the intensity, is added to
    what the model sees; its target stays clean. Source: Vincent et al. 2008, "Extracting and
    composing robust features with denoising autoencoders".
    """
    images = batch["image"]
    if train and noise:
        noise_key, key = jax.random.split(key)
        images = images + noise * jax.random.normal(noise_key, images.shape)
    (image, code), updates = model.apply(
        variables,
        images,
        train=train,
        valid=batch["valid"],
        rngs={"dropout": key},
        mutable=["batch_stats"] if train else [],
    )
    return {"image": image, "code": code}, updates.get("batch_stats", variables["batch_stats"])


def errors(outputs: task.Outputs, image: jax.Array) -> dict[str, jax.Array]:
    """Return MSE, MAE, PSNR (dB) and, from 11 pixels on, SSIM of each image, [batch]."""
    functions = {"mse": losses.mse, "mae": losses.mae, "psnr": streaming.psnr}
    if min(image.shape[1:3]) >= losses.SSIM_WINDOW:
        functions["ssim"] = losses.structural_similarity
    return {name: f(outputs["image"], image) for name, f in functions.items()}


def measure(outputs: task.Outputs, targets: task.Targets) -> task.Measures:
    """Sum the errors; keep every image's errors, code [batch, numbers] and thumbnail."""
    image = targets["image"]
    found = errors(outputs, image)
    kept = {"thumbnail": task.thumbnails(image), **found}
    if "code" in outputs:
        code = outputs["code"].astype(jnp.float32)
        kept["code"] = code.reshape(code.shape[0], -1)
    sums = {name: streaming.mean(values, targets["weight"]) for name, values in found.items()}
    shown = {"image": image, "reconstruction": outputs["image"].clip(0, 1)}
    return task.Measures(sums, {}, kept, shown)


def summary(sums: dict[str, streaming.Mean], rows: Mapping[str, np.ndarray]) -> dict[str, float]:
    """Divide the sums: the images' mean errors, and the PSNR of the data set's MSE."""
    means = {name: streaming.value(s) for name, s in sums.items()}
    mse = means["mse"]
    return means | {"psnr_of_set": -10 * math.log10(mse) if mse else math.inf}


def finish(name: str, codec: Codec, trained: task.Trained) -> task.Final:
    """Return the code's length, a survey of the latent space, and components of linear codes."""
    values = {"code": codec.numbers}
    if not trained.artifacts:
        return task.Final(values)
    samples = {f"{split}/code": trained.kept(split)["code"] for split in ("train", "val")}
    arrays = survey(codec, trained.variables, samples | dict(trained.shown), trained.key)
    if name in linear_codes.COMPONENTS:
        found = jax.jit(linear_codes.COMPONENTS[name])(trained.variables, trained.fitted)
        arrays |= {f"model/{of}": np.asarray(array) for of, array in found.items()}
    return task.Final(values, arrays=arrays)


def codec_of(model: nn.Module, config: ConfigDict) -> Codec:
    """Return the codec of a model; `UserError` unless it has the methods `encode` and `decode`."""
    if not all(callable(getattr(model, name, None)) for name in ("encode", "decode")):
        raise UserError(
            f"{type(model).__name__} can't be trained to reconstruct: a network of this task needs "
            "the methods `encode` (images to codes) and `decode` (codes to images)."
        )
    images = jnp.zeros((1, *image_shape(config)))

    def run(variables: task.Variables, argument: jax.Array, method: str) -> jax.Array:
        result = model.apply(variables, argument, method=method)
        assert isinstance(result, jax.Array)  # nothing is mutable, so nothing else comes back
        return result

    def code(key: jax.Array) -> jax.Array:
        return run(dict(model.init(key, images)), images, "encode")

    shape = jax.eval_shape(code, jax.random.key(0)).shape[1:]

    def encode(variables: task.Variables, images: jax.Array) -> jax.Array:
        codes = run(variables, images, "encode")
        return codes.reshape(images.shape[0], -1).astype(jnp.float32)

    def decode(variables: task.Variables, codes: jax.Array) -> jax.Array:
        return run(variables, codes.reshape(-1, *shape), "decode")

    return Codec(encode, decode, math.prod(shape))


def _image_sum(batch: task.Batch) -> tuple[jax.Array, jax.Array]:
    return jnp.einsum("b,bhwc->hwc", batch["valid"], batch["image"]), batch["valid"].sum()


def _mean_image(statistic: Any, batch: task.Batch) -> task.Outputs:
    total, count = statistic
    return {"image": jnp.broadcast_to(total / count, batch["image"].shape)}


def describe(
    outputs: Mapping[str, np.ndarray],
    image: np.ndarray,
    photo: np.ndarray,
    config: ConfigDict,
    results: Mapping[str, Any],
) -> task.Description:
    """Return errors, and the model's input `image` and output side by side, [height, 2 * width]."""
    error = outputs["image"] - image
    pair = np.concatenate([image, outputs["image"].clip(0, 1)], axis=1)
    pair = np.broadcast_to(pair, (*pair.shape[:2], 3))
    return task.Description(
        {"mse": float((error**2).mean()), "mae": float(np.abs(error).mean())},
        {"": Image.fromarray(np.round(255 * pair).astype(np.uint8))},
    )
