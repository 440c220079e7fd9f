"""Where a network is in a weight file: whose names its arrays have, and what stands before them."""

import re
import shlex
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from itertools import islice
from typing import NamedTuple

from vocjax.errors import UserError
from vocjax.models.backbones.keys import KeyMap
from vocjax.pretrained.formats.darknet import NUMBERS

# Foreign names of arrays that a file may have besides the network's own weights.
IGNORED = (
    r".*\.num_batches_tracked",  # torch's batch norm counts its steps
    r"(.*\.)?(aux[12]|AuxLogits)\..*",  # torchvision's auxiliary heads, where the network has none
)
DEEPEST = 12  # modules in modules, before the name of a network's array


class Place(NamedTuple):
    """Where a network is in a file."""

    source: str  # of the names, one of `SOURCES[backbone]`
    prefix: str  # that stands before all of them: "module."


def locate(arrays: Iterable[str], key_maps: Mapping[str, KeyMap], source: str = "") -> Place:
    """Return where in a file a network is, by the foreign names of its arrays.

    That is the source, of a backbone's `key_maps`, and the prefix with most of the names. A wrapper
    sets a prefix before all names of a network ("module."), and so does what holds it
    ("state_dict.model.", "resnet50/"). If `source` is given, it is taken, whatever the names.

    Raises `UserError` if no source has more than half of the names with its prefix; or if the
    network is there more than once, as with its moving averages.
    """
    key_maps = {source: key_maps[source]} if source else key_maps
    names = [name for name in arrays if not any(re.fullmatch(regex, name) for regex in IGNORED)]
    if names == [NUMBERS] and "darknet" in key_maps:
        return Place("darknet", "")
    known = {source: {theirs for theirs, _ in its.values()} for source, its in key_maps.items()}
    under: Counter[str] = Counter()
    found: Counter[Place] = Counter({Place(source, ""): 0 for source in key_maps})
    for name in names:
        for start in _starts(name):
            under[name[:start]] += 1
            found.update(
                Place(source, name[:start]) for source in known if name[start:] in known[source]
            )
    fitting = [
        place
        for place, n in found.items()
        # A few names, as of a head, are alike in many networks.
        if 2 * n > under[place.prefix] and (not place.prefix or 8 * n > len(known[place.source]))
    ]
    if not fitting:
        if source:
            return Place(source, "")
        raise UserError(_unlike(names, found, key_maps))
    best = max(fitting, key=found.__getitem__)
    alike = {place.prefix: None for place, n in found.items() if 2 * n > found[best]}
    if len(alike) > 1:
        # One that no other begins: leaving out "ema." would leave out "ema.module.", too.
        kept = next(a for a in alike if not any(a != b and a.startswith(b) for b in alike))
        others = "|".join(re.escape(prefix) for prefix in alike if prefix != kept)
        regex = f"({others}).*" if len(alike) > 2 else f"{others}.*"
        raise UserError(
            f"the file has arrays of this network after {len(alike)} prefixes of their names, "
            f"{' and '.join(map(repr, alike))}, as where moving averages stand beside the weights. "
            f"Choose one by leaving out the others; --ignore {shlex.quote(regex)} takes the one "
            f"after {kept!r}."
        )
    return best


def _starts(name: str) -> list[int]:
    """Return where a network's own name may begin in a file's: at first, and after separators."""
    return [0, *islice((found.end() for found in re.finditer(r"[./]", name)), DEEPEST)]


def _unlike(names: Sequence[str], found: Counter[Place], key_maps: Mapping[str, KeyMap]) -> str:
    """Return how a file's names differ from those of the source that is nearest."""
    ((nearest, count),) = found.most_common(1)
    its = {nearest.prefix + theirs for theirs, _ in key_maps[nearest.source].values()}
    strange = sorted(name for name in names if name not in its)[:3]
    first = nearest.prefix + next(iter(key_maps[nearest.source].values()))[0]
    return (
        f"the names of the file's arrays come from no source of this backbone "
        f"({', '.join(key_maps)}). The nearest is {nearest.source}, which has {count} of "
        f"{len(names)} names. It names an array {first!r}, for instance; the file has "
        f"{', '.join(map(repr, strange))}. Give --backbone the network that the file belongs to, "
        "and leave out what is no part of it, by --ignore REGEX."
    )


def with_prefix(names: KeyMap, prefix: str) -> KeyMap:
    """Return a key map for a file in which a prefix stands before all names."""
    return {path: (prefix + theirs, layout) for path, (theirs, layout) in names.items()}
