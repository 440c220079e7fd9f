"""Foreign arrays and our parameters, matched strictly: there, and back for export."""

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict

from vocjax.errors import UserError
from vocjax.models.backbones.keys import (
    KeyMap,
    Layout,
    Shape,
    convert,
    foreign_shape,
    restore,
)
from vocjax.pretrained.formats.darknet import NUMBERS

Arrays = Mapping[str, np.ndarray]

# Foreign names of what a file may hold beside the network's own weights.
IGNORED = (
    r".*\.num_batches_tracked",  # torch's batch norm counts its steps
    r"(aux[12]|AuxLogits)\..*",  # torchvision's auxiliary heads, where the network has none
)
REST = " numbers at the end"  # of a file without names: how many of them nothing was made of


class Match(NamedTuple):
    """What a file gives a network."""

    arrays: dict[str, np.ndarray]  # float32, in our layout, by our path
    skipped: tuple[str, ...]  # our paths that keep their own draw
    ignored: tuple[str, ...]  # foreign names that nothing was made of, or how many numbers: `REST`


def flatten(variables: Mapping[str, Any]) -> dict[str, Any]:
    """Leaves of a network's variables by path, without the collection: "backbone/conv1/bias"."""
    return {"/".join(path[1:]): leaf for path, leaf in flatten_dict(variables).items()}


def fill(variables: Mapping[str, Any], arrays: Arrays) -> dict[str, Any]:
    """Return variables with the leaves that `arrays` has by path; raises KeyError for others."""
    paths = {"/".join(path[1:]): path for path in flatten_dict(variables)}
    return unflatten_dict(
        flatten_dict(variables) | {paths[path]: array for path, array in arrays.items()}
    )


def match(
    arrays: Arrays,
    names: KeyMap,
    shapes: Mapping[str, Shape],
    skip: Sequence[str] = (),
    ignore: Sequence[str] = (),
) -> Match:
    """Bring a file's arrays into a network's layout, all of them or none.

    Args:
      arrays: by foreign name, as `files.read` gives them.
      names: the network's table, (foreign name, layout) by our path.
      shapes: of all the network's parameters and statistics, by our path. What the table has beyond
        them, as the head where the network is a backbone alone, is ignored.
      skip: regexes of the parts, parameters or modules by path, that the file shall not fill:
        "backbone/conv5|head" for a backbone that was trained up to its fourth stage. What the file
        has of them is ignored.
      ignore: regexes of foreign names that nothing shall be made of: "classifier.*" for a head
        that is not the network's own.

    Raises:
      UserError: an array is missing, left over, of another shape, not of finite floating-point
        numbers, a negative variance, or a kernel of zeros alone: with all that are, by both names.
        Or a regex is none, or matches nothing.
    """
    left_out = _matching(skip, shapes)
    spared = names_to_ignore(ignore, arrays)
    arrays = {name: array for name, array in arrays.items() if name not in spared}
    rest = 0
    if set(arrays) == {NUMBERS}:
        arrays, rest = _cut(arrays[NUMBERS], names, shapes, left_out)
    wanted = {path: names.get(path) for path in shapes if path not in left_out}
    known = {name for name, _ in names.values()}
    known |= {name for name in arrays if any(re.fullmatch(regex, name) for regex in IGNORED)}

    missing = [path for path, entry in wanted.items() if not entry or entry[0] not in arrays]
    surplus = [name for name in arrays if name not in known]
    found = {path: entry for path, entry in wanted.items() if entry and path not in missing}
    wrong = {
        path: reason
        for path, (name, layout) in found.items()
        if (reason := _fault(path, arrays[name], layout, shapes[path]))
    }
    if missing or surplus or wrong:
        raise UserError(_report(missing, surplus, wrong, arrays, names, shapes))
    taken = {entry[0] for entry in found.values()}
    ignored = [name for name in (*arrays, *spared) if name not in taken]
    return Match(
        {p: convert(arrays[name], layout, shapes[p]) for p, (name, layout) in found.items()},
        tuple(left_out),
        (*ignored, *([f"{rest}{REST}"] if rest else [])),
    )


def names_to_ignore(ignore: Sequence[str], names: Iterable[str]) -> dict[str, None]:
    """Return the foreign names that a regex matches whole; as a dict, for the order.

    Raises `UserError` for a regex that is none, or matches nothing.
    """
    names, chosen = list(names), dict[str, None]()
    for regex in ignore:
        try:
            matched = [name for name in names if re.fullmatch(regex, name)]
        except re.error as error:
            raise UserError(f"the names to ignore, {regex!r}, are no regex: {error}.") from error
        if not matched:
            raise UserError(
                f"the names to ignore, {regex!r}, match no whole name in the file, which has for "
                f"instance {', '.join(names[-3:])}. Give a regex that does, or leave it out."
            )
        chosen |= dict.fromkeys(matched)
    return chosen


def restore_names(params: Arrays, names: KeyMap) -> dict[str, np.ndarray]:
    """Return our arrays, by path, in the foreign layout under their foreign names.

    Raises `UserError` for a parameter that has no foreign name.
    """
    if nameless := [path for path in params if path not in names]:
        raise UserError(
            f"{', '.join(nameless)} can't be exported: these names have none for it. Choose "
            "another source of names, or export the backbone alone."
        )
    return {
        name: restore(np.asarray(params[path]), layout)
        for path, (name, layout) in names.items()
        if path in params
    }


