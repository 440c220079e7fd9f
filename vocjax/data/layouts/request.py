"""What `data prepare` is asked for, and which of it makes sense together."""

import re
from pathlib import Path
from typing import Any, NamedTuple

from vocjax.data.devkit import YEARS
from vocjax.errors import UserError, check_choice

TFDS = "tfds:"
OWN = "small letters, digits, _ and -"
FIELDS = ("image", "label", "mask")  # of --features


class Request(NamedTuple):
    """Where the data of a data set lies and how it is to be read; the flags of `data prepare`."""

    archive: Path | None = None  # the official tar of a year
    devkit: Path | None = None  # an unpacked devkit, official or one's own
    folders: Path | None = None  # a folder for each class
    images: Path | None = None  # images, with or without
    masks: Path | None = None  # a folder of masks
    sbd: Path | None = None  # SBD's masks, SegmentationClassAug
    lists: tuple[Path, ...] = ()  # train and val lists, or a folder with them
    classes: tuple[str, ...] = ()
    held_out: float | None = None  # share; None: that of `files.SHARE` where no list says
    mask_values: str = ""  # see `masks.parse_values`
    features: str = ""  # of TFDS: "image=NAME,label=NAME,mask=NAME"

    def given(self) -> list[str]:
        """Return the flags that are set."""
        return [
            f"--{name}" for name, value in self._asdict().items() if value not in (None, (), "")
        ]


def absolute(request: Request) -> Request:
    """Return a request with absolute paths, which can be compared."""
    paths: dict[str, Any] = {
        name: value.absolute()
        for name, value in request._asdict().items()
        if isinstance(value, Path)
    }
    return request._replace(**paths, lists=tuple(path.absolute() for path in request.lists))


def is_own(dataset: str) -> bool:
    """Return whether a data set is the user's own: neither the toy nor an official year."""
    return dataset != "toy" and dataset not in YEARS


def check_dataset(dataset: str) -> None:
    """Raise `UserError` unless a data set can have this name."""
    name = dataset.removeprefix(TFDS)
    pattern = r"[\w-]+(/[\w.-]+)?" if dataset.startswith(TFDS) else "[a-z0-9_-]+"
    if not re.fullmatch(pattern, name, re.ASCII):
        raise UserError(
            f"the data set is {dataset!r}; it is toy, {', '.join(YEARS)}, tfds:NAME for one that "
            f"TFDS has prepared, or a name of your own of {OWN}."
        )


def check_request(dataset: str, request: Request) -> None:
    """Raise `UserError` for flags that make no sense with each other or with the data set."""
    given = request.given()
    kind, allowed = _allowed(dataset, request)
    wrong = [flag for flag in given if flag not in allowed]
    if wrong:
        takes = ", ".join(allowed) if allowed else "no flag of a source"
        raise UserError(f"{wrong[0]} makes no sense with {kind}, which takes {takes}.")
    if request.archive and request.devkit:
        raise UserError("--archive and --devkit are two sources of the same; give one of them.")
    if request.held_out is not None and not 0 < request.held_out < 1:
        raise UserError(
            f"--held_out is {request.held_out}; expected a share of the images, more than 0 and "
            "less than 1, such as 0.2."
        )
    if request.classes and request.images and not request.masks:
        raise UserError("--classes names what masks show; with --images alone nothing shows them.")
    if request.mask_values and request.images and not request.masks:
        raise UserError("--mask_values says what pixels of masks mean; give --masks DIR with it.")


def parse_features(text: str) -> dict[str, str]:
    """Read `--features`, "image=image,label=species" say: ours -> TFDS's; the image has a default.

    Raises `UserError` for anything else.
    """
    features = {"image": "image"}
    for part in filter(None, text.split(",")):
        ours, _, theirs = (piece.strip() for piece in part.partition("="))
        check_choice("the left side of --features", ours, FIELDS)
        if not theirs:
            raise UserError(
                f"--features has {part!r}; expected {ours}=NAME, where NAME is a feature of the "
                "TFDS data set, as in image=image,label=label,mask=segmentation_mask."
            )
        features[ours] = theirs
    return features


def _allowed(dataset: str, request: Request) -> tuple[str, tuple[str, ...]]:
    """Return what the data set is, in words, and the flags that it takes."""
    if dataset == "toy":
        return "the drawn toy", ()
    if dataset in YEARS:
        return f"{dataset}, an official year", ("--archive", "--devkit")
    if dataset.startswith(TFDS):
        return "a data set of TFDS", ("--features", "--classes", "--held_out", "--mask_values")
    sources = {
        "--sbd": ("--archive", "--devkit", "--lists"),
        "--devkit": ("--classes", "--held_out", "--mask_values"),
        "--folders": ("--classes", "--held_out"),
        "--images": ("--masks", "--lists", "--classes", "--held_out", "--mask_values"),
    }
    for source, more in sources.items():
        if source in request.given():
            return source, (source, *more)
    raise UserError(
        f"{dataset} is no official year, and nothing says where it lies. Give --devkit DIR (a "
        "devkit of your own), --folders DIR (a folder for each class), --images DIR with or "
        "without --masks DIR, or --sbd DIR with VOC2012; or correct the name." + _nearest(dataset)
    )


def _nearest(dataset: str) -> str:
    try:
        check_choice("", dataset, ("toy", *YEARS))
    except UserError as error:
        _, _, suggestion = str(error).partition(" Did you")
        return f" Did you{suggestion}" if suggestion else ""
    return ""
