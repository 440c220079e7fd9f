"""The classes of a data set: their names, and the colours of its masks."""

import unicodedata
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from ml_collections import ConfigDict

from vocjax.errors import UserError, check_choice

VOID = 255  # of a mask: a pixel that counts for nothing
MOST = 254  # classes: 0 is background
ALL = "all"

# VOC's colours, uint8 [256, 3]: the bits of an index, lowest first, go to R, G and B in turn.
_BITS = np.arange(256)[:, None] >> np.arange(3)
PALETTE = np.asarray(sum(((_BITS >> 3 * k) & 1) << (7 - k) for k in range(3)), np.uint8)
PALETTE.setflags(write=False)


class Classes(NamedTuple):
    """The classes of a data set: index k + 1 of a mask is `names[k]`, and column k of `labels`.

    Index 0 is background and 255 void, which are no classes and have no name here. `palette`,
    uint8 [256, 3], is the colour of each index of a mask; `stated` colours are those of a file, and
    with `ordered` False that file gives the classes no indices that are sure: colours say all.
    """

    names: tuple[str, ...]
    palette: np.ndarray = PALETTE
    stated: bool = False
    ordered: bool = True


VOC = Classes(
    (
        "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow",
        "diningtable", "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa",
        "train", "tvmonitor",
    )
)  # fmt: skip


def check_names(names: tuple[str, ...], where: str) -> None:
    """Raise `UserError` unless the names of classes are 0 to 254, each once, and can be written.

    A flag must be able to say a name, and a table to show it: none is empty or `all`, or has a
    comma, an equals sign or a control character. `where` says in the message where the
    names come from.
    """
    if len(names) > MOST:
        raise UserError(
            f"{where} names {len(names)} classes; a mask of one byte a pixel has room for {MOST} "
            "beside background and void. Merge classes, or leave some out."
        )
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None or "" in names:
        what = f"names {twice!r} twice" if twice else "has an empty name"
        raise UserError(f"{where} {what}; each class has a name of its own.")
    for name in names:
        control = any(unicodedata.category(c) in ("Cc", "Cs", "Zl", "Zp") for c in name)
        if name == ALL or control or {*name} & {*",="}:
            raise UserError(
                f"{where} names the class {name!r}; expected names without commas, equals signs "
                f"and control characters, and other than {ALL!r}: flags could not say them. Rename "
                "the class."
            )


def with_classes(config: ConfigDict, classes: Classes) -> ConfigDict:
    """Return a config that says which classes its data set has, and which of them it chose.

    `data.names` and `data.palette` stay empty where they are VOC's. `data.classes` "all" becomes
    every name, and "cat,dog", as a shell hands it over, two names. Raises `UserError` for a class
    that the data set does not have.
    """
    config = config.copy_and_resolve_references()
    data, n = config.data, len(classes.names)
    if data.classes and not n:
        raise UserError(
            f"data.classes is {', '.join(map(str, data.classes))}, and the images of "
            f"{data.dataset} have no classes; an autoencoder learns without: "
            "--config.data.classes='()'."
        )
    data.names = () if classes.names == VOC.names else classes.names
    own = not np.array_equal(classes.palette[: n + 1], PALETTE[: n + 1])
    data.palette = tuple(map(tuple, classes.palette[: n + 1].tolist())) if own else ()
    data.classes = chosen(data)
    return config


def classes_of(data: Mapping[str, Any]) -> Classes:
    """Return the classes that the `data` of a config, or of a run's config, says it has."""
    palette = PALETTE.copy()
    given = data.get("palette") or ()
    palette[: len(given)] = np.array(given, np.uint8).reshape(-1, 3)
    return Classes(tuple(data.get("names") or ()) or VOC.names, palette)


def chosen(data: ConfigDict) -> tuple[str, ...]:
    """Return the classes that `data.classes` names; `UserError` for an unknown or repeated one."""
    names, given = classes_of(data).names, tuple(data.classes)
    if len(given) == 1 and given[0] not in names:
        given = tuple(name.strip() for name in str(given[0]).split(","))
    if given == (ALL,):
        return names
    if ALL in given:
        raise UserError(
            f"data.classes is {', '.join(given)}; {ALL} means every class, and so stands alone. "
            f"Give {ALL}, or the names of classes."
        )
    for name in given:
        try:
            check_choice("data.classes", name, names)
        except UserError as error:
            raise UserError(
                f"{error} The config names it, or an override; for all classes of {data.dataset} "
                f"give --config.data.classes={ALL}."
            ) from error
    if len(set(given)) < len(given):
        raise UserError(
            f"data.classes names a class twice: {', '.join(given)}. Name each class once."
        )
    return given


def class_columns(data: ConfigDict) -> tuple[int, ...]:
    """Return the column of each class of `data.classes` in `labels`, as `chosen` finds them."""
    names = classes_of(data).names
    return tuple(names.index(name) for name in chosen(data))
