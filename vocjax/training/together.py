"""Runs of one architecture, in one program on accelerators: `train_together(configs, workdirs)`."""

import json
from collections.abc import Sequence
from pathlib import Path

import jax
from ml_collections import ConfigDict

from vocjax.config import differences, to_json
from vocjax.errors import UserError, local_path
from vocjax.training.loop import Outcome, Watch, train_group
from vocjax.training.optimizers import NUMBERS

AT_ONCE = 8  # runs in one program at most: each needs the memory of a run

# What can end a run and leave others as they are; the last one is the device's memory, say.
FAILURES = (UserError, OSError, jax.errors.JaxRuntimeError)


def train_together(
    configs: Sequence[ConfigDict],
    workdirs: Sequence[Path | str],
    at_once: bool | None = None,
    watch: Watch = Watch(),  # noqa: B008
) -> list[Outcome]:
    """Train and evaluate runs of one `kind`, each in its own directory and as if it were alone.

    Each run has its own order of images, keys, log, checkpoints and early stop. `at_once` trains up
    to `AT_ONCE` of them in one program. By default that is done on accelerators, and on CPU they
    train one after the other (measured in experiments/README.md). Both give the same within
    rounding, and a run that was begun in one way can be continued in the other.

    Return the results of each, or the error that ended it. Raises `UserError` where the configs are
    of several kinds, `Interrupted` as `train_and_evaluate` does.
    """
    directories = [local_path(workdir) for workdir in workdirs]
    for config in configs[1:]:
        if kind(config) != kind(configs[0]):
            raise UserError(
                "runs that train together may differ in name, seed and optimizer."
                f"{', optimizer.'.join(NUMBERS)} alone, and 0 is not mixed with other values there;"
                " two of these differ in\n  " + "\n  ".join(differences(configs[0], config))
            )
    if at_once is None:
        at_once = jax.default_backend() != "cpu"
    whole = configs[0].epochs and not configs[0].shard_parameters  # a closed form has no steps
    size = AT_ONCE if at_once and whole else 1
    outcomes: list[Outcome] = []
    for first in range(0, len(configs), size):
        some = slice(first, first + size)
        try:
            outcomes += train_group(configs[some], directories[some], watch=watch)
        except FAILURES as error:
            told = error if isinstance(error, UserError) else UserError(f"it failed: {error}")
            outcomes += [told] * len(configs[some])
    return outcomes


def kind(config: ConfigDict) -> str:
    """Return a text that is the same for configs that can train together.

    Of the numbers of the optimizer only whether they are 0 counts: 0 leaves a part of it out.
    """
    fields = json.loads(to_json(config))
    numbers = {name: bool(fields["optimizer"][name]) for name in NUMBERS}
    shared = fields | {"name": "", "seed": 0, "optimizer": fields["optimizer"] | numbers}
    return json.dumps(shared, sort_keys=True)
