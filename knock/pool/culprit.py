"""Where in an object is what cannot be pickled."""

import functools
from collections.abc import Callable, Iterator
from types import FunctionType, MethodType
from typing import Any

from knock.errors import SerializationError

# Bounds of the search: it runs only after a failure, on objects of any size.
MAX_TRIES = 20_000
MAX_DEPTH = 50
MAX_KEY_CHARS = 40
# A way down longer than this is told by its beginning and its last step.
MAX_STEPS = 8

CanPickle = Callable[[object], bool]


def describe_failure(
    obj: object, label: str, cause: BaseException, can_pickle: CanPickle
) -> SerializationError:
    """Return the error that names the innermost part of ``obj`` that cannot be pickled.

    ``label`` is what the caller calls ``obj``, such as "item".
    """
    try:
        path, culprit = _Search(can_pickle).run(obj, label)
    except Exception:  # noqa: BLE001 - user code
        path, culprit = label, obj
    reason = f"{type(cause).__name__}: {_first_line(cause)}"
    return SerializationError(f"cannot pickle {path}: {type_name(culprit)} ({reason})")


def type_name(obj: object) -> str:
    """Return the qualified name of the object's type, without ``builtins.``."""
    cls = type(obj)
    module = cls.__module__
    return cls.__qualname__ if module == "builtins" else f"{module}.{cls.__qualname__}"


def _first_line(exc: BaseException) -> str:
    try:
        return str(exc).partition("\n")[0][:500]
    except Exception:  # noqa: BLE001 - user code
        return "<unprintable>"


class _Search:
    """Walks down from a failing object to the first failing part, and on from there."""

    def __init__(self, can_pickle: CanPickle) -> None:
        self._can_pickle = can_pickle
        self._tries = 0

    def run(self, obj: object, label: str) -> tuple[str, object]:
        seen: set[int] = set()
        steps: list[str] = []
        for _ in range(MAX_DEPTH):
            seen.add(id(obj))
            found = self._failing_part(obj, seen)
            if found is None:
                break
            step, obj = found
            steps.append(step)
        if len(steps) > MAX_STEPS:
            steps[MAX_STEPS - 1 : -1] = ["..."]
        return label + "".join(steps), obj

    def _failing_part(self, obj: object, seen: set[int]) -> tuple[str, object] | None:
        for step, part in _parts(obj):
            self._tries += 1
            if self._tries > MAX_TRIES:
                return None
            if id(part) not in seen and not self._can_pickle(part):
                return step, part
        return None


def _parts(obj: Any) -> Iterator[tuple[str, object]]:
    match obj:
        case dict():
            yield from ((f" key {_short(key)}", key) for key in obj)
            yield from ((f"[{_short(key)}]", value) for key, value in obj.items())
        case list() | tuple():
            yield from ((f"[{index}]", value) for index, value in enumerate(obj))
        case set() | frozenset():
            yield from ((f" element {_short(value)}", value) for value in obj)
        case FunctionType():
            yield from _function_parts(obj)
        case MethodType():
            yield ".__self__", obj.__self__
        case functools.partial():
            yield from ((".func", obj.func), (".args", obj.args), (".keywords", obj.keywords))
    if not isinstance(obj, FunctionType):
        yield from _attributes(obj)


def _function_parts(function: FunctionType) -> Iterator[tuple[str, object]]:
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
        yield f" closure variable {name!r}", _contents(cell)
    for name in function.__code__.co_names:
        if name in function.__globals__:
            yield f" global {name!r}", function.__globals__[name]
    yield " defaults", function.__defaults__
    yield " keyword defaults", function.__kwdefaults__


def _contents(cell: Any) -> object:
    try:
        return cell.cell_contents
    except ValueError:  # not bound yet
        return None


def _attributes(obj: Any) -> Iterator[tuple[str, object]]:
    for name, value in dict(getattr(obj, "__dict__", {})).items():
        yield f".{name}", value
    for cls in type(obj).__mro__:
        slots = cls.__dict__.get("__slots__", ())
        for name in (slots,) if isinstance(slots, str) else slots:
            if hasattr(obj, name):
                yield f".{name}", getattr(obj, name)


def _short(key: object) -> str:
    text = repr(key)
    return text if len(text) <= MAX_KEY_CHARS else text[:MAX_KEY_CHARS] + "..."
