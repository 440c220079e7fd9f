"""The function that an exported model is: images to what its run says of them."""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
from ml_collections import ConfigDict

from vocjax import losses
from vocjax.data.frame import GREY, PAD
from vocjax.mesh import matmul_precision
from vocjax.models.backbones.preprocessing import IDENTITY
from vocjax.models.fields import image_shape
from vocjax.tasks.classification import chosen
from vocjax.tasks.pixel_classes import decide, pixel_classes, probability_of
from vocjax.tasks.segmentation import THRESHOLD
from vocjax.tasks.task import Outputs, Task, Variables

Function = Callable[[jax.Array], Outputs]
INPUTS = ("uint8", "float32")  # pixels from 0 to 255, or from 0 to 1
MEANINGS = {
    "image": "the reconstruction, red first, in [0, 1] up to overshoot",
    "code": "what the encoder makes of an image",
    "logits": "scores before softmax or sigmoid",
    "probability": "of each class",
    "evidence": "what each place of the code adds to the logit of the likeliest class",
    "reconstruction": "the image as it is decoded from the code, in [0, 1]",
}
MASKS = {  # the same of "mask", by the activation
    "softmax": "the data set's index of each pixel's likeliest class, 0 for background",
    "sigmoid": "the data set's index of each pixel's likeliest class where its probability exceeds "
    "the threshold, 0 for background elsewhere",
}


def function_of(
    config: ConfigDict, task: Task, variables: Variables, results: Mapping[str, Any]
) -> Function:
    """Return the function of a trained network, of images [batch, height, width, channels].

    They are uint8, or float32 in [0, 1]. It returns the task's outputs in evaluation mode, float32,
    and what they say: for classes their `probability`, for pixels the `mask` of indices, too.
    """
    answers = ANSWERS[config.task]

    def function(images: jax.Array) -> Outputs:
        if images.dtype == jnp.uint8:
            images = images.astype(jnp.float32) / 255
        batch = {"image": images, "valid": jnp.ones(images.shape[0])}
        with matmul_precision(config.matmul_precision):
            outputs, _ = task.apply(variables, batch, False, jax.random.key(0))
        outputs.pop("auxiliary", None)  # it has had its use in training
        outputs = {name: output.astype(jnp.float32) for name, output in outputs.items()}
        return outputs | answers(config, results, outputs)

    return function


def _of_classes(config: ConfigDict, _: Mapping[str, Any], outputs: Outputs) -> Outputs:
    exclusive = losses.is_exclusive(config.loss.name)
    return {"probability": (jax.nn.softmax if exclusive else jax.nn.sigmoid)(outputs["logits"])}


def _of_pixels(config: ConfigDict, results: Mapping[str, Any], outputs: Outputs) -> Outputs:
    classes = pixel_classes(config)
    probability = probability_of(classes, outputs["logits"])
    index = decide(classes, probability, results.get("threshold", THRESHOLD))
    return {"probability": probability, "mask": jnp.asarray(classes.own_indices)[index]}


ANSWERS: Mapping[str, Callable[[ConfigDict, Mapping[str, Any], Outputs], Outputs]] = {
    "reconstruction": lambda config, results, outputs: {},
    "classification": _of_classes,
    "segmentation": _of_pixels,
}


def facts_of(
    config: ConfigDict, dtype: str, outputs: Outputs, results: Mapping[str, Any]
) -> dict[str, Any]:
    """Return what a program must know to use the function, as JSON.

    Pre-processing, names of classes, threshold, and shapes and meanings of input and outputs.
    """
    height, width, channels = image_shape(config)
    backbone = config.model.get("backbone")
    own = backbone.preprocessing.to_dict() if backbone else IDENTITY._asdict()
    facts = {
        "task": config.task,
        "architecture": config.model.name,
        "backbone": backbone.name if backbone else None,
        "input": {
            "name": "images",
            "dtype": dtype,
            "shape": ["batch", height, width, channels],
            "range": [0, 255] if dtype == "uint8" else [0, 1],
        },
        "outputs": {
            name: {
                "dtype": str(of.dtype),
                "shape": ["batch", *map(int, of.shape[1:])],
                "meaning": MEANINGS.get(name, ""),
            }
            for name, of in outputs.items()
        },
        "preprocessing": {
            "before": {
                "orientation": "upright",  # as EXIF says
                "transparency": "white",  # what is transparent is laid over it
                "height": height,
                "width": width,
                "resample": "lanczos",  # Pillow's, which is antialiased
                # Then the image lies in the upper left corner, and the rest has this grey.
                "keep_aspect": config.data.fit == PAD,
                "padding": GREY,
                "channels": "RGB" if channels == 3 else "ITU-R BT.601 luminance",
            },
            # (x * white - mean) * scale, of x in [0, 1] and of the channels in that order
            "inside": own,
        },
    }
    if config.task == "classification":
        names = dict(enumerate(chosen(config.data)))
        rule = "softmax" if losses.is_exclusive(config.loss.name) else "sigmoid"
        facts |= {"classes": list(names.values()), "id2label": names, "activation": rule}
    if config.task == "segmentation":
        classes = pixel_classes(config)
        names = dict(zip(classes.own_indices.tolist(), classes.names, strict=True))
        rule = "softmax" if classes.kind == "softmax" else "sigmoid"
        facts |= {"classes": list(classes.names), "id2label": names, "activation": rule}
        facts["outputs"]["mask"]["meaning"] = MASKS[rule]
        if rule == "sigmoid":
            facts["threshold"] = results.get("threshold", THRESHOLD)
    return facts
