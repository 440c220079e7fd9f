"""Time the forms in which a convolution can be trained on the CPU, layer by layer.

    taskset -c 0 python -m experiments.forms

For each layer: milliseconds of the processor of its output, of its input's gradient and of its
kernel's gradient, by XLA, by Winograd's form and by patches, and which form `forms_of` chooses. The
last line says which choices are slower than another form by more than a tenth; where your machine
has some, change the constants of vocjax/models/convolution.py.
"""

import argparse
import sys
import time
from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from vocjax.allocation import keep_memory
from vocjax.compilation import train_step_options
from vocjax.models import winograd
from vocjax.models.convolution import (
    PATCHES,
    WINOGRAD,
    XLA,
    forms_of,
    input_gradient,
    kernel_gradient,
    xla_conv,
)
from vocjax.models.pads import SAME, Pads

HALF: Pads = ((1, 0), (1, 0))  # of the 2x2 kernels of an up-sampling layer
# Batch, side, channels, features and side of the kernel: of the study's networks, of ResNet's, and
# of U-Net's decoder on ResNet18 and MobileNetV2.
LAYERS = (
    *((32, 64, 3, 256, 3), (32, 32, 256, 128, 3), (32, 16, 128, 64, 3), (32, 8, 64, 32, 3)),
    *((32, 16, 20, 256, 2), (32, 32, 20, 256, 2), (32, 32, 128, 12, 2), (32, 16, 64, 128, 2)),
    *((32, 64, 32, 32, 3), (32, 32, 64, 64, 3), (32, 32, 128, 128, 3), (32, 32, 16, 128, 3)),
    *((8, 56, 64, 64, 3), (8, 28, 128, 128, 3), (8, 14, 256, 256, 3), (8, 7, 512, 512, 3)),
    *((8, 8, 512, 256, 2), (8, 32, 128, 64, 2), (8, 64, 64, 32, 2), (8, 128, 64, 32, 3)),
    *((8, 7, 1280, 512, 2), (8, 56, 32, 32, 2), (8, 14, 96, 128, 3), (8, 112, 16, 32, 3)),
)
CALLS = 3
SLOWER = 1.1


def milliseconds(function: Callable[..., jax.Array], *operands: Any) -> float:
    """Return the least milliseconds of the processor of a call, after one that compiles it."""
    options = train_step_options()
    compiled, seconds = jax.jit(function, compiler_options=options), []
    for _ in range(CALLS + 1):
        begun = time.process_time()
        jax.block_until_ready(compiled(*operands))
        seconds.append(time.process_time() - begun)
    return 1e3 * min(seconds[1:])


def measure(layer: tuple[int, ...]) -> dict[str, dict[str, float]]:
    """Return milliseconds by direction and form."""
    (x, gradient, kernel), padding = operands(layer)
    call = padding, 1
    forms = (XLA, WINOGRAD) if kernel.shape[0] == 3 else (XLA,)
    outputs: dict[str, Callable[..., jax.Array]] = {
        XLA: lambda x, kernel: xla_conv(x, kernel, padding),
        WINOGRAD: winograd.conv,
    }
    of_input = {form: input_gradient(form, *call, x.shape) for form in forms}
    of_kernel = {form: kernel_gradient(form, *call, kernel.shape) for form in (*forms, PATCHES)}
    return {
        "output": {form: milliseconds(outputs[form], x, kernel) for form in forms},
        "input's": {form: milliseconds(f, gradient, kernel) for form, f in of_input.items()},
        "kernel's": {form: milliseconds(f, x, gradient) for form, f in of_kernel.items()},
    }


def operands(layer: tuple[int, ...]) -> tuple[list[jax.Array], Pads]:
    """Draw a layer's input, its output's gradient and its kernel; return its padding, too."""
    batch, side, channels, features, window = layer
    place, rng = (batch, side, side), np.random.default_rng(0)
    shapes = (*place, channels), (*place, features), (window, window, channels, features)
    arrays = [jax.numpy.asarray(rng.standard_normal(shape, np.float32)) for shape in shapes]
    return arrays, SAME if window == 3 else HALF


def main() -> int:
    """Print a line for each layer and direction; 0."""
    keep_memory()
    slower = []
    print(f"{'layer':28} {'what':9} {XLA:>8} {WINOGRAD:>9} {PATCHES:>8}  chosen")
    for layer in LAYERS:
        (x, _, kernel), padding = operands(layer)
        chosen = forms_of(x.shape, kernel.shape, padding, 1)
        batch, side, channels, features, window = layer
        name = f"{batch}x{side}x{side}, {channels} to {features}, {window}x{window}"
        for what, found in measure(layer).items():
            form = chosen.kernel if what == "kernel's" else chosen.maps
            times = [f"{found[f]:.1f}" if f in found else "" for f in (XLA, WINOGRAD, PATCHES)]
            print(
                f"{name:28} {what:9} {times[0]:>8} {times[1]:>9} {times[2]:>8}  {form}", flush=True
            )
            best = min(found, key=found.__getitem__)
            if found[form] > SLOWER * found[best]:
                slower.append(f"{name}, {what}: {form} {found[form]:.1f}, {best} {found[best]:.1f}")
    print("slower than another form: " + ("; ".join(slower) or "none"))
    return 0


if __name__ == "__main__":
    shown = argparse.RawDescriptionHelpFormatter
    argparse.ArgumentParser(description=__doc__, formatter_class=shown).parse_args()
    sys.exit(main())
