"""How often an epoch waits for the device, which CPU hides and an accelerator pays for."""

import collections

import jax
import numpy as np

from vocjax.training import train
from vocjax.training.epoch import LOSSES_IN_FLIGHT

STEPS = 10  # of one image, in an epoch: more than the loop has in flight


class Loss:
    """A loss on the device that notes when the host reads it."""

    def __init__(self, value, number, events):
        self.value, self.number, self.events = value, number, events

    def __array__(self, dtype=None, copy=None):
        self.events.append(("read", self.number))
        return np.asarray(self.value)


def test_losses_are_read_once_and_steps_later(quick_run, monkeypatch, tmp_path):
    events, make = [], train.make_group_step

    def watched(*arguments):
        step = make(*arguments)

        def call(state, batches):
            state, loss = step(state, batches)
            number = sum(kind == "step" for kind, _ in events)
            events.append(("step", number))
            return state, Loss(loss, number, events)

        return call

    monkeypatch.setattr(train, "make_group_step", watched)
    quick_run(tmp_path, epochs=1, batch_size=1, evaluate_every_epochs=1)
    assert collections.Counter(kind for kind, _ in events) == {"step": STEPS, "read": STEPS}
    for number in range(STEPS - LOSSES_IN_FLIGHT):
        later = events.index(("step", number + LOSSES_IN_FLIGHT))
        assert events.index(("read", number)) > later


def test_an_evaluation_reads_the_device_as_often_for_more_batches(quick_run, monkeypatch, tmp_path):
    counts = []
    for batch_size in (1, 5):
        with monkeypatch.context() as patch:
            calls, read = [], jax.device_get

            def get(tree, calls=calls, read=read):
                calls.append(1)
                return read(tree)

            patch.setattr(jax, "device_get", get)
            run = tmp_path / str(batch_size)
            quick_run(run, epochs=1, batch_size=batch_size, evaluate_every_epochs=1)
        counts.append(len(calls))
    assert counts[0] == counts[1] > 0
