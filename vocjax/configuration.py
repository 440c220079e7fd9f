"""Configs: a Python file with `get_config()` and overrides in, a locked ConfigDict out; to JSON."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from absl import flags
from ml_collections import ConfigDict, config_flags

from vocjax.errors import UserError


def base_config() -> ConfigDict:
    """Return the fields that every experiment has, at the study's values."""
    return ConfigDict(
        {
            "name": "",  # of the experiment, in logs and reports
            "task": "",  # reconstruction, classification or segmentation
            "seed": 0,
            "epochs": 10,
            "batch_size": 32,
            "precision": "float32",  # of the computation: float32 or bfloat16
            "init_from": "",  # a run directory whose encoder the run begins with
            "save_every_epochs": 1,
            "best": {"metric": "loss", "mode": "min"},  # on validation; mode is min or max
            "data": {
                "dataset": "toy",  # toy, voc2007 to voc2012, or custom
                "data_dir": "data",
                "image_set": "Main",  # Main, or Segmentation for the images with masks
                "classes": (),  # only images that show one of these; empty keeps all
                "size": 64,
                "channels": 3,  # 3 RGB, 1 grey
                "storage": "auto",  # device, stream, or auto: by size
                "augment": {"flip": False, "crop_padding": 0, "colour": 0.0},
            },
            "model": {"name": "", "kernel_init": "glorot_uniform"},
            "loss": {"name": ""},
            "optimizer": {
                "name": "rmsprop",  # rmsprop, adam or sgd, as Keras 2 had them
                "learning_rate": 1e-3,
                "eps_in_sqrt": False,  # rmsprop as the slides print it, and as Keras 3 has it
                "schedule": "constant",  # constant, cosine or linear, after the warm-up
                "warmup_steps": 0,
                "weight_decay": 0.0,
                "clip_norm": 0.0,
            },
        }
    )


def load_config(path: Path, overrides: Sequence[str] = ()) -> ConfigDict:
    """Read a config file and apply overrides such as `--config.optimizer.learning_rate=3e-4`.

    Raises `UserError` for a missing or broken file, an unknown field (with the nearest known one)
    or a value of the wrong type.
    """
    if not path.is_file():
        raise UserError(f"there is no config file {path}; the ones that exist are in configs/.")
    values = flags.FlagValues()
    arguments = ["vocjax", f"--config={path}", *overrides]
    config_flags.DEFINE_config_file(
        "config", lock_config=True, flag_values=values, sys_argv=arguments
    )
    try:
        left = values(arguments)
        config = values["config"].value
    except (flags.Error, AttributeError, KeyError, TypeError, ValueError) as error:
        raise UserError(f"the config can't be used: {_first_line(error)}") from error
    except (SyntaxError, ImportError, NameError) as error:
        raise UserError(f"{path} is not a config: {type(error).__name__}: {error}") from error
    if left[1:]:
        raise UserError(
            f"{left[1]!r} is no flag and no override; overrides look like --config.epochs=3."
        )
    return config


def _first_line(error: Exception) -> str:
    text = str(error.args[0]) if error.args else type(error).__name__
    return " ".join(text.split())


def to_json(config: ConfigDict) -> str:
    """Write a config as JSON with sorted keys, so that equal configs are equal texts."""
    return json.dumps(config.to_dict(), indent=2, sort_keys=True) + "\n"


def from_json(text: str) -> ConfigDict:
    """Read what `to_json` wrote; lists become tuples again."""
    return ConfigDict(_with_tuples(json.loads(text))).lock()


def _with_tuples(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _with_tuples(inner) for key, inner in value.items()}
    return tuple(map(_with_tuples, value)) if isinstance(value, list) else value


def differences(old: ConfigDict, new: ConfigDict) -> list[str]:
    """Return a line `field: old -> new` for every field in which two configs differ."""
    before, after = _flat(old.to_dict()), _flat(new.to_dict())
    return [
        f"{field}: {before.get(field, 'absent')!r} -> {after.get(field, 'absent')!r}"
        for field in sorted(before.keys() | after.keys())
        if before.get(field, "absent") != after.get(field, "absent")
    ]


def _flat(tree: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        if isinstance(value, dict):
            flat |= _flat(value, f"{prefix}{key}.")
        else:
            flat[prefix + key] = value
    return flat
