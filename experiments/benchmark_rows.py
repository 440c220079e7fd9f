"""The rows of the benchmark: what is trained, of which config, and on which numbers."""

from typing import Any, NamedTuple

import numpy as np

SEED = 0
# A pretrained network that learns in all its layers, from a fresh draw, on eight images.
WHOLE = (
    "epochs=1",
    "batch_size=8",
    "model.head_init=glorot_uniform",
    "optimizer.phases=()",
)


class Row(NamedTuple):
    """A row: its name in tables, the config of `configs/`, and what is changed in it."""

    title: str
    config: str
    changes: tuple[str, ...] = ()

    @property
    def overrides(self) -> list[str]:
        """The changes as `load_config` takes them."""
        return [f"--config.{change}" for change in self.changes]


ROWS = {
    "ae_256": Row("AE 256", "autoencoder_256"),
    "ae_2048": Row("AE 2048", "autoencoder_2048"),
    "classifier_256": Row("classifier 256, fine-tuned", "classifier_256"),
    "segmentation_4": Row("segmentation, run 4", "segmentation_dice"),
    "segmentation_5": Row("segmentation, run 5", "segmentation_norm"),
    "mobilenet_v2": Row(
        "MobileNetV2", "classifier_pretrained", ("model.backbone.name=mobilenet_v2", *WHOLE)
    ),
    "resnet50": Row("ResNet50", "classifier_pretrained", ("model.backbone.name=resnet50", *WHOLE)),
}


def spec_of(fields: dict[str, Any]) -> dict[str, Any]:
    """Return what other frameworks need to know of a config's `to_dict()`: network and work.

    `outputs` are the channels of a reconstruction, the classes, or the logits of a pixel.
    """
    data, model, optimizer = fields["data"], fields["model"], fields["optimizer"]
    outputs = {
        "reconstruction": data["channels"],
        "classification": len(data["classes"]),
        "segmentation": 1,
    }
    return {
        "backbone": model.get("backbone", {}).get("name", ""),
        "encoder": list(model.get("encoder", ())),
        "decoder": list(model.get("decoder", ())),
        "norm": model["norm"] == "batch",
        "dropout": model["dropout"],
        "outputs": outputs[fields["task"]],
        "image": [data["size"], data["size"], data["channels"]],
        "batch_size": fields["batch_size"],
        "loss": fields["loss"]["name"],
        "optimizer": optimizer["name"],
        "learning_rate": optimizer["learning_rate"],
    }


def batch_of(spec: dict[str, Any]) -> tuple[np.ndarray, np.ndarray]:
    """Return images [n, height, width, channels] uint8, and what a network shall learn of them.

    Of an image that is its class [n], of a pixel 0 or 1 [n, height, width], all int32; a
    reconstruction has its images as its aim, and zeros here. All are drawn.
    """
    rng, n, shape = np.random.default_rng(SEED), spec["batch_size"], spec["image"]
    images = rng.integers(256, size=(n, *shape), dtype=np.uint8)
    if spec["loss"] == "mse":
        return images, np.zeros(n, np.int32)
    pixels = spec["loss"] == "soft_dice"
    size, values = ((n, *shape[:2]), 2) if pixels else ((n,), spec["outputs"])
    return images, np.asarray(rng.integers(values, size=size, dtype=np.int32))
