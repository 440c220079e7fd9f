"""Configs: a Python file with `get_config()` and overrides in, a locked ConfigDict out; to JSON."""

import json
import runpy
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from absl import flags
from ml_collections import ConfigDict, config_flags

from vocjax.errors import UserError, did_you_mean, local_path

# The folders of files that come with vocjax, and the function that each of their files defines.
SHIPPED = {"configs": "get_config", "experiments": "plan"}
LONGEST_NAME = 200  # letters of a field's: absl, which looks for the nearest, recurs by letter


def base_config() -> ConfigDict:
    """Return the fields that every experiment has, at the study's values.

    Only `model` and `loss` take further fields; a misspelt one is an `AttributeError`.
    """
    config = ConfigDict(
        {
            "name": "",  # of the experiment, in logs and reports
            "task": "",  # reconstruction, classification or segmentation
            "seed": 0,
            "epochs": 10,
            "batch_size": 32,
            "precision": "float32",  # of the computation: float32 or bfloat16
            "matmul_precision": "default",  # of products of float32: default, high or highest
            "deterministic": False,  # ask XLA for operations that give the same on a GPU each time
            "shard_parameters": False,  # over the devices, where one can't hold all of them
            "init_from": "",  # a run, or imported weights, whose encoder the run begins with
            "evaluate_every_epochs": 1,  # and save
            "keep_programs": True,  # that are compiled, in the user's cache, for the next start
            "best": {"metric": "loss", "mode": "min"},  # on validation; mode is min or max
            # End after so many evaluations in which validation became no better; 0: never.
            "stop_early": {"metric": "loss", "mode": "min", "patience": 0},
            "data": {
                "dataset": "toy",  # toy, voc2007 to voc2012, tfds:NAME, or a name of your own
                "data_dir": "data",
                "image_set": "Main",  # Main, or Segmentation for the images with masks
                "classes": (),  # only images that show one of these, or "all"; empty keeps all
                # The data set's own, filled in when a run begins; empty where they are VOC's.
                "names": (),
                "palette": (),  # (red, green, blue) of background and of each name
                "size": 64,
                "width": 0,  # where images are no squares; size is their height then
                "fit": "squash",  # or pad: aspect kept, and void around
                "longest": 0,  # of images that are taken at their own size: a longer side shrinks
                "masks": "nearest",  # or the study's, void as object: legacy, or legacy_sampled
                "channels": 3,  # 3 RGB, 1 grey
                "several": "keep",  # images with several of them: keep, drop, or repeat by class
                "split": "official",  # or legacy_917_139, the study's: most of val moved to train
                "split_seed": 0,  # of the legacy split
                "sampling": "uniform",  # or balanced: each class as often
                "held_out": 0.0,  # share of train, by image, that replaces val, to tune on
                "storage": "auto",  # device, stream, or auto: by size
                "augment": {
                    "flip": False,
                    "crop_padding": 0,
                    "zoom": 0.0,
                    "colour": 0.0,
                    "rand_augment": (),  # (2, 9): operations, and their magnitude of 0 to 30
                    "erase": 0.0,  # chance of a box of noise
                    "mixup": 0.0,  # of two images and their labels; the parameter of Beta
                    "cutmix": 0.0,  # a box of another image, and of its labels
                    "scale": (),  # (0.5, 2.0): of images at `longest`, of which windows are cut
                },
            },
            # At the end, and by predict; only segmentation takes images at their own size.
            "evaluation": {
                "images": "fitted",  # as in training; or at their own size: whole, or in windows
                "overlap": 0.5,  # of windows, a share of their sides
                "scales": (1.0,),  # whose logits are averaged
                "flip": False,  # and those of the mirrored image
            },
            "model": {"name": ""},
            "loss": {"name": ""},
            "optimizer": {
                "name": "rmsprop",  # rmsprop, adam, sgd as Keras 2 had them, muon, or optax's
                "arguments": (),  # of the optimizer: (("momentum", 0.9), ("nesterov", True))
                "learning_rate": 1e-3,  # Keras 2's for rmsprop and adam; its sgd has 1e-2
                "eps_in_sqrt": False,  # rmsprop and adam with epsilon where the slides print it
                # After the warm-up: constant, step, linear, cosine, poly, warm_restarts, or optax's
                "schedule": "constant",
                "schedule_arguments": (),  # (("power", 0.9),) for instance
                "schedule_unit": "steps",  # or epochs: of the lengths among these arguments
                "warmup_steps": 0,
                "weight_decay": 0.0,
                "weight_decay_on": "kernels",  # or all: biases and norms, too
                "clip_norm": 0.0,
                "accumulate": 1,  # batches whose gradients make one update
                # (regex, factor): each layer learns slower than the next one. See phases.py.
                "layer_decay": (),
                # (first epoch, ((regex over parameter paths, factor of the rate), ...)), ...; a
                # factor of 0 freezes. Empty: everything learns, always. See training/phases.py.
                "phases": (),
                "average_decay": 0.0,  # of the moving average of the weights, 0 for none
            },
        }
    ).lock()
    config.model.unlock()
    config.loss.unlock()
    return config


