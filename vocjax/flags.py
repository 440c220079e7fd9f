"""XLA's flags, which it reads from the environment once, when JAX looks for its devices."""

import os

EXTRA = "--xla_backend_extra_options"
ROLLED = f"{EXTRA}=xla_cpu_disable_loop_unrolling=true"


def leave_loops() -> None:
    """Have XLA:CPU unroll no loops; call it before JAX looks for its devices.

    LLVM then compiles train steps in half to two thirds of the time, and they take as long as
    before: what is vectorised, or done by a library, gains nothing by copies of a loop's body. It
    joins the environment's XLA_FLAGS, unless the user has chosen options of this kind.
    """
    flags = os.environ.get("XLA_FLAGS", "")
    if EXTRA not in flags:
        os.environ["XLA_FLAGS"] = f"{flags} {ROLLED}".strip()
