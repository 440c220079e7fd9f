"""A data set that TFDS has prepared as ArrayRecord files, read without TensorFlow."""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow_datasets as tfds
from PIL import Image
from tqdm import tqdm

from vocjax.bounds import parse_json, read_json
from vocjax.data.classes import Classes
from vocjax.data.devkit import ABSENT, PRESENT, Record, Source, mask_labels
from vocjax.data.layouts import names
from vocjax.data.layouts.lists import choose_stems, split_of
from vocjax.data.layouts.request import TFDS, Request, parse_features
from vocjax.data.layouts.text import shown
from vocjax.data.masks import encode_mask, parse_values, read_mask
from vocjax.data.records import check_records
from vocjax.errors import UserError, check_choice

# TFDS imports the module of any type that features.json names, so it may name these alone.
_ROOT = "tensorflow_datasets.core.features."
TYPES = {
    _ROOT + name
    for name in (
        "audio_feature.Audio", "bounding_boxes.BBoxFeature", "class_label_feature.ClassLabel",
        "dataset_feature.Dataset", "feature.FeatureConnector", "features_dict.FeaturesDict",
        "image_feature.Image", "labeled_image.LabeledImage", "optional_feature.Optional",
        "scalar.Scalar", "sequence_feature.Sequence", "tensor_feature.Tensor", "text_feature.Text",
        "translation_feature.Translation", "video_feature.Video",
    )
}  # fmt: skip
OBJECT = "object"  # in --mask_values: the class that the label of the image says
_ADVICE = (
    "If a mask shows one object, of the class that the label says, give what its values mean, for "
    f"example --mask_values 1={OBJECT},2=background,3=void."
)


def read(dataset: str, data_dir: Path, scratch: Path, request: Request) -> Source:
    """Write the images and masks of `tfds:NAME` to `scratch`, and say what is known of them.

    The classes are those of the label feature, or `--classes`. `object` in `--mask_values` is the
    class of the image's label. Raises `UserError` where the data set, a feature or its names lack.
    """
    builder = _open(dataset, data_dir)
    features = parse_features(request.features)
    known = {ours: _feature(builder.info.features, name) for ours, name in features.items()}
    named = _classes(dataset, request, known)
    values, by_label = _values(request, named, known)
    chosen, _ = choose_stems(builder.info.splits)
    chosen = chosen or {"all": min(builder.info.splits)}
    left = sorted({*builder.info.splits} - {*chosen.values()})
    records: list[Record] = []
    parts: dict[str, list[str]] = {}
    for part, stem in chosen.items():
        written = [
            _written(example, scratch / f"{stem}_{number:06d}", named.classes, by_label)
            for number, example in enumerate(_examples(builder, stem, features))
        ]
        records += written
        parts[part] = [record.id for record in written]
    if not request.mask_values:
        _check_labels(records, named.classes, values)
    split = split_of(parts, request.held_out)
    records = [
        r._replace(main=split.of[r.id], segmentation=split.of[r.id] if r.mask else "none")
        for r in sorted(records, key=lambda r: r.id)
    ]
    warnings = (f"nothing reads the splits {shown(left)} of {dataset}.",) if left else ()
    origin = f"TFDS {builder.info.full_name}{split.said}"
    return Source(records, named.classes, origin, {} if by_label else values, warnings)


def check_types(directory: Path) -> None:
    """Raise `UserError` where features.json names a type of which TFDS would import the module."""
    path = directory / "features.json"
    try:
        wrong = sorted({*_types(read_json(path))} - TYPES)
    except (OSError, ValueError) as error:
        raise UserError(f"{path} can't be read ({error}). Prepare the data set again.") from error
    if wrong:
        raise UserError(
            f"{path} names the type {wrong[0]}, and reading it would run code of that module; "
            f"expected types of TFDS itself, {_ROOT}Image and so on. Don't use this data set "
            "unless you trust it; then store its images as files, and give --images or --folders."
        )


def _types(value: Any) -> Iterator[str]:
    """Yield each type that features.json names, also in JSON within JSON."""
    if isinstance(value, list):
        for item in value:
            yield from _types(item)
    if not isinstance(value, dict):
        return
    for key, item in value.items():
        if key in ("pythonClassName", "python_class_name") or (
            key == "type" and isinstance(item, str)
        ):
            yield str(item)
        elif key == "json" and isinstance(item, str):
            yield from _types(parse_json(item))
        else:
            yield from _types(item)


