"""An explorer of a small linear autoencoder, listening on a free port."""

import contextlib
import threading
import time

import numpy as np
import pytest
from small_space import SIZE, make_space, smooth_images

from vocjax.explorer.explore import make_server


@contextlib.contextmanager
def answering(server):
    """Let a server answer in a thread; afterwards nothing is left of it."""
    before = set(threading.enumerate())
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
    deadline = time.monotonic() + 5
    while left := {t for t in threading.enumerate() if "request" in t.name} - before:
        assert time.monotonic() < deadline, left
        time.sleep(0.01)


@pytest.fixture
def serving():
    """`serving(server)` answers until the test is over."""
    with contextlib.ExitStack() as stack:
        yield lambda server: stack.enter_context(answering(server))


@pytest.fixture(scope="session")
def space():
    return make_space()


@pytest.fixture(scope="session")
def server(space):
    with answering(make_server(space, size=SIZE, channels=3, title="a run <of> mine")) as server:
        yield server


@pytest.fixture(scope="session")
def photo():
    """uint8 [40, 30, 3]."""
    return np.uint8(255 * smooth_images(1, 40, 3, seed=5)[0])[:, :30]


@pytest.fixture
def quiet(capfd):
    """No request may print anything."""
    yield
    captured = capfd.readouterr()
    assert captured.out + captured.err == ""
