"""Memory that a step has given back is there for the next one, without the kernel."""

import subprocess
import sys

import pytest

# One large buffer, asked for again and again, as the memory of a compiled step.
SCRIPT = """
import resource, sys
import numpy as np
from vocjax.allocation import keep_memory

if sys.argv[1] == "kept":
    keep_memory()
for _ in range(2):
    np.ones(2**23)
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(5):
    np.ones(2**23)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def faults(kept):
    command = [sys.executable, "-c", SCRIPT, kept]
    return int(subprocess.run(command, capture_output=True, check=True, text=True).stdout)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc's malloc alone is asked")
def test_large_memory_is_kept():
    assert faults("kept") < 100 < faults("not")  # 64 MiB are 16,384 pages