def study_classifier() -> ConfigDict:
    """Return the study's classifier: the encoder of AE 256 and one sigmoid layer, fine-tuned."""
    config = base_config()
    config.task = "classification"
    config.epochs = 50
    config.data.classes = ("aeroplane", "dog")
    config.model.name = "classifier"
    config.model.encoder = (256, 128, 64, 32, 16)
    config.model.stem = "same"  # or stride: the first convolution halves the image
    config.model.decoder = ()  # widths make the network a joint one; see loss.reconstruction
    config.model.hidden = ()  # widths of fully connected layers before the last
    config.model.pooling = "flatten"  # or over the code's places: mean, rms, polarity
    config.model.head_dropout = 0.0
    config.model.head_init = "glorot_uniform"  # or zeros: of the last layer
    config.model.update(study_style())
    config.loss.name = "binary_cross_entropy"  # softmax_cross_entropy, or focal
    config.loss.label_smoothing = 0.0
    config.loss.class_weights = ()  # how much a present class counts, a number each
    config.loss.weighting = "given"  # or from train: inverse_frequency, effective_number
    config.loss.gamma = 2.0  # of the focal loss
    config.loss.reconstruction = 0.0  # weight of the decoder's squared error in a joint network
    return config


def study_segmenter() -> ConfigDict:
    """Return the study's run 4, soft Dice with Adam, under the honest protocol."""
    config = base_config()
    config.task = "segmentation"
    config.data.image_set = "Segmentation"
    config.data.channels = 1
    config.model.name = "mirror"  # the study's; or unet, fcn, deeplab
    config.model.target = "foreground"  # or sigmoid, softmax: the classes of data.classes
    config.model.encoder = (256, 128, 64, 32, 16)
    config.model.decoder = (32, 64, 128, 256)
    config.model.auxiliary = 0  # stride of the map that a further head reads in training; 0: none
    config.model.update(study_style())
    config.loss.name = "soft_dice"  # or a sum of several: see losses/table.py
    config.loss.reduction = "batch"  # or image
    config.loss.smoothing = 0.0  # of Dice, Jaccard and Tversky
    config.loss.classes = "together"  # or each by itself: all, or those present
    config.loss.gamma = 2.0  # of the focal loss
    config.loss.alpha = 0.5  # Tversky's weight of false positives
    config.loss.beta = 0.5  # and of false negatives
    config.loss.class_weights = ()  # of cross-entropy and focal loss: a number for each output
    config.loss.weighting = "given"  # or from train: inverse_frequency, effective_number
    config.loss.hardest = 1.0  # share of the pixels that these two losses count
    config.loss.auxiliary = 0.4  # weight of the loss of the head that model.auxiliary adds
    config.optimizer.name = "adam"
    return config


def study_style() -> dict[str, Any]:
    """Return the fields of an encoder's or a decoder's style, the study's way.

    They are those of `models.layers.Style`, and how batch norm is evaluated.
    """
    return {
        "activation": "relu",
        "norm": "none",
        "norm_momentum": 0.99,  # of batch norm's statistics, Keras's default
        "norm_statistics": "keras",  # debiased, or precise: see training/norms.py
        "dropout": 0.0,
        "residual": 0,
        "downsample": "pool",
        "upsample": "nearest",
        "kernel_init": "glorot_uniform",
        "trunk": "activated",
    }


