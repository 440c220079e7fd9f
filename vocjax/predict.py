"""A trained run applied to images: in Python, or to files with a picture of each."""

import itertools
import json
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict
from PIL import Image

from vocjax.data.photo import read_photo
from vocjax.data.pipeline import resize_image
from vocjax.devices import make_mesh
from vocjax.errors import UserError
from vocjax.tasks import TASKS
from vocjax.tasks.task import Outputs, Task, Variables, image_shape
from vocjax.training.setup import load_run

T = TypeVar("T")


class Model(NamedTuple):
    """A trained run, ready to be applied; `vocjax.load(workdir)` makes one.

    `apply(variables, images [batch_size, height, width, channels]) -> outputs` is jitted; the other
    fields are those of `training.setup.Trained`.
    """

    config: ConfigDict
    task: Task
    variables: Variables
    step: int
    apply: Callable[[Variables, np.ndarray], Outputs]

    def predict(self, images: Iterable[str | Path | np.ndarray]) -> list[dict[str, float]]:
        """Return the numbers that `vocjax predict` prints of each image: class probabilities, say.

        Args:
          images: image files, or arrays uint8 [height, width, 3] of any size.

        Raises:
          UserError: an image can't be read, or is neither of the two.
        """
        if isinstance(images, str | Path) or not isinstance(images, Iterable):
            raise UserError(f"predict takes a list of images; for one, give [{str(images)!r}].")
        chunks = _chunks(map(_pixels, images), self.config.batch_size)
        return [numbers for chunk in chunks for numbers, _ in self.describe(chunk)]

    def describe(
        self, photos: Sequence[np.ndarray]
    ) -> list[tuple[dict[str, float], np.ndarray | None]]:
        """Return what the task says of photos, uint8 [height, width, 3]: numbers and a picture.

        The picture is uint8 [height, width, 3] of a size of its own, None where there is none.
        """
        size, _, channels = image_shape(self.config)
        resized = [resize_image(photo, size, channels).astype(np.float32) / 255 for photo in photos]
        outputs = self.outputs(np.stack(resized))
        task, settings = TASKS[self.config.task], self.config.to_dict()
        return [
            task.describe({k: v[i] for k, v in outputs.items()}, resized[i], photo, settings)
            for i, photo in enumerate(photos)
        ]

    def outputs(self, images: np.ndarray) -> dict[str, np.ndarray]:
        """Return the model's outputs in evaluation mode: float32 arrays [n, ...] by name.

        Args:
          images: float32 [n, height, width, channels] in [0, 1], of the config's size.

        Raises:
          UserError: images of another shape or type.
        """
        shape, n, images = image_shape(self.config), self.config.batch_size, np.asarray(images)
        if images.shape[1:] != shape or images.dtype != np.float32:
            raise UserError(
                f"outputs got {images.dtype} {images.shape}; this model takes float32 "
                f"(n, {', '.join(map(str, shape))}) in [0, 1]. For photos as they are use predict."
            )
        batches = np.zeros((max(1, -(-len(images) // n)), n, *shape), np.float32)
        batches.reshape(-1, *shape)[: len(images)] = images
        parts = [jax.device_get(self.apply(self.variables, batch)) for batch in batches]
        return {
            name: np.concatenate([part[name] for part in parts])[: len(images)].astype(np.float32)
            for name in parts[0]
        }


def load_model(workdir: Path, checkpoint: str = "last") -> Model:
    """Load the "last" or "best" checkpoint of a run directory; `UserError` where it can't be."""
    config, task, variables, step = load_run(workdir, make_mesh(), checkpoint)

    @jax.jit
    def apply(variables: Variables, images: jax.Array) -> Outputs:
        batch = {"image": images, "valid": jnp.ones(images.shape[0])}
        return task.apply(variables, batch, False, jax.random.key(0))[0]

    return Model(config, task, variables, step, apply)


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
    model = load_model(workdir, checkpoint)
    try:
        output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"nothing can be written in {output}: {error}.") from error
    unreadable: list[Path] = []
    said: dict[str, dict[str, float]] = {}
    for chunk in _chunks(_read(images, unreadable), model.config.batch_size):
        described = model.describe([photo for _, photo in chunk])
        for (path, _), (numbers, picture) in zip(chunk, described, strict=True):
            said[str(path)] = numbers
            print(path, *(f"{name} {value:.4f}" for name, value in numbers.items()))
            if picture is not None:
                Image.fromarray(picture).save(output / f"{path.stem}.png")
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


def _pixels(image: str | Path | np.ndarray) -> np.ndarray:
    if isinstance(image, str | Path):
        try:
            return read_photo(Path(image))
        except UserError as error:
            raise UserError(f"{image}: {error}") from error
    photo = np.asarray(image)
    if photo.dtype != np.uint8 or photo.ndim != 3 or photo.shape[2] != 3 or not photo.size:
        raise UserError(
            f"an image is {photo.dtype} {photo.shape}; it must be a file's path or an array "
            "uint8 (height, width, 3), red, green and blue from 0 to 255."
        )
    return photo


def _read(images: Sequence[Path], unreadable: list[Path]) -> Iterator[tuple[Path, np.ndarray]]:
    for path in images:
        try:
            photo = read_photo(path)
        except UserError as error:
            print(f"{path} is skipped: {error}", file=sys.stderr)
            unreadable.append(path)
        else:
            yield path, photo


def _chunks(items: Iterator[T], size: int) -> Iterator[list[T]]:
    while chunk := list(itertools.islice(items, size)):
        yield chunk
