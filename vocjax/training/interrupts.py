"""SIGTERM and Ctrl-C ask for a stop; the loop saves, then stops."""

import os
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

    A second Ctrl-C raises `KeyboardInterrupt` at once. Outside the main thread, where Python allows
    no signal handlers, nothing is caught. With several hosts the answer comes from JAX's preemption
    service, which catches SIGTERM by itself, so that all of them stop after the same step.
    """
    received: list[int] = []
    several = jax.process_count() > 1

    def handle(number: int, frame: FrameType | None) -> None:
        if received and number == signal.SIGINT:
            raise KeyboardInterrupt
        received.append(number)
        if several:
            os.kill(os.getpid(), signal.SIGTERM)  # the service passes it to the other hosts

    def requested(step: int) -> int | None:
        if several and not multihost_utils.reached_preemption_sync_point(step):
            return None
        return received[0] if received else signal.SIGTERM if several else None

    caught = (signal.SIGINT,) if several else (signal.SIGTERM, signal.SIGINT)
    in_main_thread = threading.current_thread() is threading.main_thread()
    previous = {number: signal.signal(number, handle) for number in caught if in_main_thread}
    if several:
        # All stop after the largest step that the service has heard of: not one of a run before.
        multihost_utils.reached_preemption_sync_point(0)
        multihost_utils.sync_global_devices("no step is done")
    try:
        yield requested
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
