"""What a function is called: its job type, and the name by which its results are found again."""

import sys
from collections.abc import Callable
from functools import partial
from typing import Any

from knock import config
from knock.errors import ConfigError
from knock.report.failure import item_text
from knock.text import escape_line


def job_type_of(fn: Callable[..., Any]) -> str:
    """Return the job type that a function's jobs have: its name, made printable."""
    inner: Any = fn
    # Only these: what else has a ``func`` may have one in that, for ever.
    while isinstance(inner, partial):
        inner = inner.func
    name = getattr(inner, "__qualname__", None) or type(inner).__qualname__
    last = str(name).rpartition("<locals>.")[2] or "function"
    return escape_line(last)[: config.MAX_TYPE_CHARS]


def full_name_of(fn: Callable[..., Any]) -> str:
    """Return the module and name that lead to this function and to no other.

    A function of ``__main__`` has one too, so that a script finds its own results again.

    Raises:
        ConfigError: It has none: a lambda, a function defined in a function, a partial, a method
            of an instance, a callable instance.
    """
    owner = getattr(fn, "__self__", None)
    if isinstance(owner, type):
        # A class method, which may be inherited: its name is then of the other class.
        module: object = owner.__module__
        name: object = f"{owner.__qualname__}.{getattr(fn, '__name__', '')}"
    else:
        # A method of a type in C has its module there only.
        home = getattr(fn, "__objclass__", fn)
        module, name = getattr(home, "__module__", None), getattr(fn, "__qualname__", None)
    found = _find(module, name)
    # A class method is made anew each time it is asked for.
    if found is fn or (isinstance(owner, type) and found == fn):
        return f"{module}.{name}"
    raise ConfigError(
        "key finds results again by the name of their function, and none leads to "
        f"{item_text(fn)}: give a function that is defined at the top level of a module, "
        "no lambda, closure, partial or method of an instance"
    )


def _find(module: object, name: object) -> object:
    if not isinstance(module, str) or not isinstance(name, str):
        return None
    found: object = sys.modules.get(module)
    for part in name.split("."):
        found = getattr(found, part, None)
    return found
