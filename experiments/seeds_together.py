"""What a step of several seeds costs in one program, and one after the other, on this device.

    python experiments/seeds_together.py --output runs/seeds_together.json

Each network takes the same few steps on `toy` in both ways, after one that compiles; the quickest
step counts. On CPU the clock is that of the process, which other work on the machine touches
little: give it a single core (`taskset -c 0`), and its seconds are those of a clock on the wall. A
record of the same network, seeds and device in the file is replaced; kept as
experiments/results/seeds_together.json the file makes a table.
"""

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

import jax
import numpy as np
from ml_collections import ConfigDict

from vocjax.config import load_config
from vocjax.data import voc
from vocjax.data.dataset import open_dataset
from vocjax.data.pipeline import plan
from vocjax.errors import UserError
from vocjax.files import to_json, write_text
from vocjax.mesh import make_mesh
from vocjax.runs.provenance import environment
from vocjax.training.evaluation import make_evaluator
from vocjax.training.group import Group, Member, make_group_step
from vocjax.training.phases import phase_optimizer
from vocjax.training.setup import Setup, batches_of, initial_variables
from vocjax.training.step import initial_state
from vocjax.training.validate import validate

# Small ones, of which a device has more than enough left, and convolutions that fill it.
NETWORKS = {
    "linear autoencoder, 16 px": ("linear_autoencoder", ("data.size=16", "batch_size=32")),
    "AE 256, 16 px": ("autoencoder_256", ("data.size=16", "batch_size=8")),
    "U-Net, 32 px": ("segmentation_unet", ("data.size=32", "batch_size=8")),
    "AE 256, 32 px": ("autoencoder_256", ("data.size=32", "batch_size=8")),
}
STEPS = 3


def step_seconds(configs: list[ConfigDict]) -> float:
    """Return the seconds of a step of runs, one of each config, in one program."""
    mesh, config, valid = make_mesh(), configs[0], validate(configs[0])
    prepared = voc.load(config.data.dataset, Path(config.data.data_dir))
    data = open_dataset(config, prepared, mesh)
    evaluator = make_evaluator(valid.task, valid.sums, config.batch_size, mesh)
    (phase, *_), batches = valid.phases, batches_of(data, config)
    setups = [
        Setup(of, Path(), valid, data, (phase_optimizer(of, phase, batches),), evaluator, {})
        for of in configs
    ]
    members = tuple(Member(setup, None, None) for setup in setups)  # type: ignore[arg-type]
    group = Group(members, evaluator, lambda step: None, {}, {})
    states = []
    for setup in setups:
        variables = initial_variables(setup)
        trained, _ = phase.split(variables["params"])
        opt_state = setup.optimizers[0].init(trained)
        states.append(initial_state(setup.config, variables, opt_state, valid.sums))
    state, step = group.join(states), make_group_step(group, phase, 0)
    train = data.splits["train"]
    (batch,) = train.batches(plan(np.arange(config.batch_size), config.batch_size, mesh))
    clock = time.process_time if jax.default_backend() == "cpu" else time.perf_counter
    taken = []
    for _ in range(1 + STEPS):
        begun = clock()
        state, _ = jax.block_until_ready(step(state, (batch,) * len(configs)))
        taken.append(clock() - begun)
    return min(taken[1:])


def measure(network: str, seeds: int, data_dir: Path) -> dict[str, Any]:
    """Return the seconds that a step of so many seeds takes in each of both ways."""
    name, fields = NETWORKS[network]
    overrides = [f"--config.{field}" for field in (*fields, f"data.data_dir={data_dir}")]
    configs = [load_config(name, [*overrides, f"--config.seed={seed}"]) for seed in range(seeds)]
    return {
        "network": network,
        "seeds": seeds,
        "one_by_one": seeds * step_seconds(configs[:1]),
        "at_once": step_seconds(configs),
        "provenance": environment() | {"overrides": overrides},
    }


def main() -> int:
    """Parse the flags; 0 when done, 1 for a mistake."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--output", type=Path, required=True, metavar="FILE")
    parser.add_argument("--data_dir", type=Path, default=Path("data"), help="default: data")
    parser.add_argument("--seeds", type=int, default=3, help="default: 3")
    only = "measure these alone"
    parser.add_argument("--only", nargs="+", choices=NETWORKS, default=[*NETWORKS], help=only)
    options = parser.parse_args()

    def key(record: dict[str, Any]) -> tuple[Any, ...]:
        return record["network"], record["seeds"], record["provenance"]["device"]["kind"]

    try:
        known = json.loads(options.output.read_text()) if options.output.exists() else []
        for network in options.only:
            found = measure(network, options.seeds, options.data_dir)
            known = [*(record for record in known if key(record) != key(found)), found]
            lines = [to_json(record) for record in known]
            write_text(options.output, "[\n" + ",\n".join(lines) + "\n]\n")
            alone, at_once = found["one_by_one"], found["at_once"]
            print(f"{network}: {alone:.3f} s one by one, {at_once:.3f} s at once", flush=True)
    except (UserError, OSError, ValueError) as error:
        print(f"seeds_together: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
