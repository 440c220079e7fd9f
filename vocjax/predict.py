"""A trained run applied to image files: a picture of each and one predictions.json."""

import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np
from PIL import Image

from vocjax.data.photo import read_photo
from vocjax.data.pipeline import resize_image
from vocjax.devices import make_mesh
from vocjax.errors import UserError
from vocjax.tasks import TASKS
from vocjax.training.setup import load_run


class Photo(NamedTuple):
    """An image file: as it is, uint8 [height, width, 3], and as a model takes it."""

    path: Path
    pixels: np.ndarray
    resized: np.ndarray


def predict(
    workdir: Path, images: Sequence[Path], output: Path, checkpoint: str = "last"
) -> list[Path]:
    """Write what a run says of each image into `output`; return the files that can't be read.

    Reconstructions stand beside the resized image, masks over the image at its own size, and
    predictions.json holds the numbers by file, class probabilities among them.

    Raises:
      UserError: the run can't be loaded, or two images would write the same picture.
    """
    images = list(dict.fromkeys(images))
    _check_names(images, output)
    config, task, variables, _ = load_run(workdir, make_mesh(), checkpoint)
    try:
        output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"nothing can be written in {output}: {error}.") from error
    describe = TASKS[config.task].describe
    settings = config.to_dict()

    @jax.jit
    def apply(batch: np.ndarray) -> dict[str, jax.Array]:
        inputs = {
            "image": batch.astype(np.float32) / 255,
            "valid": jax.numpy.ones(batch.shape[0]),
        }
        return task.apply(variables, inputs, False, jax.random.key(0))[0]

    unreadable: list[Path] = []
    said: dict[str, dict] = {}
    photos = _read(images, config.data.size, config.data.channels, unreadable)
    for chunk in _chunks(photos, config.batch_size):
        batch = np.stack([photo.resized for photo in chunk])
        padding = np.zeros((config.batch_size - len(chunk), *batch.shape[1:]), np.uint8)
        outputs = jax.device_get(apply(np.concatenate([batch, padding])))
        for i, photo in enumerate(chunk):
            of_example = {name: np.asarray(value[i], np.float32) for name, value in outputs.items()}
            model_input = photo.resized.astype(np.float32) / 255
            numbers, picture = describe(of_example, model_input, photo.pixels, settings)
            said[str(photo.path)] = numbers
            print(photo.path, *(f"{name} {value:.4f}" for name, value in numbers.items()))
            if picture is not None:
                Image.fromarray(picture).save(output / f"{photo.path.stem}.png")
    (output / "predictions.json").write_text(json.dumps(said, indent=2) + "\n")
    return unreadable


def _check_names(images: Sequence[Path], output: Path) -> None:
    by_stem: dict[str, Path] = {}
    inputs = {path.resolve() for path in images}
    for path in images:
        if (output / f"{path.stem}.png").resolve() in inputs:
            raise UserError(
                f"the picture of {path} would replace an image that is to be read; give another "
                "--output folder."
            )
        other = by_stem.setdefault(path.stem, path)
        if other is not path:
            raise UserError(
                f"{other} and {path} would both be written to {path.stem}.png; "
                "predict them into two --output folders."
            )


def _read(
    images: Sequence[Path], size: int, channels: int, unreadable: list[Path]
) -> Iterator[Photo]:
    for path in images:
        try:
            pixels = read_photo(path)
        except UserError as error:
            print(f"{path} is skipped: {error}", file=sys.stderr)
            unreadable.append(path)
        else:
            yield Photo(path, pixels, resize_image(pixels, size, channels))


def _chunks(photos: Iterator[Photo], size: int) -> Iterator[list[Photo]]:
    chunk: list[Photo] = []
    for photo in photos:
        chunk.append(photo)
        if len(chunk) == size:
            yield chunk
            chunk = []
    if chunk:
        yield chunk