def _open(dataset: str, data_dir: Path) -> Any:
    folder = data_dir / dataset.removeprefix(TFDS)
    versions = [path.parent for path in folder.glob("*/features.json")]
    if not versions:
        inner = sorted(path.parent.parent.name for path in folder.glob("*/*/features.json"))
        hint = f" It has the configs {shown(inner)}: give {dataset}/{inner[0]}." if inner else ""
        raise UserError(
            f"{folder} holds no data set that TFDS has prepared (VERSION/features.json).{hint} "
            "Give TFDS's folder with --data_dir, ~/tensorflow_datasets for example."
        )
    newest = max(versions, key=lambda path: [int(n) for n in re.findall(r"\d+", path.name)])
    check_types(newest)
    try:
        builder = tfds.builder_from_directory(newest)
    except Exception as error:  # TFDS, protobuf and json each raise their own
        raise UserError(
            f"{newest} can't be opened as a data set of TFDS ({error!r}). Prepare it again."
        ) from error
    kind = builder.info.file_format.value if builder.info.file_format else "unknown"
    if kind != "array_record":
        raise UserError(
            f"{newest} is stored as {kind}, which needs TensorFlow; expected array_record. Prepare "
            "it again with TFDS: tfds.builder(NAME, file_format='array_record')"
            ".download_and_prepare()."
        )
    return builder


def _feature(features: Any, name: str) -> Any:
    """Return a feature by its path, `label` or `objects/label`."""
    place = ""
    for part in name.split("/"):
        inner = getattr(features, "feature", features)  # of a sequence
        check_choice(f"--features: the feature {place}{part}", part, sorted(inner))
        features, place = inner[part], f"{place}{part}/"
    return getattr(features, "feature", features)


def _classes(dataset: str, request: Request, known: Mapping[str, Any]) -> names.Named:
    label, mask = known.get("label"), known.get("mask")
    if label is not None and not isinstance(label, tfds.features.ClassLabel):
        raise UserError(
            f"--features: label is a {type(label).__name__} in {dataset}; expected a ClassLabel, "
            "whose names are the classes."
        )
    if request.classes and not known.keys() & {"label", "mask"}:
        raise UserError("--classes makes no sense without label=NAME or mask=NAME in --features.")
    if request.mask_values and mask is None:
        raise UserError("--mask_values makes no sense without mask=NAME in --features.")
    if request.classes:
        named = names.given(request.classes)
        if label is not None and label.num_classes != len(request.classes):
            raise UserError(
                f"--classes names {len(request.classes)} classes, and the label of {dataset} has "
                f"{label.num_classes}. Name each, or leave the flag out."
            )
        return named
    if label is not None:
        return names.as_they_are(label.names, dataset)
    if mask is None:
        return names.Named(Classes(()), "")
    if isinstance(mask, tfds.features.LabeledImage) and mask.num_classes:
        meaning = dict(enumerate(mask.names))
        if not all(name.isdigit() for name in meaning.values()):  # TFDS makes numbers of no names
            return names.of_values(meaning, dataset)
    raise UserError(
        f"nothing names the classes of the masks of {dataset}. Give --classes a,b,c in the order "
        "of their indices, from 1 on, or label=NAME in --features."
    )


def _values(
    request: Request, named: names.Named, known: Mapping[str, Any]
) -> tuple[dict[int, int], dict[int, int]]:
    """Return what the values of masks mean; second, if `object` is among them, for each label."""
    if not request.mask_values:
        return dict(named.values), {}
    if re.search(rf"=\s*{OBJECT}\s*(,|$)", request.mask_values) and "label" in known:
        return {}, parse_values(request.mask_values, Classes((OBJECT,)))
    return parse_values(request.mask_values, named.classes), {}


def _written(
    example: Mapping[str, Any], start: Path, classes: Classes, by_label: dict[int, int]
) -> Record:
    """Write the image and mask of an example to files whose paths begin with `start`."""
    image, mask, labels = Path(f"{start}.png"), None, None
    image.write_bytes(_encoded(example["image"]))
    if "label" in example:
        labels = np.full(len(classes.names), ABSENT, np.int8)
        indices = np.atleast_1d(np.asarray(example["label"], np.int64))
        labels[indices[indices >= 0]] = PRESENT  # TFDS writes -1 where nothing is known
    if "mask" in example:
        mask, content = Path(f"{start}_mask.png"), _encoded(example["mask"])
        mask.write_bytes(_of_label(content, mask, by_label, labels) if by_label else content)
    return Record(start.name, image, mask, labels, "", "none")


