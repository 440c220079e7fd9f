"""One progress display over all runs, whose time left is corrected by what has been measured."""

import sys
import time
from collections.abc import Callable, Mapping
from typing import Any, Self

from tqdm import tqdm

ENOUGH = 0.05  # of a run's steps, after which its own pace counts and no longer the estimate


class Progress:
    """Which of the runs is trained, its epoch, and the time left in all.

    `bar` takes the place of tqdm in `training.records.Records`; it is drawn on a terminal only.
    Without one, a line stands where a run begins and where it ends.
    """

    def __init__(
        self,
        expected: Mapping[str, float | None],
        epochs: Mapping[str, int],
        series: Mapping[str, str],
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        """Begin; `expected` are the seconds of the runs that are left, in their order.

        Runs of one `series` take equally long, where nothing else is known.
        """
        self._left, self._epochs, self._series = dict(expected), epochs, series
        self._now = now
        self._count = len(expected)
        self._spent = self._planned = 0.0  # seconds of finished runs, and those expected of them
        self._name, self._begun = "", now()
        self._first = self._step = self._steps = 0
        self._title, self._drawn, self._tqdm = "", 0.0, tqdm(disable=True)

    # The runs ------------------------------------------------------------------------------------

    def begin(self, name: str) -> None:
        """Say that a run begins."""
        self._name, self._begun = name, self._now()
        self._first = self._step = self._steps = 0
        self._say(f"{self._place()}: {name}{_after(self.left())}")

    def end(self, outcome: str) -> None:
        """Say how the run has ended, "done" or "failed"; nothing where none has begun."""
        if not self._name:
            return
        took, expected = self._now() - self._begun, self._left.pop(self._name)
        if expected is not None and outcome == "done":
            self._spent, self._planned = self._spent + took, self._planned + expected
        for name, seconds in self._left.items():
            alike = self._series[name] == self._series[self._name]
            if seconds is None and alike and outcome == "done":
                self._left[name] = took / self._pace(self._spent, self._planned)
        place = f"run {self._count - len(self._left)} of {self._count}"
        name, self._name = self._name, ""
        self._say(f"{place}: {name} {outcome} after {duration(took)}{_after(self.left())}")

    def skip(self, name: str) -> None:
        """Leave a run out of what is left."""
        self._left.pop(name, None)

    def left(self) -> str:
        """Return the time left in all, in words; "" where there is nothing left or known."""
        spent, planned = self._spent, self._planned
        share = (self._step - self._first) / max(self._steps - self._first, 1)
        elapsed = self._now() - self._begun
        others = {name: seconds for name, seconds in self._left.items() if name != self._name}
        current, known = self._left.get(self._name, 0.0), [s for s in others.values() if s]
        if self._name and share >= ENOUGH:
            if current:
                spent, planned = spent + elapsed / share, planned + current
            current = elapsed / share - elapsed
            pace = self._pace(spent, planned)
        else:
            pace = self._pace(spent, planned)
            current = None if current is None else max(pace * current - elapsed, 0.0)
        unknown = [*others.values(), current].count(None)
        seconds = pace * sum(known) + (current or 0.0)
        parts = [f"about {duration(seconds)}"] if seconds else []
        if unknown:
            parts.append(f"{unknown} run{'s' * (unknown > 1)} of unknown time")
        return f"{' and '.join(parts)} left in all" if parts else ""

    @staticmethod
    def _pace(spent: float, planned: float) -> float:
        """Return how much longer runs take here than was expected of them."""
        return spent / planned if spent and planned else 1.0

    def _place(self) -> str:
        return f"run {self._count - len(self._left) + 1} of {self._count}"

    def _say(self, line: str) -> None:
        tqdm.write(line, file=sys.stderr)

    # A run's bar ---------------------------------------------------------------------------------

    def bar(self, *, total: int, initial: int, desc: str, disable: bool, **_: Any) -> Self:
        """Draw the bar of a run: its steps, and in words the epoch and the time left in all."""
        self._first = self._step = initial
        self._title, self._steps, self._drawn = desc, total, self._now()
        shown = {"total": total, "initial": initial, "disable": disable, "leave": False}
        form = "{desc} {percentage:3.0f}%|{bar}|"
        self._tqdm = tqdm(**shown, desc=self.line(), bar_format=form)
        return self

    def update(self) -> None:
        """Count a step."""
        self._step += 1
        if not self._tqdm.disable and self._now() - self._drawn > 0.5:
            self._drawn = self._now()
            self._tqdm.set_description_str(self.line(), refresh=False)
        self._tqdm.update()

    def line(self) -> str:
        """Return the place, the name and the epoch of the run, and the time left in all."""
        epochs = self._epochs[self._name]
        epoch = min(self._step * epochs // max(self._steps, 1) + 1, epochs)
        parts = [self._place(), self._title, f"epoch {epoch}/{epochs}", self.left()]
        return ", ".join(filter(None, parts))

    def close(self) -> None:
        """Remove the bar."""
        self._tqdm.close()


def duration(seconds: float) -> str:
    """Return seconds in words, to be read at a glance: "40 s", "12 min", "3 h 20 min"."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 100 else f"{minutes // 60} h {minutes % 60} min"


def _after(text: str) -> str:
    return f"; {text}" if text else ""
