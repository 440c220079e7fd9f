"""SIGTERM and Ctrl-C ask for a stop; the loop saves, then stops."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

import jax
from jax.experimental import multihost_utils


class Interrupted(Exception):
    """A run stopped by a signal after it had saved; `signal_number` says which one."""

    def __init__(self, message: str, signal_number: int) -> None:
        super().__init__(message)
        self.signal_number = signal_number


@contextmanager
def stop_requests() -> Iterator[Callable[[int], int | None]]:
    """Give `requested(step)`: the number of the signal that arrived, or None.

    A second Ctrl-C raises `KeyboardInterrupt` at once. Signal handlers are put back at the end;
    outside the main thread, where Python allows none, nothing is caught. With several hosts the
    answer comes from JAX's preemption service, so that all of them stop after the same step.
    """
    received: list[int] = []

    def handle(number: int, frame: FrameType | None) -> None:
        if received and number == signal.SIGINT:
            raise KeyboardInterrupt
        received.append(number)

    def requested(step: int) -> int | None:
        if jax.process_count() > 1:
            stop = multihost_utils.reached_preemption_sync_point(step)
            return signal.SIGTERM if stop else None
        return received[0] if received else None

    catches = threading.current_thread() is threading.main_thread() and jax.process_count() == 1
    previous = {
        number: signal.signal(number, handle)
        for number in (signal.SIGTERM, signal.SIGINT)
        if catches
    }
    try:
        yield requested
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
