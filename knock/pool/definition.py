"""The code and data that travel from a caller to its workers, and what comes back."""

import io
import linecache
import pickle
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, TypeGuard

from knock.errors import ConfigError, ResultDecodeError, SerializationError
from knock.pool.culprit import describe_failure
from knock.pool.value import (
    PROTOCOL,
    ByValuePickler,
    dumps_by_value,
    dumps_naming,
    main_namespace,
)
from knock.protocol.field import check_payload

# Taken at import: a job may put its own functions in their place.
_dumps, _loads = pickle.dumps, pickle.loads

RetryOn = tuple[type[BaseException], ...] | Callable[[BaseException], bool]


def check_retry_on(value: object) -> RetryOn:
    """Return ``retry_on`` as exception classes or a predicate.

    Raises:
        ConfigError: It is neither.
    """
    if _is_exception_class(value):
        return (value,)
    if isinstance(value, Sequence) and all(_is_exception_class(cls) for cls in value):
        return tuple(value)
    if callable(value) and not isinstance(value, type):
        return value
    raise ConfigError(
        f"retry_on must be exception classes or a function of the exception, not {value!r}"
    )


def _is_exception_class(value: object) -> TypeGuard[type[BaseException]]:
    return isinstance(value, type) and issubclass(value, BaseException)