def with_backbone(config: ConfigDict, name: str = "") -> ConfigDict:
    """Put a backbone into a config, in place, for the study's encoder; return the config.

    `name` is one of `models.backbones.BACKBONES`, or empty: then the weights that `init_from` names
    decide. `pretrained.resolve.complete` fills in what belongs to these weights.
    """
    for field in {"encoder", "stem", "output_stride", "downsample"} & set(config.model):
        del config.model[field]
    config.model.backbone = ConfigDict(
        {
            "name": name,
            "stem": "imagenet",  # or small, for images of 64 pixels and less
            "output_stride": 32,  # or 16 or 8: what is beyond becomes dilation
            "last": "",  # the stage that ends it; empty for all
            "fields": (),  # (name, value) of the network's, as the origin of its weights has it
            "preprocessing": {  # none: images in [0, 1] as they are
                "order": "RGB",
                "white": 1.0,
                "mean": (0.0, 0.0, 0.0),
                "scale": (1.0, 1.0, 1.0),
            },
        }
    )
    return config


def shipped(folder: str) -> dict[str, Path]:
    """Return the files of a folder of `SHIPPED` by name, "pca".

    A wheel has the folders within the package, a checkout beside it.
    """
    inside = Path(__file__).parent / folder
    home = inside if inside.is_dir() else Path(__file__).parents[1] / folder
    start = f"\ndef {SHIPPED[folder]}("
    files = (path for path in sorted(home.glob("*.py")) if start in path.read_text("utf-8"))
    return {path.stem: path for path in files}


def find_file(folder: str, path: str | Path) -> Path:
    """Return the file of a path, or the shipped one of a name; see `shipped`.

    "pca" is the shipped file, "./pca" and `Path("pca")` the one here; "pca.py" and "configs/pca.py"
    are the shipped one only where there is no such file. `UserError`, with the nearest name, if
    there is neither.
    """
    if path not in shipped(folder) and local_path(path).is_file():
        return local_path(path)
    return shipped_file(folder, path)


def shipped_file(folder: str, name: str | Path) -> Path:
    """Return the shipped file of "pca", "pca.py" or "configs/pca.py"; `UserError` for others."""
    known, path = shipped(folder), Path(name)
    stem = path.name.removesuffix(".py")
    if stem in known and path.parent in (Path(), Path(folder)):
        return known[stem]
    raise UserError(
        f"there is no {folder.removesuffix('s')} file {name}, and none of this name comes with "
        f"vocjax.{did_you_mean(stem, known)} `vocjax {folder}` lists those that do."
    )


def load_config(path: str | Path, overrides: Sequence[str] = ()) -> ConfigDict:
    """Read a config and apply overrides such as `--config.optimizer.learning_rate=3e-4`.

    `path` is a file, or the name of a config that comes with vocjax (see `find_file`). Of a field
    that is given twice the last value counts. `UserError` for a missing or broken file, an unknown
    field (with the nearest known one) or a value of the wrong type.
    """
    path = find_file("configs", path)
    for token in overrides:
        name, _, _ = token.partition("=")
        if name.startswith("--") and len(name) > LONGEST_NAME:
            raise UserError(
                f"an override names a field of {len(name)} letters, {name[:40]!r} and so on; the "
                f"longest that is read has {LONGEST_NAME}."
            )
    config, values = _run(path), flags.FlagValues()
    arguments = ["vocjax", *_last_of_each(overrides)]
    try:
        config_flags.DEFINE_config_dict("config", config, flag_values=values, sys_argv=arguments)
        left = values(arguments)
    except (flags.Error, AttributeError, KeyError, TypeError, ValueError) as error:
        unknown = isinstance(error, AttributeError | KeyError)
        what = "an override names an unknown field" if unknown else "an override can't be used"
        raise UserError(
            f"{what}: {_sentence(error)} The fields and their types are those of {path} and of "
            "vocjax.config.base_config."
        ) from error
    if left[1:]:
        raise UserError(
            f"{left[1]!r} is no flag and no override; overrides look like --config.epochs=3."
        )
    return config


