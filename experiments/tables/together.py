"""The table of seeds that train in one program."""

from typing import Any

from experiments.tables.kept import markdown


def together_table(records: list[dict[str, Any]]) -> str:
    """Return a Markdown table of the seconds that a step of several seeds takes in both ways."""
    rows = [["network", "seeds", "device", "one by one, s", "in one program, s", "quotient"]]
    for record in records:
        alone, at_once = record["one_by_one"], record["at_once"]
        device = record["provenance"]["device"]
        cores = f", cores: {device['cores']}" if device["platform"] == "cpu" else ""
        cells = [f"{device['kind']}{cores}", f"{alone:.3g}", f"{at_once:.3g}"]
        rows.append([record["network"], str(record["seeds"]), *cells, f"{at_once / alone:.2f}"])
    return markdown(rows)
