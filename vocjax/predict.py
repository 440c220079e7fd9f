"""A trained run applied to images: in Python, or to files with a picture of each."""

import contextlib
import math
import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict
from tqdm import tqdm

from vocjax import bounds
from vocjax.data.folder import find_images
from vocjax.data.photo import read_photo
from vocjax.data.pictures import key, picture_names, save
from vocjax.data.pipeline import fit_image
from vocjax.errors import UserError
from vocjax.exported.load import load_exported
from vocjax.files import printable, to_json, write_text
from vocjax.mesh import make_mesh, matmul_precision
from vocjax.models.fields import image_shape
from vocjax.runs.reader import is_exported, read_results, results_of
from vocjax.runs.restore import load_run
from vocjax.tasks import TASKS
from vocjax.tasks.own_size import with_few_programs
from vocjax.tasks.task import Description, Outputs, Task, Variables

T = TypeVar("T")
MOST_NUMBERS = 2**28  # of a batch of images, 1 GiB

NUMBERS_AT_ONCE = 10**8  # of photos in memory together, three a pixel


class Model(NamedTuple):
    """A trained run or an exported model, ready to be applied; `vocjax.load(workdir)` makes one.

    `apply(variables, images [batch_size, height, width, channels]) -> outputs` is jitted. `results`
    holds results.json for the last checkpoint, and what `vocjax evaluate` wrote for the best.
    """

    config: ConfigDict
    task: Task
    variables: Variables
    step: int
    results: dict[str, Any]
    apply: Callable[[Variables, np.ndarray], Outputs]
    apply_to_sizes: Callable[[Variables, np.ndarray], Outputs]  # the same, of images of many sizes

    def predict(self, images: Iterable[str | Path | np.ndarray]) -> list[dict[str, float]]:
        """Return the numbers that `vocjax predict` prints of each image: class probabilities, say.

        `images` are files, or arrays uint8 [height, width, 3] of any size; `UserError` for others.
        """
        if isinstance(images, str | Path) or not isinstance(images, Iterable):
            raise UserError(f"predict takes a list of images; for one, give [{str(images)!r}].")
        chunks = _chunks(map(_pixels, images), self.config.batch_size, lambda photo: photo.size)
        return [said.numbers for chunk in chunks for said in self.describe(chunk)]

    def describe(self, photos: Sequence[np.ndarray]) -> Iterator[Description]:
        """Yield numbers and pictures for photos, uint8 [height, width, 3] each."""
        height, width, channels = image_shape(self.config)
        fit = partial(fit_image, size=(height, width), channels=channels, fit=self.config.data.fit)
        resized = [fit(photo).astype(np.float32) / 255 for photo in photos]
        own_size, describe = self.task.own_size, TASKS[self.config.task].describe
        outputs = {} if own_size else self.outputs(np.stack(resized))
        for i, photo in enumerate(photos):
            of_photo = {name: output[i] for name, output in outputs.items()}
            if own_size:
                of_photo = {"logits": own_size(self._logits, photo)}
            yield describe(of_photo, resized[i], photo, self.config, self.results)

    def _logits(self, images: np.ndarray) -> np.ndarray:
        """Return the logits of images uint8 [n, height, width, channels] of any size."""
        outputs = self.apply_to_sizes(self.variables, images.astype(np.float32) / 255)
        return np.asarray(outputs["logits"], np.float32)

    def outputs(self, images: np.ndarray) -> dict[str, np.ndarray]:
        """Return outputs [n, ...] by name of images [n, height, width, channels], all float32."""
        shape, images = image_shape(self.config), np.asarray(images)
        n = min(self.config.batch_size, max(1, MOST_NUMBERS // math.prod(shape)))
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
    """Load the "last" or "best" checkpoint of a run directory, or an exported model.

    `UserError` where it can't be.
    """
    if is_exported(workdir):
        exported = load_exported(workdir, checkpoint)
        config, task, variables, step, results, function = exported[:6]
        if function is not None:

            def of_images(_: Variables, images: np.ndarray) -> Outputs:
                return function(images)

            return Model(config, task, variables, step, results, of_images, of_images)
    else:
        config, task, variables, step = load_run(workdir, make_mesh(), checkpoint)
        results = results_of(workdir, checkpoint, step)

    @jax.jit
    def apply(variables: Variables, images: jax.Array) -> Outputs:
        batch = {"image": images, "valid": jnp.ones(images.shape[0])}
        with matmul_precision(config.matmul_precision):
            return task.apply(variables, batch, False, jax.random.key(0))[0]

    sizes = with_few_programs(apply)
    return Model(config, task, variables, step, results, apply, sizes)


class Predicted(NamedTuple):
    """What `predict` did: the images that it was to read, and those that can't be read.

    `others` counts the files of the folders that are no images; `folders` were not entered.
    """

    images: list[Path]
    unreadable: list[Path]
    others: int
    folders: list[Path]


def predict(
    workdir: Path, images: Sequence[Path], output: Path, checkpoint: str = "last"
) -> Predicted:
    """Write the predictions of a run for image files, and for the images in folders.

    `NAME.png` is a picture: the resized image and its reconstruction, the classifier's evidence
    or the mask over the image at its own size; of a mask `NAME_mask.png` holds the indices, with
    the palette of the data set but VOC's colour for void; no file is replaced but an earlier
    picture of the same image. predictions.json has the numbers by absolute path: probabilities, or
    each class's share of the image; what it holds of other files stays, and after an interruption
    it has what was done. `UserError` where the run can't be loaded, or there is no image; where
    none can be read, nothing is written.
    """
    found = find_images(images)
    if not found.images:
        raise UserError(
            f"there is no image in {', '.join(map(printable, images))} (other files: "
            f"{found.others}; folders, which are not entered: {len(found.folders)}). Give images, "
            "or folders with images in them."
        )
    if os.path.realpath(output) in {os.path.realpath(path) for path in images if path.is_dir()}:
        raise UserError(
            f"{output} is also a folder of images to read, which the next prediction would find "
            "its pictures in; give another --output folder."
        )
    numbers = _read_numbers(output / "predictions.json")
    names = picture_names(found.images, output)
    model = load_model(workdir, checkpoint)
    _say_threshold(workdir, model, checkpoint)
    unreadable: list[Path] = []
    with (
        _writing(output / "predictions.json", numbers) as write,
        tqdm(total=len(found.images), unit="image", disable=not sys.stderr.isatty()) as bar,
    ):
        photos = _read(found.images, unreadable, bar)
        for chunk in _chunks(photos, model.config.batch_size, lambda read: read[1].size):
            _make(output)
            described = model.describe([photo for _, photo in chunk])
            for (path, _), said in zip(chunk, described, strict=True):
                for ending, picture in said.pictures.items():
                    save(picture, output / f"{names[path]}{ending}.png", path)
                numbers[key(path)] = said.numbers
                values = (f"{name} {value:.4f}" for name, value in said.numbers.items())
                bar.write(" ".join([printable(path), *values]), file=sys.stdout)
            write()
    return Predicted(found.images, unreadable, found.others, found.folders)


def _make(output: Path) -> None:
    try:
        output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(
            f"nothing can be written in {output}: {error.strerror}; give another --output folder."
        ) from error


def _say_threshold(workdir: Path, model: Model, checkpoint: str) -> None:
    if "threshold" in (read_results(workdir) or {}) and "threshold" not in model.results:
        print(
            f"the {checkpoint} checkpoint's threshold is not known, .5 decides; `vocjax evaluate "
            f"--workdir {workdir} --checkpoint {checkpoint}` chooses it on train",
            file=sys.stderr,
        )


def _read_numbers(path: Path) -> dict[str, dict[str, float]]:
    if not path.exists():
        return {}
    try:
        numbers = bounds.read_json(path, bounds.ARRAYS)
        if not isinstance(numbers, dict):
            raise ValueError("it holds no object")
    except (OSError, ValueError) as error:
        raise UserError(
            f"{path} can't be read: {getattr(error, 'strerror', error)}. It must hold what an "
            "earlier prediction wrote: move it away, or give another --output folder."
        ) from error
    return numbers


@contextlib.contextmanager
def _writing(path: Path, numbers: Mapping[str, Any]) -> Iterator[Callable[[], None]]:
    """Give a function that writes a JSON object as it is by now, but not all the time.

    It is written at the end, too, whether that comes by an error, an interruption or neither; an
    empty object is not.
    """
    due = 0.0

    def write(*, at_the_end: bool = False) -> None:
        nonlocal due
        begun = time.monotonic()
        if at_the_end or begun >= due:
            lines = (f"  {to_json(key)}: {to_json(value)}" for key, value in numbers.items())
            write_text(path, "{\n" + ",\n".join(lines) + "\n}\n")
            due = begun + 20 * (time.monotonic() - begun)  # a large file at longer intervals

    try:
        yield write
    finally:
        if numbers:
            write(at_the_end=True)


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


def _read(
    images: Sequence[Path], unreadable: list[Path], bar: tqdm
) -> Iterator[tuple[Path, np.ndarray]]:
    for path in images:
        bar.update()
        try:
            photo = read_photo(path)
        except UserError as error:
            bar.write(f"{printable(path)} is skipped: {error}", file=sys.stderr)
            unreadable.append(path)
        else:
            yield path, photo


def _chunks(photos: Iterable[T], size: int, numbers: Callable[[T], int]) -> Iterator[list[T]]:
    """Cut a stream into lists of at most `size`, fewer where photos are large."""
    chunk: list[T] = []
    for photo in photos:
        chunk.append(photo)
        if len(chunk) == size or sum(map(numbers, chunk)) > NUMBERS_AT_ONCE:
            yield chunk
            chunk = []
    if chunk:
        yield chunk
