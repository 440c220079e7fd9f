"""The one exception for a user's mistakes, and the two checks of values that raise it."""

import difflib
import math
from collections.abc import Collection


class UserError(Exception):
    """A mistake of the user's, in words: what is wrong, what was expected, what to do now.

    The command line prints it without a traceback.
    """


def check_choice(field: str, value: object, choices: Collection[object]) -> None:
    """Raise `UserError` unless `value` is one of `choices`; the nearest one is suggested."""
    if value in choices:
        return
    close = difflib.get_close_matches(str(value), [str(choice) for choice in choices], n=1)
    suggestion = f" Did you mean {close[0]!r}?" if close else ""
    raise UserError(
        f"{field} is {value!r}; it is one of {', '.join(map(str, choices))}.{suggestion}"
    )


def check_range(field: str, value: float, least: float, below: float = math.inf) -> None:
    """Raise `UserError` unless `least <= value < below`; NaN is in no range."""
    if least <= value < below:
        return
    end = "" if math.isinf(below) else f" and less than {below}"
    raise UserError(f"{field} is {value}; it must be at least {least}{end}.")
