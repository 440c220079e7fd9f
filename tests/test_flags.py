"""XLA:CPU unrolls no loops, unless the user has chosen options of this kind."""

import os
import subprocess
import sys

import pytest

from vocjax import flags
from vocjax.flags import EXTRA, ROLLED

# Two sums of vectors, which LLVM vectorises and then unrolls; the size of what it made of them.
SCRIPT = """
import sys
import jax
import jax.numpy as jnp

if sys.argv[1] == "begun":
    jax.devices()
if sys.argv[1] != "as it is":
    import vocjax
compiled = jax.jit(lambda x: jnp.sin(x) * x + 1).lower(jnp.ones((64, 1000))).compile()
print(len(compiled.runtime_executable().serialize()))
"""


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("", ROLLED),
        ("--xla_gpu_autotune_level=0", f"--xla_gpu_autotune_level=0 {ROLLED}"),
        (f"{EXTRA}=xla_cpu_optimize_for_size=true", f"{EXTRA}=xla_cpu_optimize_for_size=true"),
        (ROLLED, ROLLED),
        ("flags.txt", "flags.txt"),  # XLA reads it
    ],
)
def test_the_flag_joins_the_users(monkeypatch, before, after):
    monkeypatch.setenv("XLA_FLAGS", before)
    monkeypatch.setattr(flags, "_jax_has_begun", lambda: False)
    flags.leave_loops()
    assert os.environ["XLA_FLAGS"] == after


def test_xla_makes_smaller_programs(child_environment):
    environment = child_environment(
        XLA_FLAGS="", JAX_PLATFORMS="cpu", JAX_ENABLE_COMPILATION_CACHE="0"
    )
    rolled, begun, as_it_is = [
        int(subprocess.check_output([sys.executable, "-c", SCRIPT, how], env=environment))
        for how in ("rolled", "begun", "as it is")
    ]
    assert rolled < as_it_is
    assert begun == as_it_is  # too late, and the environment says so
