"""A function of the user's own, which a config names as "module:function"."""

import importlib
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from vocjax.errors import UserError


def import_function(field: str, name: str) -> Callable[..., Any]:
    """Return the function that `name`, "my_losses:boundary", names; `UserError` if there is none.

    The module is looked for in the current directory and on `sys.path`. `field` is the config's
    field that holds the name, for the messages.
    """
    module_name, _, function_name = name.partition(":")
    if not module_name or not function_name:
        raise UserError(f"{field} has {name!r}; a function of yours is named as module:function.")
    # The command `vocjax` has its own folder on the path, not the one that it is called in.
    if (here := str(Path.cwd())) not in sys.path:
        sys.path.append(here)
    try:
        module = importlib.import_module(module_name)
    except (Exception, SystemExit) as error:  # whatever a file of the user's can raise
        raise UserError(
            f"{field} has {name!r}, but {module_name} cannot be imported from {here} or from "
            f"PYTHONPATH: {type(error).__name__}: {error}."
        ) from error
    function = getattr(module, function_name, None)
    if not callable(function):
        raise UserError(
            f"{field} has {name!r}, but {module.__file__} has no function {function_name}."
        )
    return function
