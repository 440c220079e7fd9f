"""The maps of a run's network, from its config alone: what its modules return, traced by JAX."""

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
from flax import linen as nn
from ml_collections import ConfigDict

from vocjax.data.classes import class_columns
from vocjax.models import build
from vocjax.models.dropout import Dropout
from vocjax.models.fields import image_shape
from vocjax.models.norm import BatchNorm
from vocjax.tasks.pixel_classes import pixel_classes

PASSING = (BatchNorm, nn.BatchNorm, nn.GroupNorm, Dropout, nn.Dropout)  # they change no shape


class Map(NamedTuple):
    """What a module returns for one image, or modules of the same shape one after the other."""

    part: str  # image, encoder, code, decoder, head or output
    shape: tuple[int, ...]  # (height, width, channels), or (numbers,)
    times: int = 1  # so many modules in a row
    beside: int = 1  # so many modules next to each other, of the same input
    skip: int | None = None  # the place of the encoder's map that it gets besides

    @property
    def size(self) -> str:
        """The shape as text."""
        return "\N{MULTIPLICATION SIGN}".join(map(str, self.shape))

    @property
    def numbers(self) -> int:
        """How many numbers it has."""
        return math.prod(self.shape)


class _Call(NamedTuple):
    """A call of a module while the network is traced."""

    path: tuple[str, ...]
    module: nn.Module
    inputs: tuple[Any, ...]
    output: Any


def network_of(config: ConfigDict) -> nn.Module:
    """Return the network of a run's config; `UserError` where its fields don't fit."""
    if config.task == "reconstruction":
        return build.autoencoder(config)
    if config.task == "classification":
        return build.classifier(config, len(class_columns(config.data)))
    return build.segmenter(config, pixel_classes(config).outputs)


def maps_of(config: ConfigDict) -> tuple[Map, ...]:
    """Return the maps of a config's network, from the image to the output.

    The encoder has the deepest map of each stride, and the last of them is the code. A skip is
    where a module of the decoder gets a map of the encoder itself. Nothing is computed: the network
    is traced for one image.
    """
    network, found = network_of(config), []
    shape = image_shape(config)

    def forward(key: jax.Array, images: jax.Array) -> None:
        calls: list[_Call] = []
        with nn.intercept_methods(_watched(calls)):
            outputs, _ = network.init_with_output(key, images)
            stages = getattr(getattr(network, "encoder", None), "stages", None)
            if stages and not any(map(_is_staged, calls)):
                network.init_with_output(key, images, method=lambda m, x: m.encoder.stages(x))
        found.extend(_arranged(shape, outputs, calls))

    image = jax.ShapeDtypeStruct((1, *shape), "float32")
    jax.eval_shape(forward, jax.random.key(0), image)
    return tuple(found)


def _watched(calls: list[_Call]) -> Callable[..., Any]:
    """Return an interceptor that keeps what each module is called with, and returns."""

    def watch(call: Any, inputs: tuple[Any, ...], keywords: Any, context: Any) -> Any:
        output = call(*inputs, **keywords)
        if context.method_name in ("__call__", "stages"):
            calls.append(_Call(context.module.path, context.module, inputs, output))
        return output

    return watch


def _arranged(
    image: tuple[int, ...], outputs: tuple[jax.Array, ...], calls: Sequence[_Call]
) -> list[Map]:
    """Order what was seen: image, encoder, code, head, decoder, output."""
    result, code = outputs[0], outputs[1]
    encoder = _encoder(calls)
    # The code is the deepest of them, and a map of its own.
    encoder = [x for x in encoder if x.shape != code.shape]
    maps = [Map("image", image), *(Map("encoder", x.shape[1:]) for x in encoder)]
    maps.append(Map("code", code.shape[1:]))
    head, decoder = (_of_part(part, calls, encoder) for part in ("head", "decoder"))
    maps += head[:-1]  # the last one is the output
    if head:
        maps.append(Map("output", result.shape[1:]))
        if len(outputs) > 2:  # a joint network reconstructs, too
            maps += [*decoder[:-1], Map("output", outputs[2].shape[1:])]
        return _counted(maps)
    if decoder and decoder[-1].shape == result.shape[1:]:
        decoder = decoder[:-1]
    return _counted([*maps, *decoder, Map("output", result.shape[1:])])


def _is_staged(call: _Call) -> bool:
    """Whether a call is that of the encoder's `stages`."""
    return call.path == ("encoder",) and isinstance(call.output, dict)


def _encoder(calls: Sequence[_Call]) -> list[jax.Array]:
    """Return the encoder's maps: the deepest of each stride, or what its modules return."""
    for call in calls:
        if _is_staged(call):
            strides = call.module.strides
            return list({stride: call.output[name] for name, stride in strides.items()}.values())
    return [call.output for call in _modules("encoder", calls)]


def _modules(part: str, calls: Sequence[_Call]) -> list[_Call]:
    """Return the calls of the modules that a part consists of, each module once."""
    inside = {
        call.path: call
        for call in calls
        if len(call.path) == 2 and call.path[0] == part and not isinstance(call.module, PASSING)
    }
    return [call for call in inside.values() if hasattr(call.output, "shape")]


def _of_part(part: str, calls: Sequence[_Call], encoder: Sequence[jax.Array]) -> list[Map]:
    """Return the maps of a decoder or a head; modules of the same input are next to each other."""
    maps: list[Map] = []
    before: Any = None
    for call in _modules(part, calls):
        shape = call.output.shape[1:]
        first = call.inputs[0]
        # A decoder shrinks nothing but the mean over a map, which is one more of its branches.
        mean = len(shape) == 3 and maps and shape[0] < maps[-1].shape[0]
        if maps and (first is before or mean):
            maps[-1] = maps[-1]._replace(beside=maps[-1].beside + 1)
            continue
        before = first
        taken = [i for i, x in enumerate(encoder) for given in call.inputs if given is x]
        maps.append(Map(part, shape, skip=taken[0] if taken else None))
    return maps


def _counted(maps: Sequence[Map]) -> list[Map]:
    """Join maps of the same part and shape that follow each other."""
    joined: list[Map] = []
    for found in maps:
        if joined and joined[-1]._replace(times=1) == found and found.part != "output":
            joined[-1] = joined[-1]._replace(times=joined[-1].times + 1)
        else:
            joined.append(found)
    return joined
