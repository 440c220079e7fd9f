"""The figures of `make fuzz` and `make chaos`, kept as a file of records."""

import json
from pathlib import Path
from typing import Any

from vocjax.files import to_json, write_text
from vocjax.runs.provenance import environment


def keep(path: Path, record: dict[str, Any]) -> None:
    """Write a record, with what it depends on, in the place of the one of its name."""
    known = json.loads(path.read_text()) if path.exists() else []
    others = [other for other in known if other["name"] != record["name"]]
    lines = map(to_json, [*others, record | {"provenance": environment()}])
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text(path, "[\n" + ",\n".join(lines) + "\n]\n")
