"""A trace of some steps, and the share of their time that goes by in waiting for input."""

import re
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any, NamedTuple, Self

import jax

from vocjax.data.pipeline import Batches, Examples, Placed, Plan
from vocjax.errors import UserError

FOLDER = "profile"  # in the run directory

Step = Callable[[Any, Any], tuple[Any, jax.Array]]  # a state and batches to a state and the loss


class Steps(NamedTuple):
    """The steps to look at, counted over the whole run: those after `first`, up to `last`."""

    first: int
    last: int

    def __str__(self) -> str:
        return f"steps {self.first + 1} to {self.last}"


def parse(text: str) -> Steps:
    """Return the steps of "10:20", 11 to 20; `UserError` for what is no range of steps."""
    found = re.fullmatch(r"(\d+):(\d+)", text.strip())
    steps = Steps(*map(int, found.groups())) if found else Steps(0, 0)
    if steps.first >= steps.last:
        raise UserError(
            f"--profile is {text!r}; it is two numbers of steps, the smaller one first, counted "
            "over the whole run: 10:20 looks at the ten steps after step 10."
        )
    return steps


class Profile:
    """Traces steps of a run that begins at a step; a context manager that ends the trace.

    The steps that are looked at run one at a time: the host waits for each batch and for each step,
    so that what is waited for has its own time. Streamed batches are still decoded during steps.
    """

    def __init__(
        self, steps: Steps, workdir: Path, run: tuple[int, int], say: Callable[[str], object]
    ) -> None:
        """Say which of the steps are there; `run` is the step after which it goes on, and its last.

        What is said goes to `say`, in sentences.
        """
        begins, ends = run
        self._steps = Steps(max(steps.first, begins), min(steps.last, ends))
        self._folder, self._say, self._at = workdir / FOLDER, say, begins
        self._on, self._compiles, self._kind = False, True, ""
        self._loss: Any = None  # of the last step
        self._waits = self._input = self._computed = 0.0  # seconds
        self._timed = 0  # steps
        if begins >= ends or self._steps.first >= self._steps.last:
            say(f"nothing is profiled: {steps} are asked for, and {_left(begins, ends)}")
        elif self._steps != steps:
            say(f"{self._steps} are profiled, not all of {steps}: {_left(begins, ends)}")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._on:  # the run ends before the last of the steps
            self._stop()

    def around(self, examples: Sequence[Examples], step: Step) -> tuple[list[Examples], Step]:
        """Return examples and the step of a phase that do the same, and are looked at."""
        self._compiles = True
        self._kind = "kept on the device" if examples[0].resident else "streamed"
        return [e._replace(batches=self._input_of(e.batches)) for e in examples], self._of(step)

    def _input_of(self, batches: Batches) -> Batches:
        def looked_at(planned: Plan) -> Iterator[Placed]:
            plans = list(planned)
            stream = batches(iter(plans))
            for _ in plans:
                if self._at == self._steps.first < self._steps.last and not self._on:
                    self._start()
                begun = time.perf_counter()
                with self._named(jax.profiler.TraceAnnotation("input")):
                    batch = next(stream)
                    if self._on:
                        jax.block_until_ready(batch)
                self._waits += time.perf_counter() - begun
                yield batch

        return looked_at

    def _of(self, step: Step) -> Step:
        def looked_at(state: Any, batches: Any) -> Any:
            begun = time.perf_counter()
            number = self._at + 1
            with self._named(jax.profiler.StepTraceAnnotation("train", step_num=number)):
                state, self._loss = step(state, batches)
                if self._on:
                    jax.block_until_ready((state, self._loss))
            if self._on and not self._compiles:
                self._input += self._waits
                self._computed += time.perf_counter() - begun
                self._timed += 1
            self._at, self._waits, self._compiles = number, 0.0, False
            if self._on and number == self._steps.last:
                self._stop()
            return state, self._loss

        return looked_at

    def _named(self, annotation: AbstractContextManager[Any]) -> AbstractContextManager[Any]:
        return annotation if self._on else nullcontext()

    def _start(self) -> None:
        jax.block_until_ready(self._loss)  # of steps before that still run
        options = jax.profiler.ProfileOptions()
        options.python_tracer_level = 0  # every call of Python would slow the steps down
        jax.profiler.start_trace(self._folder, create_perfetto_trace=True, profiler_options=options)
        self._on = True

    def _stop(self) -> None:
        self._on = False
        jax.profiler.stop_trace()
        done = Steps(self._steps.first, self._at)
        if self._timed:
            input, step = (1e3 * of / self._timed for of in (self._input, self._computed))
            share = input / (input + step)
            self._say(
                f"{done}: {share:.1%} of the time of a step is waiting for input ({input:.2f} of "
                f"{input + step:.2f} ms; images {self._kind}; mean of {self._timed} steps, without "
                "those that compile)"
            )
        else:
            self._say(
                f"{done}: all of them compile, and say nothing about time; profile more steps"
            )
        self._say(
            f"trace: {self._folder}, for tensorboard --logdir; its perfetto_trace.json.gz is for "
            "ui.perfetto.dev"
        )


def _left(begins: int, ends: int) -> str:
    """Return in words which steps a run has left."""
    if begins >= ends:
        return f"the run is finished at step {ends}"
    return f"the run goes on with steps {begins + 1} to {ends}" if begins else f"the run has {ends}"
