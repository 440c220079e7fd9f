"""Memory that a step has given back is there for the next one, without the kernel."""

import os
import platform
import subprocess
import sys

import pytest

from vocjax.allocation import CHOSEN

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


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="glibc's malloc alone is asked")
def test_large_memory_is_kept_unless_the_user_has_chosen(monkeypatch):
    for name in [name for name in os.environ if name.startswith(CHOSEN)]:
        monkeypatch.delenv(name)
    assert faults("kept") < 100 < faults("not")  # 64 MiB are 16,384 pages
    monkeypatch.setenv("MALLOC_ARENA_MAX", "2")
    assert faults("kept") > 100
