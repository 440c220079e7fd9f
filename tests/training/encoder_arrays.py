"""The arrays of an encoder in a saved state, and whether two of them are equal."""

import numpy as np


def encoder_of(saved, of="params"):
    """The encoder's arrays of a `saved_state`, by path."""
    prefix = f"{of}/encoder/"
    return {path[len(prefix) :]: x for path, x in saved.items() if path.startswith(prefix)}


def assert_equal(ours, theirs):
    assert ours.keys() == theirs.keys()
    for path, array in ours.items():
        np.testing.assert_array_equal(array, theirs[path], err_msg=path)
