"""The README's line on reliability, from what `make fuzz` and `make chaos` counted."""

from typing import Any


def reliability(records: list[dict[str, Any]]) -> str:
    """Return a line with the counts of the kept rounds."""
    fuzz, chaos = ({r["name"]: r for r in records}[name] for name in ("fuzz", "chaos"))
    faults = fuzz["tried"] - fuzz["held"]
    return (
        f"`make fuzz`: {fuzz['tried']:,} changed files and requests, {faults} at fault. "
        f"`make chaos`: {chaos['kills']} kills, {chaos['equal']} runs equal to the bit."
    )