def _matching(skip: Sequence[str], paths: Iterable[str]) -> dict[str, None]:
    """Return the paths that lie in, or are, what a regex matches; as a dict, for the order."""
    of_path = {path: _prefixes(path) for path in paths}
    chosen: dict[str, None] = {}
    for regex in skip:
        try:
            pattern = re.compile(regex)
        except re.error as error:
            raise UserError(f"the part to skip, {regex!r}, is no regex: {error}.") from error
        matched = [p for p, parts in of_path.items() if any(map(pattern.fullmatch, parts))]
        if not matched:
            modules = dict.fromkeys("/".join(path.split("/")[:2]) for path in of_path)
            raise UserError(
                f"the part to skip, {regex!r}, matches no parameter and no module; they lie "
                f"in {', '.join(modules)}."
            )
        chosen |= dict.fromkeys(matched)
    return chosen


def _prefixes(path: str) -> list[str]:
    """Return a path's modules and itself: "a/b" in "a" and "a/b"."""
    parts = path.split("/")
    return ["/".join(parts[: i + 1]) for i in range(len(parts))]


def _cut(
    numbers: np.ndarray, names: KeyMap, shapes: Mapping[str, Shape], skipped: Mapping[str, None]
) -> tuple[dict[str, np.ndarray], int]:
    """Cut Darknet's numbers into arrays in the order of their names, up to one that is not wanted.

    It may have another size in the file, so that nothing after it would be found: how many numbers
    are left there is the second value.
    """
    arrays: dict[str, np.ndarray] = {}
    start = 0
    for path, (name, layout) in names.items():
        if path in skipped or path not in shapes or start == len(numbers):
            _check_rest(len(numbers) - start, list(names)[len(arrays) :], shapes)
            return arrays, len(numbers) - start
        shape = foreign_shape(shapes[path], layout)
        end = start + math.prod(shape)
        if end > len(numbers):
            raise UserError(
                f"the file's {len(numbers)} numbers end within {path} ({name}), which takes those "
                f"from {start} to {end}. Expected them to end where an array does: the file is cut "
                "off, or of another network."
            )
        arrays[name] = numbers[start:end].reshape(shape)
        start = end
    if start < len(numbers):
        raise UserError(
            f"the file has {len(numbers)} numbers, and the network takes {start}. Expected the "
            "same; the file is of another network, or of one with more classes: then skip the "
            "head."
        )
    return arrays, 0


def _check_rest(rest: int, paths: Sequence[str], shapes: Mapping[str, Shape]) -> None:
    """Raise `UserError` unless so many numbers can be what `paths` have, where that is a head.

    Every class has as many, its bias and its row of the kernel; how many classes, the file knows.
    """
    known = [shapes[path] for path in paths if path in shapes]
    if not known or not all(path.startswith("head/") for path in paths):
        return
    of_class = sum(math.prod(shape[:-1]) for shape in known)
    if rest % of_class:
        raise UserError(
            f"the file has {rest} numbers where the head begins ({paths[0]}). Expected a multiple "
            f"of {of_class}, so many for each class: the file is cut off, or of another network."
        )


def _fault(path: str, array: np.ndarray, layout: Layout, shape: Shape) -> str:
    """Say why an array can't be a parameter's values; empty if it can."""
    expected = foreign_shape(shape, layout)
    if array.shape != expected:
        return f"has shape {array.shape}, expected {expected}"
    if array.dtype != np.float32:
        return f"has elements of {array.dtype}, expected floating-point numbers"
    if not np.isfinite(array).all():
        return "holds NaN or infinity, expected finite numbers"
    if path.endswith("/var") and array.min() < 0:
        return "holds a negative variance"
    if path.endswith("/kernel") and not array.any():
        return "holds zeros alone: was its download cut off?"
    return ""


def _report(
    missing: list[str],
    surplus: list[str],
    wrong: dict[str, str],
    arrays: Arrays,
    names: KeyMap,
    shapes: Mapping[str, Shape],
) -> str:
    def both(path: str) -> str:
        return f"{path} ({names[path][0] if path in names else 'without a foreign name'})"

    sections = {
        "missing from it": map(both, missing),
        "left over in it": (f"{name} of shape {arrays[name].shape}" for name in surplus),
        "not as the network has it": (f"{both(path)} {reason}" for path, reason in wrong.items()),
    }
    lines = ["the file does not fit the network, which wants all its parameters and nothing else."]
    for title, entries in sections.items():
        if indented := [f"  {entry}" for entry in entries]:
            lines += [f"{len(indented)} {title}:", *indented]
    parts = "|".join(_whole_parts([*missing, *wrong], shapes))
    if surplus:
        lines.append(
            "Name the network, its variant and the source of names that the file is of; what is "
            "no part of it, as another head, is left out by --ignore REGEX, for its name."
        )
    if parts:
        lines.append(f"To draw anew what it lacks, skip that part: {parts}")
    return "\n".join(lines)


def _whole_parts(chosen: Sequence[str], paths: Iterable[str]) -> list[str]:
    """Return the largest modules that hold chosen paths only, and paths that are in none."""
    others = {part for path in paths if path not in chosen for part in _prefixes(path)}
    return list(
        dict.fromkeys(
            next(part for part in _prefixes(path) if part not in others) for path in chosen
        )
    )
