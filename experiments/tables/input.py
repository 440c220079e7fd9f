"""The table of the input pipeline beside a training step."""

from typing import Any

from experiments.tables.kept import markdown


def input_table(records: list[dict[str, Any]]) -> str:
    """Return a Markdown table of images per second, and of the share of a step that waits."""
    titles = ["ours", "grain", "grain, a process", "step", "step, fed", "waits", "ours / step"]
    rows = [["data", "pixels", "threads", *titles]]
    for record in records:
        rates = [_rate(record[name]) for name in ("ours", "grain", "grain_process")]
        steps = [f"{record[name]:.3g}" for name in ("step", "step_fed")]
        quotient = f"{record['ours']['median'] / record['step']:.2g}"
        where = [record["data"], str(record["pixels"]), str(record["threads"])]
        rows.append([*where, *rates, *steps, f"{record['waits']:.1%}", quotient])
    return markdown(rows)


def _rate(found: dict[str, Any]) -> str:
    """Return a median and its range, or why there is none."""
    if "missing" in found:
        return str(found["missing"])
    median, least, most = (f"{found[name]:.3g}" for name in ("median", "least", "most"))
    return median if least == most else f"{median} ({least} to {most})"
