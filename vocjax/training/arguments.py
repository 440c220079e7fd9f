"""Arguments of functions that a config names, as a tuple of pairs: (("b1", 0.95), ("b2", 0.98))."""

import inspect
import math
from collections.abc import Callable, Mapping
from typing import Any

from vocjax.errors import UserError, check_range, did_you_mean

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
    for argument, value in given.items():
        if isinstance(taken[argument], bool):
            check_flag(field, argument, value)
        elif isinstance(taken[argument], int | float):
            check_number(field, argument, value)


def check_flag(field: str, name: str, value: object) -> None:
    """Raise `UserError` unless an argument is True or False: the text 'no' would count as True."""
    if not isinstance(value, bool):
        raise UserError(f"{field}: {name} is {value!r}; it must be True or False.")


def check_number(
    field: str, name: str, value: Any, least: float = -math.inf, below: float = math.inf
) -> None:
    """Raise `UserError` unless an argument is a finite number, and least <= it < below."""
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if not number or not math.isfinite(value):
        end = f", at least {least}" if math.isfinite(least) else ""
        raise UserError(f"{field}: {name} is {value!r}; it must be a number{end}.")
    check_range(f"{field}: {name}", value, least, below)


def check_whole(field: str, name: str, value: Any, least: int) -> None:
    """Raise `UserError` unless an argument is a whole number from `least` on."""
    check_number(field, name, value, least)
    if value != int(value):
        raise UserError(f"{field}: {name} is {value!r}; it must be a whole number.")


def call(what: str, function: Callable[..., Any], *arguments: Any, **keywords: Any) -> Any:
    """Call a function with a user's arguments; what it raises is a `UserError` that says `what`.

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


def said(given: Mapping[str, Any]) -> str:
    """Return " with momentum='a'" for a sentence; nothing where no argument is given."""
    return " with " + ", ".join(f"{k}={v!r}" for k, v in given.items()) if given else ""


def _shown(default: Any) -> str:
    return getattr(default, "__name__", None) or repr(default)
