"""What seeds cost that train in one program, and one after the other, on the device that is there.

    python experiments/seeds_together.py --workdir runs/seeds_together \
        --output runs/seeds_together.json

Each network trains on `toy` with so many seeds in both ways. What counts are the seconds of an
epoch's steps, the least of three epochs, so that other work on the machine counts little; the
first epoch, which compiles, is left out. A record of the same network, seeds and device in the file
is replaced; kept as experiments/results/seeds_together.json the file makes a table.
"""

import argparse
import json
import shutil
import sys
from pathlib import Path
from typing import Any

from vocjax.config import load_config
from vocjax.errors import UserError
from vocjax.files import to_json, write_text
from vocjax.runs.provenance import environment
from vocjax.runs.reader import read_epochs
from vocjax.training.together import train_together

# Small ones, of which a device has more than enough left, and convolutions that fill it.
NETWORKS = {
    "linear autoencoder, 16 px": ("linear_autoencoder", ("data.size=16", "batch_size=32")),
    "AE 256, 16 px": ("autoencoder_256", ("data.size=16",)),
    "AE 256, 32 px": ("autoencoder_256", ("data.size=32",)),
    "U-Net, 32 px": ("segmentation_unet", ("data.size=32",)),
}
SHARED = ("epochs=4", "evaluate_every_epochs=1")


def measure(network: str, seeds: int, data_dir: Path, workdir: Path) -> dict[str, Any]:
    """Return the seconds that an epoch of so many seeds takes in each of both ways."""
    name, fields = NETWORKS[network]
    overrides = [f"--config.{x}" for x in (*fields, *SHARED, f"data.data_dir={data_dir}")]
    configs = [load_config(name, [*overrides, f"--config.seed={seed}"]) for seed in range(seeds)]
    shutil.rmtree(workdir, ignore_errors=True)  # what is measured was trained now
    found = {}
    for way, at_once in (("one_by_one", False), ("at_once", True)):
        runs = [workdir / way / str(seed) for seed in range(seeds)]
        for outcome in train_together(configs, runs, at_once):
            if isinstance(outcome, UserError):
                raise outcome
        seconds = [min(epoch["seconds"] for epoch in read_epochs(run)[1:]) for run in runs]
        found[way] = seconds[0] if at_once else sum(seconds)  # at once, all have the same clock
    made = environment() | {"overrides": overrides}
    return {"network": network, "seeds": seeds, **found, "provenance": made}


def main() -> int:
    """Parse the flags; 0 when done, 1 for a mistake."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--workdir", type=Path, required=True, metavar="DIR")
    parser.add_argument("--output", type=Path, required=True, metavar="FILE")
    parser.add_argument("--data_dir", type=Path, default=Path("data"), help="default: data")
    parser.add_argument("--seeds", type=int, default=3, help="default: 3")
    options = parser.parse_args()

    def key(record: dict[str, Any]) -> tuple[Any, ...]:
        return record["network"], record["seeds"], record["provenance"]["device"]["kind"]

    try:
        known = json.loads(options.output.read_text()) if options.output.exists() else []
        for network in NETWORKS:
            folder = options.workdir / network.replace(", ", "_").replace(" ", "_")
            found = measure(network, options.seeds, options.data_dir, folder)
            known = [record for record in known if key(record) != key(found)] + [found]
            lines = [to_json(record) for record in known]
            write_text(options.output, "[\n" + ",\n".join(lines) + "\n]\n")
            alone, at_once = found["one_by_one"], found["at_once"]
            print(f"{network}: {alone:.2f} s one by one, {at_once:.2f} s at once")
    except (UserError, OSError, ValueError) as error:
        print(f"seeds_together: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
