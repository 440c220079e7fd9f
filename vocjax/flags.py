"""XLA's flags, which it reads from the environment once, when JAX looks for its devices."""

import os
import sys

EXTRA = "--xla_backend_extra_options"
ROLLED = f"{EXTRA}=xla_cpu_disable_loop_unrolling=true"


def leave_loops() -> None:
    """Have XLA:CPU unroll no loops.

    LLVM then compiles train steps in half to two thirds of the time, and they take as long as
    before: what is vectorised, or done by a library, gains nothing by copies of a loop's body. Last
    digits are others, so the package asks for it when it is imported: a run is the same to the bit
    from the command line and from Python. It joins the environment's XLA_FLAGS. Nothing is done
    where these are the name of a file or have options of this kind, or where JAX has begun.
    """
    flags = os.environ.get("XLA_FLAGS", "").strip()
    is_file = flags and not flags.startswith("-")
    if is_file or EXTRA in flags or _jax_has_begun():
        return
    os.environ["XLA_FLAGS"] = f"{flags} {ROLLED}".strip()


def _jax_has_begun() -> bool:
    bridge = sys.modules.get("jax._src.xla_bridge")  # not imported: `vocjax --help` needs no JAX
    return bridge is not None and bridge.backends_are_initialized()
