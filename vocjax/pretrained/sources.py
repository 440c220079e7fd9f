"""Which source a weight file comes from."""

import re
from collections.abc import Iterable, Mapping

from vocjax.errors import UserError
from vocjax.models.backbones.keys import KeyMap
from vocjax.pretrained.formats.darknet import NUMBERS
from vocjax.pretrained.matching import IGNORED


def detect(arrays: Iterable[str], key_maps: Mapping[str, KeyMap]) -> str:
    """Return the source whose key map has most of a file's arrays.

    Args:
      arrays: their foreign names, as `formats.read` gives them.
      key_maps: of one backbone, by source.

    Raises:
      UserError: no key map has more than half of the names.
    """
    names = {name for name in arrays if not any(re.fullmatch(regex, name) for regex in IGNORED)}
    if names == {NUMBERS} and "darknet" in key_maps:
        return "darknet"
    known = {
        source: names.intersection(theirs for theirs, _ in key_map.values())
        for source, key_map in key_maps.items()
    }
    source = max(known, key=lambda source: len(known[source]))
    if 2 * len(known[source]) > len(names):
        return source
    strange = sorted(names - known[source])[:3]
    raise UserError(
        f"the names of the file's arrays come from no source of this backbone "
        f"({', '.join(key_maps)}). The nearest is {source}, which has {len(known[source])} of "
        f"{len(names)} names. It names an array {next(iter(key_maps[source].values()))[0]!r}, for "
        f"instance; the file has {', '.join(map(repr, strange))}. Give --backbone the network that "
        "the file belongs to."
    )
