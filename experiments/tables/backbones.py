"""The table of backbones."""

from collections.abc import Callable
from typing import Any

from experiments.tables.kept import markdown


def backbones_table(records: list[dict[str, Any]]) -> str:
    """Return a Markdown table of backbones: how large, how near to their origins', how fast.

    A cell is empty where there is no such origin.
    """
    origins = {"torchvision": "torchvision", "keras": "Keras"}
    header = ["backbone", "pixels", "parameters", "multiply-adds, 10^9"]
    header += [f"error against {shown}" for shown in origins.values()]
    rows = [[*header, "images/s forward", "images/s in training"]]
    for record in records:
        size, speed = record["size"], record["speed"]
        compared = [record.get(origin, {}) for origin in origins]
        cells = [
            _measured(size, lambda found: f"{found['parameters']:,}"),
            _measured(size, lambda found: f"{found['multiply_adds'] / 1e9:.2f}"),
            *(_measured(of_one, lambda found: f"{found['error']:.2g}") for of_one in compared),
            _measured(speed, lambda found: f"{found['forward']:.1f}"),
            _measured(speed, lambda found: f"{found['training']:.1f}"),
        ]
        rows.append([record["backbone"], str(record["pixels"]), *cells])
    return markdown(rows)


def _measured(found: dict[str, Any] | None, shown: Callable[[dict[str, Any]], str]) -> str:
    """Show what was found, if it was measured (else None), and there is such a thing (else {})."""
    if found is None:
        return "not measured"
    return shown(found) if found else ""
