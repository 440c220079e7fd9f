"""Arguments of functions that a config names, as a tuple of pairs: (("b1", 0.95), ("b2", 0.98))."""

import inspect
from collections.abc import Callable, Mapping
from typing import Any

from vocjax.errors import UserError, did_you_mean

REQUIRED = inspect.Parameter.empty


def keywords(field: str, pairs: object) -> dict[str, Any]:
    """Return a field's pairs as keyword arguments; `UserError` unless it is a tuple of pairs."""
    wrong = UserError(
        f"{field} is {pairs!r}; it is a tuple of pairs (name, value), for instance "
        "(('b1', 0.95),) with the comma, and each name once."
    )
    if not isinstance(pairs, tuple):
        raise wrong
    found: dict[str, Any] = {}
    for pair in pairs:
        if not isinstance(pair, tuple) or len(pair) != 2 or not isinstance(pair[0], str):
            raise wrong
        if pair[0] in found:
            raise wrong
        found[pair[0]] = pair[1]
    return found


def parameters(function: Callable[..., Any]) -> dict[str, Any]:
    """Return the names of a function's parameters with their defaults, or `REQUIRED`."""
    return {name: p.default for name, p in inspect.signature(function).parameters.items()}


def check(
    field: str,
    name: str,
    function: Callable[..., Any],
    given: Mapping[str, Any],
    elsewhere: Mapping[str, str],
) -> None:
    """Raise `UserError` unless a function called `name` takes `given`, and needs nothing else.

    `elsewhere` are parameters that have their values from a field of the config, with its name.
    """
    taken = {p: d for p, d in parameters(function).items() if p not in elsewhere}
    shown = ", ".join(p if d is REQUIRED else f"{p}={_shown(d)}" for p, d in taken.items())
    takes = f"{name} takes {shown or 'no arguments'}."
    for argument in given:
        if argument in elsewhere and argument in parameters(function):
            raise UserError(
                f"{field} has {argument!r}, which is a field: set {elsewhere[argument]} in place "
                "of it."
            )
        if argument not in taken:
            raise UserError(f"{field} has {argument!r}; {takes}{did_you_mean(argument, taken)}")
    if missing := [p for p, default in taken.items() if default is REQUIRED and p not in given]:
        raise UserError(f"{field} lacks {', '.join(map(repr, missing))}; {takes}")


def call(what: str, function: Callable[..., Any], *arguments: Any, **keywords: Any) -> Any:
    """Call a function with a user's arguments; what it raises is a `UserError` that names `what`.

    A function of optax refuses a value in whichever way it likes, or fails with it.
    """
    try:
        return function(*arguments, **keywords)
    except UserError:
        raise
    except Exception as error:
        reason = " ".join(str(error).split())[:300].rstrip(".")
        raise UserError(
            f"{what} can't be used like this: {type(error).__name__}: {reason}. "
            "Change its arguments, or choose another one."
        ) from error


def _shown(default: Any) -> str:
    return getattr(default, "__name__", None) or repr(default)
