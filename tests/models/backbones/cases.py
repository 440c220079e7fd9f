"""Every backbone with the fields of its sources, and the shapes that it makes."""

import functools

import jax
import jax.numpy as jnp
import pytest

from vocjax.models.backbones import BACKBONES, SOURCES

SHAPE = (224, 97, 3)


def _cases():
    """(name, fields) of every backbone: those of its sources, and its padding if it has one."""
    for name, sources in SOURCES.items():
        fields = [dict(source.fields) for source in sources.values()]
        if hasattr(BACKBONES[name]().backbone, "padding"):
            fields.append({"padding": "same"})
        yield from ((name, each) for i, each in enumerate(fields) if each not in fields[:i])


def first_of(kind, cases):
    """The first of the cases of each kind."""
    return list({kind(*case): case for case in reversed(cases)}.values())[::-1]


def class_of(name, fields):
    return type(BACKBONES[name](**fields).backbone)


CASES = list(_cases())
DIFFERENT = first_of(lambda *case: (class_of(*case), str(case[1])), CASES)  # no VGG19 after VGG16
CLASSES = first_of(class_of, CASES)


def of_each(cases, slow=()):
    marks = {True: pytest.mark.slow, False: ()}
    return pytest.mark.parametrize(
        ("name", "fields"),
        [
            pytest.param(
                *case, id="-".join((case[0], *case[1].values())), marks=marks[case in slow]
            )
            for case in cases
        ],
    )


def trace(backbone, shape=SHAPE):
    """(variables, maps by stage), both as shapes."""
    run = functools.partial(backbone.init_with_output, method="stages")
    images = jax.ShapeDtypeStruct((2, *shape), jnp.float32)
    maps, variables = jax.eval_shape(run, jax.random.key(0), images)
    return variables, {name: maps[name] for name in backbone.strides}


traced = functools.cache(trace)  # not of a backbone that `small` makes
