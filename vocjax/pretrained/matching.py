"""A weight file's arrays matched strictly with a network's parameters; and back, for export."""

import math
import re
import shlex
from collections.abc import Iterable, Mapping, Sequence
from itertools import accumulate
from typing import Any, NamedTuple

import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict

from vocjax.errors import UserError
from vocjax.models.backbones.keys import KeyMap, Layout, Shape, convert, foreign_shape, restore
from vocjax.pretrained.formats.darknet import NUMBERS
from vocjax.pretrained.locate import IGNORED

Arrays = Mapping[str, np.ndarray]

REST = " numbers at the end"  # in a file without names: how many of them were not used


class Match(NamedTuple):
    """What a file gives a network."""

    arrays: dict[str, np.ndarray]  # float32, in our layout, by our path
    skipped: tuple[str, ...]  # our paths that the file does not fill
    ignored: tuple[str, ...]  # foreign names that were not used, or how many numbers: `REST`


def flatten(variables: Mapping[str, Any]) -> dict[str, Any]:
    """Leaves of a network's variables by path, without the collection: "backbone/conv1/bias"."""
    return {"/".join(path[1:]): leaf for path, leaf in flatten_dict(variables).items()}


def fill(variables: Mapping[str, Any], arrays: Arrays) -> dict[str, Any]:
    """Return variables in which `arrays` replace the leaves at their paths; KeyError for others."""
    leaves = flatten_dict(variables)
    paths = {"/".join(path[1:]): path for path in leaves}
    return unflatten_dict(leaves | {paths[path]: array for path, array in arrays.items()})


def match(
    arrays: Arrays, names: KeyMap, shapes: Mapping[str, Shape], skip: Sequence[str] = ()
) -> Match:
    """Bring a file's arrays into a network's layout, all of them or none.

    `arrays` are those of `formats.read`; `shapes` those of all the network's parameters and
    statistics. `names` may have entries for a head that the network lacks. `skip` has regexes of
    parameters or modules, by our path, that the file shall not fill: "backbone/conv5|head" for a
    backbone that was trained up to its fourth stage. Arrays that the file has for them are ignored.

    Raises `UserError` if an array is missing, left over, of another shape, not of finite
    floating-point numbers, a negative variance, or a kernel of only zeros (all are listed by both
    names), and if a regex is invalid, or matches nothing.
    """
    modules = dict.fromkeys("/".join(path.split("/")[:2]) for path in shapes)
    there = f"path of a parameter or module; the network has {', '.join(modules)}"
    skipped = _matching("--skip", skip, {path: _prefixes(path) for path in shapes}, there)
    rest = 0
    if set(arrays) == {NUMBERS}:
        arrays, rest = _cut(arrays[NUMBERS], names, shapes, skipped)

    wanted = [path for path in shapes if path not in skipped]
    found = {p: names[p] for p in wanted if p in names and names[p][0] in arrays}
    known = {name for name, _ in names.values()}
    known |= {name for name in arrays if any(re.fullmatch(regex, name) for regex in IGNORED)}
    surplus = [name for name in arrays if name not in known]
    wrong = {
        path: fault
        for path, (name, layout) in found.items()
        if (fault := _fault(path, arrays[name], layout, shapes[path]))
    }
    if len(found) < len(wanted) or surplus or wrong:
        missing = [path for path in wanted if path not in found]
        left_over = {name: arrays[name].shape for name in surplus}
        report = _report(missing, left_over, wrong, names, shapes)
        biases = [path for path in wrong if path.endswith("/bias")]
        if len(biases) == 1 and all(path.startswith("head/") for path in wrong):
            size = arrays[names[biases[0]][0]].shape
            if len(size) == 1 and size != shapes[biases[0]]:
                report += f"\n{_classes(size[0])}."
        raise UserError(report)
    used = {name for name, _ in found.values()}
    ignored = [name for name in arrays if name not in used]
    return Match(
        {p: convert(arrays[name], layout, shapes[p]) for p, (name, layout) in found.items()},
        tuple(skipped),
        (*ignored, *([f"{rest}{REST}"] if rest else [])),
    )


def without(arrays: Arrays, ignore: Sequence[str]) -> Arrays:
    """Return a file's arrays without those whose foreign name a regex matches whole.

    Raises `UserError` for a regex that is invalid, or matches nothing.
    """
    there = f"name in the file; it has for instance {', '.join([*arrays][-3:])}"
    ignored = _matching("--ignore", ignore, {name: [name] for name in arrays}, there)
    return {name: array for name, array in arrays.items() if name not in ignored}


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


