"""Run directories of every step, with real configs, made-up values and small pictures."""

import json

import numpy as np
from example_runs import write_run

from vocjax.config import load_config

RNG = np.random.default_rng(0)
IDS = np.array([f"2008_00000{i}" for i in range(8)])
STEPS = {
    "pca": ("pca", ["model.components=16"]),
    "recipe": ("autoencoder_256", []),
    "ours": ("autoencoder_256", ["name=An autoencoder of our own, with a long name"]),
    "fine_tuned": ("classifier_256", ["init_from=runs/recipe"]),
    "scratch": ("classifier_256", ["name=from_scratch_with_a_name_that_has_no_blank_to_break_at"]),
    "mirror": ("segmentation_dice", []),
    "unet": ("segmentation_unet", ["data.channels=1"]),
    "classes": ("segmentation_classes", []),
}
VALUES = {
    "reconstruction": {"loss": 0.0312, "mse": 0.0312, "mae": 0.131, "psnr": 15.1, "ssim": 0.4},
    "classification": {
        "loss": 0.5, "log_loss": 0.5, "elementwise_accuracy": 0.875, "argmax_accuracy": 0.875,
        "exact_match": 0.8, "balanced_accuracy": 0.86, "f1": 0.8, "roc_auc": 0.9,
        "map_11_points": 0.83, "map_every_point": 0.84, "ece": 0.1,
    },
    "segmentation": {
        name: 0.5 + 0.01 * i
        for i, name in enumerate((
            "loss", "soft_dice_per_image", "soft_iou_per_image", "hard_dice_per_image",
            "hard_dice_per_image_at_threshold", "soft_dice_of_set", "hard_dice_of_set",
            "iou_of_set", "mean_iou", "frequency_weighted_iou", "pixel_accuracy",
            "hard_dice_per_image_full_size", "hard_dice_of_set_full_size", "mean_iou_full_size",
            "pixel_accuracy_full_size", "boundary_f_full_size",
        ))
    },
}  # fmt: skip
BASELINES = {
    "reconstruction": ("mean image", "PCA, at most 256 components"),
    "classification": ("majority class (frequency)", "logistic regression on 16 PCA codes"),
    "segmentation": ("all foreground", "all background", "one mask for all"),
}


def write_story(folder):
    """Write a run directory for each of `STEPS`."""
    for name, (config, changes) in STEPS.items():
        fields = json.loads(load_config(config, [f"--config.{c}" for c in changes]).to_json())
        values = VALUES[fields["task"]]
        baselines = {kind: {"train": values, "val": values} for kind in BASELINES[fields["task"]]}
        run = {"command": f"vocjax train --workdir runs/{name} " + 8 * "--config.field=value "}
        results = {"train": values, "val": values, "baselines": baselines, "code": 256}
        epochs = 0 if name == "pca" else 2
        changed = {"config": fields | {"epochs": epochs}, "run": run, "results": results}
        directory = write_run(folder / name, fields["task"], epochs, **changed)
        np.savez(directory / "samples.npz", **_samples(fields))


def _samples(config):
    size, channels = config["data"]["size"], config["data"]["channels"]
    smooth = np.linspace(0, 1, size) * RNG.random((8, size, 1))
    image = np.repeat(smooth[..., None], channels, axis=-1).astype(np.float16)
    samples = {"image": image, "shown": np.arange(8), "val/ids": IDS}
    if config["task"] == "reconstruction":
        return samples | {"reconstruction": image / 2} | _codes()
    if config["task"] == "classification":
        target = np.eye(2)[RNG.integers(0, 2, 8)]
        probability = RNG.random((8, 2))
        samples |= {"val/target": target, "val/probability": probability}
        return samples | {"val/weight": np.ones((8, 2)), "val/thumbnail": _thumbnails()}
    truth = np.zeros((8, size, size), np.uint8)
    truth[:, 9:40, 9:40] = 12 if config["model"]["target"] == "softmax" else 1
    found = np.roll(truth, 9 if config["model"]["name"] == "mirror" else 2, axis=1)
    probability = {"probability": (found > 0).astype(np.float16)}
    return samples | {"mask": truth, "prediction": found} | probability


def _thumbnails():
    return np.full((8, 40, 40, 3), 99, np.uint8)


def _codes():
    found = {}
    for split in ("train", "val"):
        found |= {f"{split}/ids": IDS, f"{split}/labels": np.ones((8, 2), np.int8)}
        found |= {f"{split}/thumbnail": _thumbnails(), f"{split}/embedded": np.arange(8)}
        found |= {f"{split}/{name}": RNG.random((8, 2)) for name in ("principal", "tsne")}
    return found
