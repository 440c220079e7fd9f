"""One loop for every task: `train_and_evaluate(config, workdir)`."""

import contextlib
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import optax
from ml_collections import ConfigDict
from tqdm import tqdm

from vocjax.compilation import keep_programs
from vocjax.data import voc
from vocjax.data.classes import with_classes
from vocjax.data.dataset import Dataset, facts_of, open_dataset
from vocjax.errors import UserError, local_path
from vocjax.mesh import ask_for_determinism, make_mesh, matmul_precision
from vocjax.pretrained.resolve import complete
from vocjax.runs import lock, places, writer
from vocjax.runs.checkpoints import Checkpoints, check_room
from vocjax.runs.reader import read_results
from vocjax.tasks.task import Task
from vocjax.training import weighting
from vocjax.training.evaluation import make_evaluator
from vocjax.training.final import evaluate_at_the_end
from vocjax.training.group import Member
from vocjax.training.phases import count, phase_optimizer
from vocjax.training.profile import Profile, Steps
from vocjax.training.records import Records
from vocjax.training.setup import Setup, batches_of, begin, notes, of_updates, restore
from vocjax.training.train import train_members
from vocjax.training.validate import check_examples, validate
from vocjax.training.weighting import GIVEN, with_class_weights
from vocjax.training.writers import open_writers

Outcome = dict[str, Any] | UserError  # of a run: its results, or what ended it


class Own(NamedTuple):
    """What Python code gives in place of the config's, as `train_and_evaluate` takes it."""

    task: Task | None = None
    data: Dataset | None = None
    optimizer: optax.GradientTransformation | None = None


class Watch(NamedTuple):
    """What looks on while runs train, and changes nothing in them.

    `make_bar` makes the progress display, as `Records` says; `profile` are steps to trace and to
    time, of one run alone; `wandb` is the project of Weights & Biases that gets the values.
    """

    make_bar: Callable[..., Any] = tqdm
    profile: Steps | None = None
    wandb: str = ""


def train_and_evaluate(
    config: ConfigDict,
    workdir: Path | str,
    task: Task | None = None,
    data: Dataset | None = None,
    optimizer: optax.GradientTransformation | None = None,
) -> dict[str, Any]:
    """Train a config's task in a run directory, evaluate it, and return the results.

    A run that was interrupted is continued, and so is one of fewer epochs at a constant learning
    rate; one that is finished, or has stopped early, is left as it is.

    Args:
      config: a whole config, as `config.load_config` returns it.
      workdir: the run directory; made where it does not exist.
      task: in place of the config's, `make_task(config)._replace(loss=...)` for instance.
      data: in place of the config's, `data.dataset.from_arrays(...)` for instance.
      optimizer: in place of the config's; phases still freeze parameters and scale updates.

    The result is what results.json holds: final metrics, best epoch, baselines. `UserError`
    where the config, the data or the directory can't be used, another process trains in it, or the
    loss is not finite; `Interrupted` where SIGTERM or Ctrl-C came, after the state was saved.
    """
    (outcome,) = train_group([config], [local_path(workdir)], Own(task, data, optimizer))
    if isinstance(outcome, UserError):
        raise outcome
    return outcome


