"""What hostile jobs raise and return. Imported by the workers."""

import ctypes
import datetime
import importlib
import math
import os
import sys
import threading
from collections.abc import Callable
from typing import Any, NoReturn

from tests.process import hostile as h
from tests.witness import Witness

# --- raised ---------------------------------------------------------------------------------------


class OwnBaseError(BaseException):
    pass


class TwoArgumentsError(Exception):
    def __init__(self, first: object, second: object) -> None:
        super().__init__(first)


class LockedError(Exception):
    def __init__(self) -> None:
        super().__init__("locked")
        self.lock = threading.Lock()


class TextError(Exception):
    """Its text raises, never ends, is no text, or is very long."""

    def __init__(self, kind: str) -> None:
        super().__init__(kind)
        self.kind = kind

    def __str__(self) -> str:
        match self.kind:
            case "raises":
                raise ValueError("no text for you")
            case "loops":
                h.loop(None)
            case "no text":
                return 7  # noqa: PLE0307 - the point of it
        return "x" * (100 << 20)


def raised(kind: type[BaseException], args: tuple[Any, ...], _: h.Scene) -> NoReturn:
    raise kind(*args)


def raised_deep(depth: int, _: h.Scene) -> None:
    sys.setrecursionlimit(depth + 1000)
    try:
        _deeper(depth)
    finally:
        sys.setrecursionlimit(1000)


def _deeper(depth: int) -> None:
    if not depth:
        raise ValueError("at the bottom")
    _deeper(depth - 1)


def raised_in_a_cycle(_: h.Scene) -> NoReturn:
    first, second = ValueError("first"), KeyError("second")
    first.__cause__, second.__cause__ = second, first
    raise first


def raised_as_group(_: h.Scene) -> NoReturn:
    raise ExceptionGroup("many", [ValueError(number) for number in range(10_000)])


def recursed(scene: h.Scene) -> None:
    recursed(scene)


# --- results --------------------------------------------------------------------------------------


def nested(depth: int) -> list[Any]:
    found: list[Any] = []
    for _ in range(depth):
        found = [found]
    return found


class Deep:
    """Recurses without end in C code that counts nothing, as Python's own does from 3.12 on."""

    def __reduce__(self) -> Any:
        compiled = ctypes.create_string_buffer(4096)
        return int, (ctypes.CDLL(None).regcomp(compiled, b"(" * 10**7, 1),)


def overflow_the_stack(_: h.Scene) -> object:
    return Deep()


class Pickled:
    """What ``__reduce__`` is: ``raises``, ``loops`` or ``exits``."""

    def __init__(self, how: str) -> None:
        self.how = how

    def __reduce__(self) -> Any:
        if self.how == "raises":
            raise ValueError("not me")
        if self.how == "exits":
            os._exit(4)
        h.loop(None)


class RunsWhenUnpickled:
    def __init__(self, witness: Witness) -> None:
        self.witness = witness

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return note_who, (self.witness,)


def note_who(witness: Witness) -> None:
    witness.note(os.getpid())


class FailsWhenUnpickled:
    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return divmod, (1, 0)


class Calls:
    """Data that calls ``fn`` when it is unpickled."""

    def __init__(self, fn: Callable[..., Any], *args: Any) -> None:
        self.call = fn, args

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return self.call


def load_moved_class() -> Calls:
    return Calls(importlib.import_module, "module_that_has_moved")


def returned(value: Any, _: h.Scene) -> Any:
    return value


def made(make: Callable[..., Any], *args: Any) -> Any:
    """Return something made here; the last argument is the scene."""
    return make(*args[:-1])


def runs_when_unpickled(scene: h.Scene) -> RunsWhenUnpickled:
    return RunsWhenUnpickled(scene.executed)


def unpicklable(kind: str, _: h.Scene) -> object:
    makers: dict[str, Callable[[], object]] = {
        "lock": threading.Lock,
        "generator": lambda: (number for number in range(3)),
        "file open for writing": lambda: open("/dev/null", "w"),  # noqa: SIM115 - the point of it
    }
    return makers[kind]()


def large(size: int, _: h.Scene) -> bytes:
    return b"x" * size


NUMBERS = (
    math.inf,
    -math.inf,
    -0.0,
    2**80,
    datetime.datetime(2026, 3, 29, 2, 30),  # noqa: DTZ001 - naive is the point
    datetime.datetime(2026, 3, 29, 2, 30, tzinfo=datetime.UTC),
)


def numbers(_: h.Scene) -> tuple[Any, ...]:
    numpy = importlib.import_module("numpy")
    return (*NUMBERS, numpy.float64(0.1), numpy.int32(-7), math.nan)