class Style(StrEnum):
    """How a processor is called."""

    ITEM = "item"  # the payload is one object: ``fn(item)``
    CALL = "call"  # the payload is a tuple of arguments: ``fn(*args)``
    JOB = "job"  # the payload is the job's data: ``fn(job)``


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What a worker itself holds a job to; None is no limit.

    ``soft_timeout`` in seconds, ``memory_limit`` in bytes and ``threads``, as in ``JobPolicy``;
    ``max_result_bytes`` bounds the pickled result.
    """

    soft_timeout: float | None = None
    memory_limit: int | None = None
    max_result_bytes: int | None = None
    threads: int = 1

    @property
    def is_held(self) -> bool:
        """Whether there is a limit to hold the running job to, beside its threads."""
        return self.soft_timeout is not None or self.memory_limit is not None


NO_LIMITS = Limits()


@dataclass(frozen=True, slots=True)
class Processor:
    """The function of one job type.

    ``retry_on``: the exceptions worth another attempt, as classes or as a predicate that runs in
    the worker; None is any.
    """

    fn: Callable[..., Any]
    style: Style = Style.CALL
    retry_on: RetryOn | None = None
    limits: Limits = NO_LIMITS


@dataclass(frozen=True, slots=True, kw_only=True)
class Definitions:
    """What a worker loads before the jobs that need it.

    ``roots`` are top-level definitions of ``__main__``, wanted there by items. ``sources`` maps
    the pseudo file names of notebook cells and the like to their text.
    """

    initializer: Callable[..., object] | None = None
    initargs: tuple[Any, ...] = ()
    processors: Mapping[str, Processor] = field(default_factory=dict)
    roots: tuple[Any, ...] = ()
    sources: Mapping[str, str] = field(default_factory=dict)


def dump_definitions(
    initializer: Callable[..., object] | None = None,
    initargs: tuple[Any, ...] = (),
    processors: Mapping[str, Processor] | None = None,
) -> bytes:
    """Pickle what the workers shall know, in one dump, so that all of it is one world.

    Everything of ``__main__`` travels by value, the rest by reference.

    Raises:
        SerializationError: Something in it cannot be pickled; the message says what.
    """
    named = dict(processors or {})
    try:
        return _dump(initializer=initializer, initargs=initargs, processors=named)
    except Exception as exc:  # user code
        parts = {"initializer": initializer, "initargs": initargs}
        parts |= {f"processor {name!r}": processor.fn for name, processor in named.items()}
        parts |= {f"retry_on of {name!r}": processor.retry_on for name, processor in named.items()}
        raise _culprit_among(parts, exc) from exc


def _dump(**parts: Any) -> bytes:
    file = io.BytesIO()
    pickler = ByValuePickler(file, main_by_reference=False)
    # Pickled last, when the pickler has seen all functions and filled it.
    pickler.dump(Definitions(**parts, sources=pickler.sources))
    return file.getvalue()


def _culprit_among(parts: Mapping[str, object], cause: Exception) -> SerializationError:
    for label, part in parts.items():
        if not _can_dump(part):
            return describe_failure(part, label, cause, _can_dump)
    return describe_failure(parts, "definitions", cause, _can_dump)


def _can_dump(obj: object) -> bool:
    try:
        _dump(roots=(obj,))
    except Exception:  # noqa: BLE001 - user code
        return False
    return True


def load_definitions(blob: bytes) -> Definitions:
    """Load what ``dump_definitions`` or ``ItemPickler`` made; runs user code."""
    definitions: Definitions = _loads(blob)
    for name, source in definitions.sources.items():
        lines = source.splitlines(keepends=True)
        # Without a time of change linecache never looks for a file of that name.
        linecache.cache[name] = (len(source), None, lines, name)
    return definitions


class ItemPickler:
    """Pickles items in the caller so that workers can load them, and is quick at it.

    Plain pickle wherever it works. Definitions of ``__main__`` that an item names are pickled
    once; ``take_definitions`` hands them out, and they must reach the workers before the item.
    Not thread-safe: hold one lock over ``dumps``, ``take_definitions`` and the sending of both.
    ``max_bytes`` bounds what one item may become; None is no limit.
    """

    def __init__(self, max_bytes: int | None = None) -> None:
        self._max_bytes = max_bytes
        # By id, and kept alive so that an id stays theirs.
        self._handed_out: dict[int, Any] = {}
        self._pending: list[bytes] = []
        self._names_main = False

    def dumps(self, obj: object, label: str = "item") -> bytes:
        """Pickle ``obj``, by value where it must be.

        Raises:
            SerializationError: It cannot be pickled; the message names the part of ``label``. Or
                it is too large.
        """
        data = self._dumps(obj, label)
        if self._max_bytes is not None:
            check_payload(data, self._max_bytes, label)
        return data

    def _dumps(self, obj: object, label: str) -> bytes:
        if self._names_main:
            return self._dumps_naming(obj, label)
        try:
            data = _dumps(obj, PROTOCOL)
        except Exception as exc:  # noqa: BLE001 - user code
            return self._dumps_by_value(obj, label, exc)
        if b"__main__" not in data:
            return data
        # More of the kind will follow: from now on one pass does both.
        self._names_main = True
        return self._dumps_naming(obj, label)

    def take_definitions(self) -> list[bytes]:
        """Return the definitions not handed out yet, for the workers to load in this order."""
        pending, self._pending = self._pending, []
        return pending

    def _dumps_naming(self, obj: object, label: str) -> bytes:
        try:
            data, named = dumps_naming(obj)
        except Exception as exc:  # noqa: BLE001 - user code
            return self._dumps_by_value(obj, label, exc)
        self._define(named)
        return data

    def _dumps_by_value(self, obj: object, label: str, cause: Exception) -> bytes:
        try:
            data, named = dumps_by_value(obj)
        except Exception:  # noqa: BLE001 - user code
            raise describe_failure(obj, label, cause, _can_pickle) from cause
        self._define(named)
        return data

    def _define(self, named: list[Any]) -> None:
        fresh: dict[int, Any] = {}
        for obj in named:
            root = main_namespace()[obj.__qualname__.partition(".")[0]]
            if id(root) not in self._handed_out:
                fresh[id(root)] = root
        if not fresh:
            return
        roots = tuple(fresh.values())
        try:
            self._pending.append(_dump(roots=roots))
        except Exception as exc:  # user code
            raise _culprit_among({f"{r.__qualname__}": r for r in roots}, exc) from exc
        self._handed_out |= fresh


def _can_pickle(obj: object) -> bool:
    try:
        dumps_by_value(obj)
    except Exception:  # noqa: BLE001 - user code
        return False
    return True


def dump_result(value: object, label: str) -> bytes:
    """Pickle what a job returned, in its worker.

    Raises:
        SerializationError: It cannot be pickled; the message names the part of ``label``.
    """
    try:
        return _dumps(value, PROTOCOL)
    except Exception as exc:  # noqa: BLE001 - user code
        try:
            return dumps_by_value(value)[0]
        except Exception:  # noqa: BLE001 - user code
            raise describe_failure(value, label, exc, _can_pickle) from exc


def load_result(data: bytes) -> Any:
    """Unpickle what a job returned, where a caller asks for it; runs user code.

    Raises:
        ResultDecodeError: It cannot be unpickled in this process.
    """
    try:
        return _loads(data)
    except Exception as exc:
        reason = f"{type(exc).__name__}: {exc}"
        raise ResultDecodeError(f"cannot unpickle the result here: {reason}") from exc