def _last_of_each(overrides: Sequence[str]) -> list[str]:
    """Return the last override of each field: absl would join the values of a tuple.

    The names of classes, "cat,red fox" or "1,2" say, are quoted: absl would read them as Python.
    """
    kept: dict[str, list[str]] = {}
    name = ""
    for token in overrides:
        value = token
        if token.startswith("--"):
            name, _, value = token.partition("=")
            kept[name] = []
        if name == "--config.data.classes" and value and value[0] not in "([\"'":
            token = token.removesuffix(value) + repr((value,))
        kept.setdefault(name, []).append(token)
    return [token for tokens in kept.values() for token in tokens]


def _run(path: Path) -> ConfigDict:
    """Return what `get_config` of a file returns."""
    config = call_in_file(path, "get_config")
    if not isinstance(config, ConfigDict):
        raise UserError(
            f"{path} is not a config: it must define get_config(), which returns base_config() "
            "with its fields set; `vocjax configs copy pca` writes one."
        )
    return config


def call_in_file(path: Path, function: str, *arguments: object) -> Any:
    """Run a Python file and return what its function returns; None if it has no such function.

    `UserError` if it raises anything, or would end the program.
    """
    try:
        found = runpy.run_path(str(path)).get(function)
        return found and found(*arguments)
    except (Exception, SystemExit) as error:  # whatever a file of the user's can raise
        what = f"{type(error).__name__}: {_sentence(error)}"
        raise UserError(f"{path} can't be run: {what}") from error


def _sentence(error: BaseException) -> str:
    """Return an error's text in one line; ml_collections wraps its errors into one another."""
    if isinstance(error, SyntaxError) or not error.args:
        return f"{str(error) or 'it gives no reason'}."
    cause = error.args[0]
    if isinstance(cause, BaseException):
        return _sentence(cause)
    text = " ".join(str(cause).split())
    return text if text.endswith((".", "?")) else f"{text}."


def to_json(config: ConfigDict) -> str:
    """Write a config as JSON with sorted keys, so that equal configs are equal texts.

    `UserError` for a number that JSON can't say: infinity or NaN.
    """
    try:
        return json.dumps(config.to_dict(), indent=2, sort_keys=True, allow_nan=False) + "\n"
    except ValueError as error:
        raise UserError("a number of the config is infinite or NaN; give finite ones.") from error


def from_json(text: str) -> ConfigDict:
    """Read what `to_json` wrote; lists become tuples again."""
    return ConfigDict(_with_tuples(json.loads(text))).lock()


def _with_tuples(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _with_tuples(inner) for key, inner in value.items()}
    return tuple(map(_with_tuples, value)) if isinstance(value, list) else value


def differences(old: ConfigDict, new: ConfigDict) -> list[str]:
    """Return a line `field: old -> new` for every field in which two configs differ."""
    before, after = flat(old.to_dict()), flat(new.to_dict())
    pairs = {
        field: (before.get(field, "absent"), after.get(field, "absent"))
        for field in sorted(before.keys() | after.keys())
    }
    return [f"{field}: {a!r} -> {b!r}" for field, (a, b) in pairs.items() if a != b]


# Fields that the losses and networks of a task got later, at what was done before they came.
LATE: dict[str, dict[str, Any]] = {
    "classification": {"loss.weighting": "given"},
    "segmentation": {
        "loss.class_weights": (),
        "loss.weighting": "given",
        "loss.hardest": 1.0,
        "loss.auxiliary": 0.4,
        "model.auxiliary": 0,
    },
}


def with_late_fields(config: ConfigDict) -> ConfigDict:
    """Return a config, an older run's perhaps, with the fields of `LATE` that it lacks."""
    config = config.copy_and_resolve_references().unlock()
    for path, value in LATE.get(config.get("task", ""), {}).items():
        part, field = path.split(".")
        if field not in config[part]:
            config[part][field] = value
    return config.lock()


def flat(tree: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return the fields of a config's `to_dict()` by their full names, "data.size"."""
    found: dict[str, Any] = {}
    for key, value in tree.items():
        if isinstance(value, dict):
            found |= flat(value, f"{prefix}{key}.")
        else:
            found[prefix + key] = value
    return found
