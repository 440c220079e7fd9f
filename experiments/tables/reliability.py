"""The README's line on reliability, from what `make fuzz` and `make chaos` counted."""

from typing import Any


def reliability(records: list[dict[str, Any]]) -> str:
    """Return two sentences with the counts of the kept rounds."""
    by_name = {record["name"]: record for record in records}
    fuzz, chaos = by_name["fuzz"], by_name["chaos"]
    return (
        f"`make fuzz SECONDS={fuzz['seconds']:.0f}`: {fuzz['held']:,} of {fuzz['tried']:,} changed "
        f"files and requests were read, or refused in a sentence. `make chaos`: "
        f"{chaos['equal']} of {chaos['kills']} killed trainings,\n{chaos['while_saving']} of them "
        "killed in a save, continued and ended equal to the last bit.\n"
    )
