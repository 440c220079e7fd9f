"""A trained run applied to images: in Python, or to files with a picture of each."""

import contextlib
import json
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict
from tqdm import tqdm

from vocjax.data.photo import read_photo
from vocjax.data.pipeline import resize_image
from vocjax.data.splits import SPLITS
from vocjax.errors import UserError
from vocjax.files import replacing
from vocjax.mesh import make_mesh
from vocjax.models.fields import image_shape
from vocjax.runs.reader import read_json, read_results
from vocjax.runs.restore import load_run
from vocjax.tasks import TASKS
from vocjax.tasks.task import Description, Outputs, Task, Variables

T = TypeVar("T")

NUMBERS_AT_ONCE = 10**8  # of photos in memory together, three a pixel


class Model(NamedTuple):
    """A trained run, ready to be applied; `vocjax.load(workdir)` makes one.

    `apply(variables, images [batch_size, height, width, channels]) -> outputs` is jitted. `results`
    holds results.json for the last checkpoint, and what `vocjax evaluate` wrote for the best.
    """

    config: ConfigDict
    task: Task
    variables: Variables
    step: int
    results: dict[str, Any]
    apply: Callable[[Variables, np.ndarray], Outputs]

    def predict(self, images: Iterable[str | Path | np.ndarray]) -> list[dict[str, float]]:
        """Return the numbers that `vocjax predict` prints of each image: class probabilities, say.

        `images` are files, or arrays uint8 [height, width, 3] of any size; `UserError` for others.
        """
        if isinstance(images, str | Path) or not isinstance(images, Iterable):
            raise UserError(f"predict takes a list of images; for one, give [{str(images)!r}].")
        chunks = _chunks(map(_pixels, images), self.config.batch_size, lambda photo: photo.size)
        return [said.numbers for chunk in chunks for said in self.describe(chunk)]

    def describe(self, photos: Sequence[np.ndarray]) -> list[Description]:
        """Return numbers and pictures for photos, uint8 [height, width, 3] each."""
        size, _, channels = image_shape(self.config)
        resized = [resize_image(photo, size, channels).astype(np.float32) / 255 for photo in photos]
        outputs = self.outputs(np.stack(resized))
        describe, known = TASKS[self.config.task].describe, self.results
        return [
            describe({k: v[i] for k, v in outputs.items()}, resized[i], photo, self.config, known)
            for i, photo in enumerate(photos)
        ]

    def outputs(self, images: np.ndarray) -> dict[str, np.ndarray]:
        """Return outputs [n, ...] by name of images [n, height, width, channels], all float32."""
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

    return Model(config, task, variables, step, _results(workdir, checkpoint, step), apply)


def _results(workdir: Path, checkpoint: str, step: int) -> dict[str, Any]:
    """Return what is known of a checkpoint: results.json, or what `vocjax evaluate` wrote of it."""
    if checkpoint == "last":
        return read_results(workdir) or {}
    known = (read_json(workdir / f"evaluation_{split}_{checkpoint}.json") for split in SPLITS)
    return next((found for found in known if found and found.get("step") == step), {})


def predict(
    workdir: Path, images: Sequence[Path], output: Path, checkpoint: str = "last"
) -> tuple[int, list[Path]]:
    """Write the predictions of a run for images; return their number and those that can't be read.

    `NAME.png` is a picture: the resized image and its reconstruction, the classifier's evidence
    or the mask over the image at its own size; of a mask `NAME_mask.png` holds the indices, with
    VOC's palette. predictions.json has the numbers by file: probabilities, or each class's share of
    the image. In a folder every file counts as an image. `UserError` where the run can't be loaded,
    there is no image, or two would write the same picture.
    """
    paths = files_of(images)
    _check_names(paths, output)
    model = load_model(workdir, checkpoint)
    chosen = "threshold" in (read_results(workdir) or {})
    if chosen and "threshold" not in model.results:
        print(
            f"the {checkpoint} checkpoint's threshold is not known, .5 decides; `vocjax evaluate "
            f"--workdir {workdir} --checkpoint {checkpoint}` chooses it on train",
            file=sys.stderr,
        )
    try:
        output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"nothing can be written in {output}: {error}.") from error
    unreadable: list[Path] = []
    with (
        json_object(output / "predictions.json") as write,
        tqdm(total=len(paths), unit="image", disable=not sys.stderr.isatty()) as bar,
    ):
        photos = _read(paths, unreadable, bar)
        for chunk in _chunks(photos, model.config.batch_size, lambda read: read[1].size):
            described = model.describe([photo for _, photo in chunk])
            for (path, _), said in zip(chunk, described, strict=True):
                write(str(path), said.numbers)
                numbers = (f"{name} {value:.4f}" for name, value in said.numbers.items())
                bar.write(" ".join([str(path), *numbers]), file=sys.stdout)
                for ending, picture in said.pictures.items():
                    picture.save(output / f"{path.stem}{ending}.png")
    return len(paths), unreadable


def files_of(images: Sequence[Path]) -> list[Path]:
    """Return files, and those in folders in the order of their names, each once."""
    found: list[Path] = []
    for image in images:
        inside = sorted(p for p in image.iterdir() if p.is_file()) if image.is_dir() else [image]
        found += inside
    if not found:
        raise UserError(f"there is no file in {', '.join(map(str, images))}.")
    return list(dict.fromkeys(found))


@contextlib.contextmanager
def json_object(path: Path) -> Iterator[Callable[[str, Any], None]]:
    """Write a JSON object entry by entry, by the `write(key, value)` that this gives."""
    empty = True
    with replacing(path) as part, part.open("w", encoding="utf-8") as file:

        def write(key: str, value: Any) -> None:
            nonlocal empty
            file.write(f"{'{' if empty else ','}\n  {json.dumps(key)}: {json.dumps(value)}")
            empty = False

        yield write
        file.write("{}\n" if empty else "\n}\n")


def _check_names(images: Sequence[Path], output: Path) -> None:
    by_name: dict[str, Path] = {}
    inputs = {path.resolve() for path in images}
    for path in images:
        for name in (f"{path.stem}.png", f"{path.stem}_mask.png"):
            if (output / name).resolve() in inputs:
                raise UserError(
                    f"a picture of {path}, {name}, would replace an image that is to be read; give "
                    "another --output folder."
                )
            other = by_name.setdefault(name, path)
            if other is not path:
                raise UserError(
                    f"pictures of {other} and {path} would both be written to {name}; "
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


def _read(
    images: Sequence[Path], unreadable: list[Path], bar: tqdm
) -> Iterator[tuple[Path, np.ndarray]]:
    for path in images:
        bar.update()
        try:
            photo = read_photo(path)
        except UserError as error:
            bar.write(f"{path} is skipped: {error}", file=sys.stderr)
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
