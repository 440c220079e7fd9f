"""The tables of the benchmark: seconds of a step, of inference, of an epoch, to the first step."""

from collections.abc import Callable
from typing import Any

from experiments.tables.kept import markdown

TITLES = {
    "ours": "ours",
    "torch": "PyTorch",
    "torch_compile": "torch.compile",
    "keras_tensorflow": "Keras on TensorFlow",
    "keras_jax": "Keras on JAX",
}
Figures = dict[str, Any]  # of a framework


def speed_tables(records: list[dict[str, Any]]) -> dict[str, str]:
    """Return the tables by name; that of an epoch only where a row has one."""
    clock, suffix = clock_of(records)
    found = {
        "speed, a step": _steps(records, clock, f"step{suffix}"),
        "speed, inference": _quotients(
            records, f"inference{suffix}", "inference_against_best", clock
        ),
        "speed, the first step": _table(records, lambda found: _first(found, f"first{suffix}")),
        "speed, memory": _table(records, lambda found: f"{found['memory']['median'] / 2**20:.0f}"),
    }
    if of_epoch := [record for record in records if record.get("epoch")]:
        found["speed, an epoch"] = _quotients(
            of_epoch, f"epoch{suffix}", "epoch_against_best", clock, digits=1
        )
    return found


def clock_of(records: list[dict[str, Any]]) -> tuple[str, str]:
    """Return the clock of the figures, and what follows their names.

    Seconds are the processor's where the process had a single core, those on the wall elsewhere.
    """
    single = all(record["provenance"]["device"]["cores"] == 1 for record in records)
    return ("processor", "_processor") if single else ("wall", "")


def _steps(records: list[dict[str, Any]], clock: str, name: str) -> str:
    """Return seconds a step, images a second of ours, the quotient with the best, and the floor."""
    more = ["ours, images/s", "best other / ours", "floor, products", "floor, copies"]

    def of_row(record: dict[str, Any]) -> list[str]:
        step, best = record["frameworks"]["ours"][name], record["against_best"][clock]
        floor = record["floor_seconds"][clock]
        return [
            f"{record['batch_size'] / step['median']:.1f}",
            _spread(best) if best else "",
            f"{floor['operations']:.2g}",
            f"{floor['bytes']:.2g}",
        ]

    return _table(records, lambda found: _spread(found[name]), more, of_row)


def _quotients(
    records: list[dict[str, Any]], name: str, against: str, clock: str, digits: int = 2
) -> str:
    """Return seconds, of a batch's outputs or of an epoch, and the quotient with the best."""

    def of_row(record: dict[str, Any]) -> list[str]:
        best = record[against][clock]
        return [_spread(best) if best else ""]

    more = ["best other / ours"]
    return _table(records, lambda found: _spread(found[name], digits), more, of_row)


def _table(
    records: list[dict[str, Any]],
    shown: Callable[[Figures], str],
    more: list[str] | None = None,
    of_row: Callable[[dict[str, Any]], list[str]] = lambda _: [],
) -> str:
    """Return a table with a line for each row and a column for each framework."""
    names = [name for name in TITLES if any(name in record["frameworks"] for record in records)]
    rows = [["row", *(TITLES[name] for name in names), *(more or [])]]
    for record in records:
        found = [record["frameworks"].get(name, {"missing": "not run"}) for name in names]
        cells = [one["missing"] if "missing" in one else shown(one) for one in found]
        rows.append([title_of(record), *cells, *of_row(record)])
    return markdown(rows)


def title_of(record: dict[str, Any]) -> str:
    """Return a row's name, its batch and its images."""
    return f"{record['title']}, {record['batch_size']} at {record['pixels']} px"


def _first(found: Figures, name: str) -> str:
    """Return seconds from the start to the first step: cold, and warm where there is a cache.

    XLA's compilation is a share of them, since it is measured by the clock on the wall alone.
    """
    text, compiled = f"{found[name]['median']:.1f}", found["compilation"]
    if compiled:
        text += f" (compiling: {compiled['median'] / found['first']['median']:.0%})"
    warm = found[f"warm_{name}"]
    return f"{text}, warm {warm['median']:.1f}" if warm else text


def _spread(found: dict[str, float], digits: int = 2) -> str:
    """Return a median and, where it has one, the range; two digits at least of what is small."""
    if found["median"] < 0.01:
        return f"{found['median']:.2g}"
    text = f"{found['median']:.{digits}f}"
    least, most = (f"{found[end]:.{digits}f}" for end in ("least", "most"))
    return text if least == most else f"{text} ({least} to {most})"