def _check_labels(records: list[Record], classes: Classes, values: Mapping[int, int]) -> None:
    """Raise `UserError` where most masks show classes that the labels of their images deny."""
    both, wrong = 0, []
    for record in records:
        if record.labels is None or record.mask is None:
            continue
        both += 1
        try:
            mask, _ = read_mask(record.mask.read_bytes(), record.mask, classes, values)
        except UserError as error:
            raise UserError(f"{error} {_ADVICE}") from error
        shows = mask_labels(mask, len(classes.names)) == PRESENT
        if (shows & (record.labels == ABSENT)).any():
            wrong.append((record, shows))
    if 2 * len(wrong) <= both:
        return
    record, shows = wrong[0]
    seen, said = (
        shown([classes.names[k] for k in np.flatnonzero(of)]) or "nothing"
        for of in (shows, record.labels == PRESENT)
    )
    raise UserError(
        f"{len(wrong)} of {both} masks show classes that the labels deny: in {record.id} the mask "
        f"would show {seen}, and the label says {said}. {_ADVICE} If its values are the indices of "
        f"classes, give each: 0=background,1={classes.names[0]} and so on."
    )


def _of_label(
    content: bytes, path: Path, values: dict[int, int], labels: np.ndarray | None
) -> bytes:
    """Return a mask in which the object has the class of the image's one label."""
    present = np.flatnonzero(labels == PRESENT)
    mask = read_mask(content, path, Classes((OBJECT,)), values).indices
    if len(present) != 1:
        raise UserError(
            f"{path.stem} has {len(present)} labels, and --mask_values says that its mask shows "
            f"the {OBJECT} of the label; expected one label. Name a class instead of {OBJECT}."
        )
    return encode_mask(np.where(mask == 1, present[0] + 1, mask).astype(np.uint8))


def _examples(builder: Any, split: str, features: Mapping[str, str]) -> Iterator[dict[str, Any]]:
    """Yield the chosen features of each example, images as they are stored."""
    decoders: dict[str, Any] = _undecoded(builder.info.features) or {}
    for ours in ("image", "mask"):
        if features.get(ours):
            *above, last = features[ours].split("/")
            inner = decoders
            for part in above:
                inner = inner.setdefault(part, {})
            inner[last] = tfds.decode.SkipDecoding()
    try:
        for file in builder.info.splits[split].filepaths:
            check_records(Path(file))
    except ValueError as error:
        raise UserError(f"the records of {builder.data_dir} are not read: {error}.") from error
    source = builder.as_data_source(split, decoders=decoders)
    for row in tqdm(range(len(source)), desc=f"reading {split}", unit="image", disable=None):
        example = source[row]
        found = {}
        for ours, path in features.items():
            value = example
            for part in path.split("/"):
                value = value[part]
            found[ours] = value
        yield found


def _undecoded(feature: Any) -> Any:
    """Return decoders that leave images, films and sounds as they are stored, at any depth.

    TFDS would open them with whatever program is installed for their kind. None where there are
    none.
    """
    if isinstance(feature, tfds.features.Image | tfds.features.Video | tfds.features.Audio):
        return tfds.decode.SkipDecoding()
    if isinstance(feature, tfds.features.FeaturesDict):
        inner = {name: _undecoded(part) for name, part in feature.items()}
        return {name: decoder for name, decoder in inner.items() if decoder} or None
    return _undecoded(feature.feature) if isinstance(feature, tfds.features.Sequence) else None


def _encoded(value: Any) -> bytes:
    """Return the bytes of an image file for what TFDS stores: those, or an array."""
    if isinstance(value, bytes):
        return value
    pixels = np.asarray(value)
    pixels = pixels[..., 0] if pixels.ndim == 3 and pixels.shape[2] == 1 else pixels
    if pixels.dtype != np.uint8 or pixels.ndim not in (2, 3):
        raise UserError(
            f"an image or mask of the data set is an array {pixels.dtype} {pixels.shape}; expected "
            "an image, or uint8 [height, width, channels]. Name another feature in --features."
        )
    return encode_mask(np.asarray(Image.fromarray(pixels)))