def train_group(
    configs: Sequence[ConfigDict],
    workdirs: Sequence[Path],
    own: Own = Own(),  # noqa: B008  # it is immutable
    watch: Watch = Watch(),  # noqa: B008
) -> list[Outcome]:
    """Train configs of one `together.kind` in one program, each in its own run directory.

    Return the outcome of each; the arguments, and what is raised, are those of
    `train_and_evaluate`. A run whose loss is not finite ends alone.
    """
    if configs[0].keep_programs:
        keep_programs()
    if configs[0].deterministic:
        ask_for_determinism()
    mesh, custom = make_mesh(), [name for name, given in own._asdict().items() if given is not None]
    configs = [
        completed(config, workdir, own.data)
        for config, workdir in zip(configs, workdirs, strict=True)
    ]
    valid, *_ = [validate(config, own.task) for config in configs]
    for examples in own.data.splits.values() if own.data else ():
        check_examples(configs[0], examples, mesh)
    home = places.data_dir(workdirs[0], configs[0])
    source = own.data or voc.load(configs[0].data.dataset, home)
    outcomes: dict[int, Outcome] = {}

    def unfinished() -> list[int]:
        for i, (config, workdir) in enumerate(zip(configs, workdirs, strict=True)):
            writer.check(workdir, config, facts_of(source), custom)
            results = read_results(workdir)
            if results and (results["epoch"] == config.epochs or results.get("stopped_early")):
                outcomes[i] = results
        return [i for i in range(len(configs)) if i not in outcomes]

    with contextlib.ExitStack() as stack:
        stack.enter_context(matmul_precision(configs[0].matmul_precision))
        for i in unfinished():
            stack.enter_context(lock.alone(workdirs[i]))
        if left := unfinished():  # by no process that had the directory until now
            data = source if isinstance(source, Dataset) else open_dataset(configs[0], source, mesh)
            evaluator = make_evaluator(valid.task, valid.sums, configs[0].batch_size, mesh)
            setups = []
            for i in left:
                optimizers = tuple(
                    phase_optimizer(configs[i], phase, batches_of(data, configs[i]), own.optimizer)
                    for phase in valid.phases
                )
                setup = Setup(configs[i], workdirs[i], valid, data, optimizers, evaluator, {})
                setups.append(setup)
            said = [[*data.notes, *notes(s.config, s.workdir, source, data)] for s in setups]
            said = [
                [*lines, *weighting.notes(s.config), *of_updates(s, custom)]
                for s, lines in zip(setups, said, strict=True)
            ]
            outcomes |= zip(left, _run(setups, custom, said, watch), strict=True)
        elif watch.profile:
            line = f"{workdirs[0]} holds a finished run: no step is left to profile"
            tqdm.write(line, file=sys.stderr)
    return [outcomes[i] for i in range(len(configs))]


def completed(config: ConfigDict, workdir: Path, data: Dataset | None = None) -> ConfigDict:
    """Return a config with the classes of its data and what belongs to the weights it begins with.

    Where `loss.weighting` asks for class weights, they are those of train. `data` are those that
    Python code gives in place of the config's.
    """
    home = places.data_dir(workdir, config)
    classes = data.classes if data else voc.known_classes(config.data.dataset, home)
    config = complete(with_classes(config, classes), workdir)
    if config.loss.get("weighting", GIVEN) == GIVEN:
        return config
    return with_class_weights(config, data or voc.load(config.data.dataset, home))


def _run(
    setups: list[Setup], custom: list[str], said: list[list[str]], watch: Watch
) -> list[Outcome]:
    """Train and evaluate in directories that no other process uses."""
    with contextlib.ExitStack() as shown:  # also while the end is evaluated
        members, states, fit_seconds, profile = [], [], [], None
        with contextlib.ExitStack() as stack:
            for setup, lines in zip(setups, said, strict=True):
                begun = time.monotonic()
                setup, state = begin(setup, custom)
                fit_seconds.append(time.monotonic() - begun)
                checkpoints = stack.enter_context(Checkpoints(setup.workdir, setup.config))
                state = restore(setup, checkpoints) if state is None else state
                records = shown.enter_context(_records(setup, int(state.step), watch, len(setups)))
                members.append(Member(setup, checkpoints, records))
                states.append(state)
                room = [check_room(setup.workdir, state)] if setup.steps else []
                records.begin(setup.data, count(setup.valid.shapes["params"]), [*lines, *room])
            if watch.profile:
                first, say = int(states[0].step), members[0].records.say
                profile = Profile(watch.profile, setups[0].workdir, (first, setups[0].steps), say)
                stack.enter_context(profile)
            ended = train_members(members, states, profile)
            best = [member.checkpoints.best for member in members]
        outcomes: list[Outcome] = []
        for member, (end, splits), checkpoint, seconds in zip(
            members, ended, best, fit_seconds, strict=True
        ):
            if isinstance(end, UserError):
                writer.note_divergence(member.setup.workdir, end)
                outcomes.append(end)
                continue
            setup = member.setup._replace(data=member.setup.data._replace(splits=splits))
            member = member._replace(setup=setup)
            results = evaluate_at_the_end(member, end, checkpoint, seconds)
            if len(members) > 1:  # which had the seconds together
                results["runs_at_once"] = len(members)
            writer.write_json(setup.workdir / "results.json", results)
            outcomes.append(results)
        return outcomes


@contextlib.contextmanager
def _records(setup: Setup, first_step: int, watch: Watch, runs: int) -> Iterator[Records]:
    """Open the records of a run, one of `runs`, that begins after a step; with other writers."""
    name = setup.config.name if runs == 1 else setup.workdir.name
    with Records(setup.workdir, name, first_step, setup.steps, watch.make_bar) as records:
        if setup.steps:
            for other in open_writers(setup.workdir, setup.config, first_step, watch.wandb):
                records.add(other)
        yield records
