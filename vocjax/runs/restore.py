"""Trained runs, restored to be applied."""

from pathlib import Path
from typing import NamedTuple

import jax
from jax.sharding import Mesh
from ml_collections import ConfigDict

from vocjax.compilation import keep_programs
from vocjax.errors import UserError
from vocjax.latent import LatentSpace, latent_space
from vocjax.mesh import make_mesh
from vocjax.models import build
from vocjax.runs.checkpoints import restore_variables
from vocjax.runs.reader import read_config, read_run
from vocjax.tasks import make_task
from vocjax.tasks.reconstruction import codec_of
from vocjax.tasks.task import Task, Variables


class Restored(NamedTuple):
    """A trained run, ready to be applied."""

    config: ConfigDict
    task: Task
    variables: Variables
    step: int


def load_run(workdir: Path, mesh: Mesh, checkpoint: str = "last") -> Restored:
    """Load a run directory's config, task and variables of its "last" or "best" checkpoint."""
    config = read_config(workdir)
    if config.get("keep_programs", True):  # a run of before has no such field
        keep_programs()
    task = make_task(config)
    shapes = jax.eval_shape(task.init, jax.random.key(0))
    step, variables = restore_variables(workdir, config, shapes, mesh, checkpoint)
    return Restored(config, task, variables, step)


def latent_space_of(workdir: Path | str) -> tuple[ConfigDict, LatentSpace]:
    """Return a finished run's config and latent space, with the axes of the codes that it kept."""
    workdir = Path(workdir)
    config, _, variables, _ = load_run(workdir, make_mesh())
    if config.task != "reconstruction":
        raise UserError(
            f"{workdir} is a run of {config.task}, which has no decoder; "
            "give one of reconstruction, of the config autoencoder_256 for instance."
        )
    samples = read_run(workdir).samples
    if "train/code" not in samples:
        raise UserError(f"{workdir} is not finished; continue its `vocjax train`.")
    codec = codec_of(build.autoencoder(config), config)
    return config, latent_space(codec, variables, samples["train/code"])
