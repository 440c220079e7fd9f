"""The rows of the benchmark: what is trained, of which config, and on which numbers."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from vocjax.data.classes import VOC

SEED = 0
PIXEL_LOSSES = ("soft_dice", "cross_entropy + soft_dice")
# A pretrained network that learns in all its layers, from a fresh draw, on eight images.
WHOLE = (
    "epochs=1",
    "batch_size=8",
    "model.head_init=glorot_uniform",
    "optimizer.phases=()",
)
# The same of U-Net, and nothing but forward, backward and Adam: no augmentation, clipping, average.
WHOLE_UNET = (
    *("epochs=1", "batch_size=8", "optimizer.phases=()", "optimizer.warmup_steps=0"),
    *("optimizer.clip_norm=0.0", "optimizer.average_decay=0.0"),
    *("data.augment.flip=False", "data.augment.zoom=0.0", "data.augment.colour=0.0"),
)


class Row(NamedTuple):
    """A row: its name in tables, the config of `configs/`, and what is changed in it.

    With `codes` a step begins with the codes of a frozen encoder, which are computed once. `epoch`
    are the images of train and val of an epoch that is timed, too.
    """

    title: str
    config: str
    changes: tuple[str, ...] = ()
    codes: bool = False
    epoch: tuple[int, int] | None = None

    @property
    def overrides(self) -> list[str]:
        """The changes as `load_config` takes them."""
        return [f"--config.{change}" for change in self.changes]


ROWS = {
    "ae_256": Row("AE 256", "autoencoder_256", epoch=(428, 426)),
    "ae_2048": Row("AE 2048", "autoencoder_2048"),
    "classifier_256": Row("classifier 256, fine-tuned", "classifier_256", epoch=(428, 426)),
    "classifier_frozen": Row("classifier 256, frozen", "classifier_frozen"),
    "classifier_codes": Row("classifier 256, frozen, of codes", "classifier_frozen", codes=True),
    "segmentation_4": Row("segmentation, run 4", "segmentation_dice", epoch=(411, 450)),
    "segmentation_5": Row("segmentation, run 5", "segmentation_norm"),
    "mobilenet_v2": Row(
        "MobileNetV2", "classifier_pretrained", ("model.backbone.name=mobilenet_v2", *WHOLE)
    ),
    "resnet50": Row("ResNet50", "classifier_pretrained", ("model.backbone.name=resnet50", *WHOLE)),
    "unet_mobilenet_v2": Row(
        "U-Net on MobileNetV2",
        "segmentation_pretrained",
        ("model.backbone.name=mobilenet_v2", *WHOLE_UNET),
    ),
    "unet_resnet18": Row(
        "U-Net on ResNet18",
        "segmentation_pretrained",
        ("model.backbone.name=resnet18", "data.size=256", *WHOLE_UNET),
    ),
}


def spec_of(fields: dict[str, Any]) -> dict[str, Any]:
    """Return what other frameworks need to know of a config's `to_dict()`: network and work.

    `outputs` are the channels of a reconstruction, the classes, or the logits of a pixel.
    """
    data, model, optimizer = fields["data"], fields["model"], fields["optimizer"]
    merged = model.get("target", "foreground") == "foreground"
    outputs = {
        "reconstruction": data["channels"],
        "classification": len(data["classes"]),
        "segmentation": 1 if merged else 1 + len(data["classes"] or VOC.names),
    }
    return {
        "network": model["name"],
        "frozen": any(("encoder/.*", 0.0) in factors for _, factors in optimizer["phases"]),
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
    """Return a batch as `drawn_images`."""
    return drawn_images(spec, spec["batch_size"], SEED)


def drawn_images(spec: dict[str, Any], n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return images [n, height, width, channels] uint8, and what a network shall learn of them.

    Of an image that is its class [n], of a pixel its class [n, height, width], all int32; a
    reconstruction has its images as its aim, and zeros here. All are drawn, and none is void.
    """
    rng, shape = np.random.default_rng(seed), spec["image"]
    images = rng.integers(256, size=(n, *shape), dtype=np.uint8)
    if spec["loss"] == "mse":
        return images, np.zeros(n, np.int32)
    size = (n, *shape[:2]) if spec["loss"] in PIXEL_LOSSES else (n,)
    values = max(spec["outputs"], 2)
    return images, np.asarray(rng.integers(values, size=size, dtype=np.int32))


def epoch_of(spec: dict[str, Any]) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return the images of train and of val, and what a network shall learn of them."""
    return [drawn_images(spec, n, seed) for seed, n in enumerate(spec["epoch"])]


def joined(arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return our arrays by path with U-Net's convolutions as others have them.

    `conv`, of doubled map and skip in this order, takes the place of our `deep` and `skip`.
    """
    found = {path: array for path, array in arrays.items() if "/skip/" not in path}
    for path in [path for path in found if "/deep/" in path]:
        deep, skip = found.pop(path), arrays.get(path.replace("/deep/", "/skip/"))
        whole = deep if skip is None else np.concatenate([deep, skip], axis=2)
        found[path.replace("/deep/", "/conv/")] = whole
    return found