def _matching(
    flag: str, regexes: Sequence[str], parts: Mapping[str, list[str]], there: str
) -> dict[str, None]:
    """Return the keys of `parts` with a part that a regex matches whole."""
    chosen = dict[str, None]()
    for regex in regexes:
        try:
            pattern = re.compile(regex)
        except re.error as error:
            raise UserError(f"{flag} {regex!r} is no regular expression: {error}.") from error
        matched = [key for key, its in parts.items() if any(map(pattern.fullmatch, its))]
        if not matched:
            raise UserError(f"{flag} {regex!r} matches no whole {there}.")
        chosen |= dict.fromkeys(matched)
    return chosen


def _prefixes(path: str) -> list[str]:
    """Return a path's modules and the path itself: "a" and "a/b" for "a/b"."""
    return list(accumulate(path.split("/"), "{}/{}".format))


def _cut(
    numbers: np.ndarray, names: KeyMap, shapes: Mapping[str, Shape], skipped: Mapping[str, None]
) -> tuple[dict[str, np.ndarray], int]:
    """Cut Darknet's numbers into arrays, in the order of their names; count those that are left.

    It ends at the first parameter that is skipped, or that the network does not have: its size in
    the file is unknown, so nothing after it can be found.
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
                f"the file has {len(numbers)} numbers and ends within {path} ({name}), which takes "
                f"those from {start} to {end}. Expected it to end where an array ends: the file is "
                f"cut off, or of another network.{_classes_in(len(numbers), names, shapes)}"
            )
        arrays[name] = numbers[start:end].reshape(shape)
        start = end
    if start < len(numbers):
        raise UserError(
            f"the file has {len(numbers)} numbers, and the network takes {start}. Expected the "
            "same; the file is of another network, or of one with more classes: then --skip head "
            f"leaves them out.{_classes_in(len(numbers), names, shapes)}"
        )
    return arrays, 0


def _classes_in(numbers: int, names: KeyMap, shapes: Mapping[str, Shape]) -> str:
    """Return what to do if so many numbers are those of the network with other classes."""
    there = [path for path in names if path in shapes]
    head = [path for path in there if path.startswith("head/")]
    rest = numbers - sum(math.prod(shapes[path]) for path in there if path not in head)
    of_class = sum(math.prod(shapes[path][:-1]) for path in head)
    return f" {_classes(rest // of_class)}." if head and rest > 0 and not rest % of_class else ""


def _classes(number: int) -> str:
    return f"If the head in the file is of {number} classes, say so: --classes {number}"


def _check_rest(rest: int, paths: Sequence[str], shapes: Mapping[str, Shape]) -> None:
    """Raise `UserError` unless a head of some number of classes has so many numbers.

    Each class has the same number of them: its bias and its row of the kernel.
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
    """Return why an array can't be a parameter's values; empty if it can."""
    expected = foreign_shape(shape, layout)
    if array.shape != expected:
        return f"has shape {array.shape}, expected {expected}"
    if array.dtype != np.float32:
        return f"has elements of {array.dtype}, expected floating-point numbers"
    if not np.isfinite(array).all():
        return "has NaN or infinity, expected finite numbers"
    if path.endswith("/var") and array.min() < 0:
        return "has a negative variance"
    if path.endswith("/kernel") and not array.any():
        return "has only zeros: was its download cut off?"
    return ""


def _report(
    missing: list[str],
    left_over: Mapping[str, Shape],
    wrong: Mapping[str, str],
    names: KeyMap,
    shapes: Mapping[str, Shape],
) -> str:
    def both(path: str) -> str:
        return f"{path} ({names[path][0] if path in names else 'without a foreign name'})"

    sections = {
        "missing from it": [both(path) for path in missing],
        "left over in it": [f"{name} of shape {shape}" for name, shape in left_over.items()],
        "not as the network has it": [f"{both(path)} {fault}" for path, fault in wrong.items()],
    }
    lines = ["the file does not fit the network, which takes all its parameters and nothing else."]
    for title, entries in sections.items():
        if entries:
            lines += [f"{len(entries)} {title}:", *(f"  {entry}" for entry in entries)]
    if left_over:
        lines.append(
            "Name the network, its variant and the source of names that the file has; leave out "
            "what is no part of it, as another head, by --ignore REGEX, for its name."
        )
    if parts := "|".join(_whole_parts([*missing, *wrong], shapes)):
        lines.append(f"To draw anew what does not fit, skip that part: --skip {shlex.quote(parts)}")
    return "\n".join(lines)


def _whole_parts(chosen: Sequence[str], paths: Iterable[str]) -> list[str]:
    """Return the largest modules with only chosen paths, and the chosen paths that are in none."""
    others = {part for path in paths if path not in chosen for part in _prefixes(path)}
    parts = (next(part for part in _prefixes(path) if part not in others) for path in chosen)
    return list(dict.fromkeys(parts))
