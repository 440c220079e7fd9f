"""Where the values of a run go beside metrics.jsonl: TensorBoard, and Weights & Biases if asked.

A writer is three functions. TensorBoard's writes wherever its package is installed.
"""

import contextlib
import importlib
import socket
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import jax
import numpy as np
from ml_collections import ConfigDict

from vocjax.data.classes import classes_of
from vocjax.errors import UserError
from vocjax.files import naming_path, write_json
from vocjax.painting import as_bytes, grey, overlay
from vocjax.runs.reader import read_json
from vocjax.tasks.pixel_classes import pixel_classes

try:
    from tensorboardX import summary
    from tensorboardX.proto import event_pb2
    from tensorboardX.record_writer import RecordWriter
except ImportError:  # the extra `tensorboard` is not installed
    RecordWriter = None

WANDB = "wandb.json"  # in the run directory: the id under which W&B knows the run


class Writer(NamedTuple):
    """What shows a run elsewhere, step by step.

    - `scalars(step, {name: value})`, finite values;
    - `images(step, {name: images})`, uint8 [n, height, width, 3];
    - `close()`.
    """

    scalars: Callable[[int, Mapping[str, float]], object]
    images: Callable[[int, Mapping[str, np.ndarray]], object]
    close: Callable[[], object]


def open_writers(
    workdir: Path, config: ConfigDict, first_step: int, project: str
) -> Iterator[Writer]:
    """Open the writers of a run that begins after a step; only the first host has any.

    `project` is that of W&B, "" for none. `UserError` where W&B can't begin.
    """
    if jax.process_index():
        return
    if RecordWriter is not None:
        yield tensorboard(workdir, first_step)
    if project:
        yield wandb(workdir, config, project)


def tensorboard(workdir: Path, first_step: int) -> Writer:
    """Return a writer of TensorBoard's event files; those of later steps no longer count.

    An `OSError`, no space left say, names the folder. The package's own SummaryWriter writes in a
    thread: a full disk ends this with a traceback, and the run waits for ever to give it more.
    """
    folder = workdir / "tensorboard"
    path = folder / f"events.out.tfevents.{time.time():.0f}.{socket.gethostname()}"
    make_event, session = event_pb2.Event, event_pb2.SessionLog(status=event_pb2.SessionLog.START)
    with naming_path(folder):
        folder.mkdir(exist_ok=True)
        file = RecordWriter(str(path))

    def add(*events: Mapping[str, Any]) -> None:
        with naming_path(folder):
            for event in events:
                file.write(make_event(wall_time=time.time(), **event).SerializeToString())
            file.flush()

    def scalars(step: int, values: Mapping[str, float]) -> None:
        add(*({"step": step, "summary": summary.scalar(*item)} for item in values.items()))

    def images(step: int, pictures: Mapping[str, np.ndarray]) -> None:
        made = (summary.image(*item, dataformats="NHWC") for item in pictures.items())
        add(*({"step": step, "summary": picture} for picture in made))

    def close() -> None:
        with contextlib.suppress(OSError):  # what was added is written, or has raised before
            file.close()

    add({"file_version": "brain.Event:2"}, {"step": first_step + 1, "session_log": session})
    return Writer(scalars, images, close)


def import_wandb() -> ModuleType:
    """Import W&B's package; `UserError` where it is not installed."""
    try:
        return importlib.import_module("wandb")
    except ImportError as error:
        raise UserError(
            f"--wandb needs the package wandb, which can't be imported ({error}): "
            "`pip install wandb`, or train without --wandb."
        ) from error


def wandb(workdir: Path, config: ConfigDict, project: str) -> Writer:
    """Return a writer of a W&B run; a run that is continued goes on there under its id.

    W&B drops values of steps that it has: those that a killed run trains again are the same.
    `UserError` where W&B can't begin, because nobody is logged in, say.
    """
    package = import_wandb()
    id_ = (read_json(workdir / WANDB) or {}).get("id") or uuid.uuid4().hex[:12]
    try:
        run = package.init(
            project=project,
            id=id_,
            name=config.name or workdir.name,
            config=config.to_dict(),
            dir=str(workdir),
            resume="allow",
            reinit="create_new",  # several runs train in one process
            settings={"console": "off"},
        )
    except Exception as error:  # W&B raises several of its own
        raise UserError(
            f"Weights & Biases can't begin: {str(error).rstrip('.')}. `wandb login` signs in, and "
            "WANDB_MODE=offline keeps everything here, for `wandb sync` later; the same command "
            "then goes on."
        ) from error
    write_json(workdir / WANDB, {"id": id_, "project": project})

    def images(step: int, pictures: Mapping[str, np.ndarray]) -> None:
        run.log({name: [*map(package.Image, array)] for name, array in pictures.items()}, step=step)

    return Writer(lambda step, values: run.log(dict(values), step=step), images, run.finish)


def pictures_of(shown: Mapping[str, np.ndarray], config: ConfigDict) -> dict[str, np.ndarray]:
    """Return what a task shows of a few examples as pictures, uint8 [n, height, width, 3].

    Those are the images, their reconstructions, and masks painted over the images.
    """
    found = {name: _rgb(shown[name]) for name in ("image", "reconstruction") if name in shown}
    if config.task == "segmentation" and "image" in found:
        colours = classes_of(config.data).palette[pixel_classes(config).own_indices]
        for name in ("mask", "prediction"):
            if name in shown:
                found[name] = overlay(found["image"], shown[name], colours)
    return found


def _rgb(images: np.ndarray) -> np.ndarray:
    return as_bytes(images) if images.shape[-1] == 3 else grey(images)
