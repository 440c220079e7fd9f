"""The tables of scale: data, resolution, batch, devices, and devices on paper."""

from typing import Any

from experiments.tables.kept import markdown

MIB = 2**20
Record = dict[str, Any]


def scale_tables(records: list[Record]) -> dict[str, str]:
    """Return the tables by name."""
    of = {
        name: [record for record in records if record["measure"] == name]
        for name in ("data", "step", "devices")
    }
    fewest = min(record["batch"] for record in of["step"])
    smallest = min(record["pixels"] for record in of["step"])
    largest = max(of["step"], key=lambda r: (r["pixels"] == smallest, r["batch"]))
    return {
        "scale, data": _data(of["data"]),
        "scale, resolution": _steps([r for r in of["step"] if r["batch"] == fewest]),
        "scale, batch": _steps([r for r in of["step"] if r["pixels"] == smallest]),
        "scale, devices": _devices(of["devices"]),
        "scale, on paper": _on_paper(of["devices"], largest),
    }


def _data(records: list[Record]) -> str:
    """Return seconds to prepare and to open, images a second, and memory, by copies."""
    rows = [
        [
            *("data", "images", "on disk, MiB", "prepare, s", "preparing, peak MiB", "open, s"),
            *("read, images/s", "reading, peak MiB", "trained, images/s", "training, peak MiB"),
        ]
    ]
    for record in records:
        prepared = [f"{record['disk'] / MIB:.1f}", f"{record['prepare_seconds']:.1f}"]
        read = [f"{record['read']:.0f}", f"{record['read_peak'] / MIB:.0f}"]
        trained = [f"{record['trained']:.0f}", f"{record['peak'] / MIB:.0f}"]
        rows.append(
            [
                *(f"{record['copies']}x", f"{record['images']:,}", *prepared),
                *(f"{record['prepare_peak'] / MIB:.0f}", f"{record['open_seconds']:.2f}"),
                *(*read, *trained),
            ]
        )
    return markdown(rows)


def _steps(records: list[Record]) -> str:
    """Return seconds of a step, images a second, and memory, by pixels and batch."""
    rows = [
        [
            *("px", "batch", "a step, s", "of the processor, s", "images/s"),
            *("arrays of the step, MiB", "peak of the process, MiB"),
        ]
    ]
    for record in records:
        seconds = record["seconds"]
        rows.append(
            [
                *(str(record["pixels"]), str(record["batch"]), f"{seconds:.3g}"),
                *(f"{record['processor_seconds']:.3g}", f"{record['batch'] / seconds:.1f}"),
                *(f"{record['arrays'] / MIB:.0f}", f"{record['peak'] / MIB:.0f}"),
            ]
        )
    return markdown(rows)


def _devices(records: list[Record]) -> str:
    """Return loss, difference from one device, and what a device holds and moves."""
    rows = [
        [
            *("devices", "parameters", "loss", "largest difference from one device"),
            *("a device's parameters, KiB", "its optimizer state, KiB", "collectives, KiB"),
        ]
    ]
    for record in records:
        held, moved = record["held"], sum(record["moved"].values())
        rows.append(
            [
                *(str(record["devices"]), "sharded" if record["split"] else "replicated"),
                *(f"{record['loss']:.6f}", f"{record['difference']:.1e}"),
                *(f"{size / 1024:.0f}" for size in (held["params"], held["opt_state"], moved)),
            ]
        )
    return markdown(rows)


def moved_on_paper(parameters: int, devices: int, split: bool) -> float:
    """Return the bytes that a device sends in a step, of parameters of so many bytes.

    Replicas add their gradients in a ring, 2 (n - 1) / n of them (Patarasuk and Yuan 2009). Shards
    are gathered for the forward and for the backward pass, and gradients scattered: 3 (n - 1) / n
    (ZeRO-3; Rajbhandari et al. 2020).
    """
    return (3 if split else 2) * (devices - 1) / devices * parameters


def efficiency(step: float, moved: float, bytes_per_second: float) -> float:
    """Return the share of the time that a device computes, where it computes or sends."""
    return step / (step + moved / bytes_per_second)


def _on_paper(records: list[Record], step: Record) -> str:
    """Return bytes that a device sends, and the efficiency by interconnect.

    Each device has the batch of the row `step`.
    """
    paper = records[0]["paper"]
    links = paper["bytes_per_second"]
    peak = paper["operations_per_second"]
    seconds = step["operations"] / peak
    alone = f"a step's operations at {peak / 1e12:.0f}e12/s, ms"
    shown = [f"efficiency, {name}, {rate / 1e9:.0f} GB/s" for name, rate in links.items()]
    rows = [["devices", "parameters", "sent in a step, KiB", alone, *shown]]
    for record in records:
        split = record["split"]
        moved = moved_on_paper(record["parameters"], record["devices"], split)
        shares = (f"{efficiency(seconds, moved, rate):.1%}" for rate in links.values())
        cells = [f"{moved / 1024:.0f}", f"{1e3 * seconds:.3f}", *shares]
        rows.append([str(record["devices"]), "sharded" if split else "replicated", *cells])
    return markdown(rows)
