"""An explorer of a small linear autoencoder, listening on a free port."""

import contextlib

import pytest
from client import answering
from small_space import SIZE, make_space

from vocjax.explorer.explore import make_server


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
