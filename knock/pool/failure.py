"""An exception of a job, made into data in the worker and back into an exception in the caller.

User code speaks here (``__str__``, ``__reduce__``): it may raise anything, return anything, and be
as long as it likes. A description comes out all the same, within its bounds. That it takes for
ever is the business of the time limit.
"""

import os
import pickle
import traceback
from collections.abc import Callable
from types import TracebackType
from typing import Any

from knock.core.job import JobError
from knock.errors import RemoteJobError
from knock.pool.value import PROTOCOL, dumps_by_value
from knock.protocol.field import MAX_NAME_BYTES, MAX_TEXT_BYTES, MAX_TRACEBACK_BYTES, clip

# A larger exception comes back as text only.
MAX_PICKLED_BYTES = 1 << 26
# The end of a traceback tells more than its start.
_HEAD_BYTES = MAX_TRACEBACK_BYTES // 3

_OWN_DIRECTORY = os.path.dirname(__file__) + os.sep
_dumps = pickle.dumps
_loads = pickle.loads


class RemoteTraceback(Exception):  # noqa: N818 - a text that is shown as the cause of an error
    """The traceback of a job, as its worker saw it."""

    def __str__(self) -> str:
        return f"\n{self.args[0]}"


def describe_exception(exc: BaseException, note: str = "") -> JobError:
    """Describe an exception that a job raised; ``note`` is added to the traceback's text."""
    name, message = _type_name(exc), _message(exc)
    text = _traceback(exc, f"{name}: {message}")
    return JobError(
        type_name=name,
        message=message,
        traceback=_shorten(f"{text}{note}"),
        pickled=_pickled(exc),
    )


def format_exception(exc: BaseException) -> str:
    """Return the traceback as text of at most ``MAX_TRACEBACK_BYTES``, without knock's frames."""
    return _shorten(_traceback(exc, f"{_type_name(exc)}: {_message(exc)}"))


def rebuild_exception(
    error: JobError, *, job_id: int | None = None, job_type: str = ""
) -> BaseException:
    """Return the job's exception, its remote traceback as cause; runs user code.

    What cannot be rebuilt here is a ``RemoteJobError``; so is what is not an ``Exception``: a
    ``SystemExit`` of a job must not end the caller.
    """
    found = None if error.pickled is None else _load(error.pickled)
    if not isinstance(found, Exception):
        title = f"{error.type_name}: {error.message}" if error.message else error.type_name
        found = RemoteJobError(title, job_id=job_id, job_type=job_type, detail=error.traceback)
        found.type_name = error.type_name
    found.__cause__ = RemoteTraceback(error.traceback)
    return found


def _load(data: bytes) -> object:
    try:
        return _loads(data)
    except Exception:  # noqa: BLE001 - user code
        return None


def _type_name(exc: BaseException) -> str:
    try:
        cls = type(exc)
        module, name = str(cls.__module__), str(cls.__qualname__)
    except BaseException:  # noqa: BLE001 - user code
        return "exception"
    full = name if module in ("builtins", "__main__") else f"{module}.{name}"
    return clip(full, MAX_NAME_BYTES).decode()


def _message(exc: BaseException) -> str:
    try:
        return clip(str(exc), MAX_TEXT_BYTES).decode()
    except BaseException as failure:  # noqa: BLE001 - user code
        return f"<str() of the exception raised {type(failure).__name__}>"


def _traceback(exc: BaseException, title: str) -> str:
    try:
        found = traceback.TracebackException(type(exc), exc, _user_frames(exc), compact=True)
        return "".join(found.format())
    except BaseException as failure:  # noqa: BLE001 - user code
        return f"{title}\n<its traceback cannot be formatted: {type(failure).__name__}>\n"


def _user_frames(exc: BaseException) -> TracebackType | None:
    frames = exc.__traceback__
    while frames and frames.tb_frame.f_code.co_filename.startswith(_OWN_DIRECTORY):
        frames = frames.tb_next
    return frames


def _shorten(text: str) -> str:
    data = text.encode("utf-8", "backslashreplace")
    cut = len(data) - MAX_TRACEBACK_BYTES
    if cut <= 0:
        return data.decode()
    mark = f"\n... {cut} bytes left out ...\n"
    head = data[:_HEAD_BYTES].decode("utf-8", "ignore")
    # 64 bytes are room for the mark.
    tail = data[_HEAD_BYTES + cut + 64 :].decode("utf-8", "ignore")
    return head + mark + tail


def _pickled(exc: BaseException) -> bytes | None:
    """Pickle the exception if it can be rebuilt from that, else None."""
    # An ``__init__`` with other arguments than ``args`` breaks the usual way, not the second.
    for thing in (exc, _Parts(exc)):
        try:
            data = _dumps_exception(thing)
            if len(data) <= MAX_PICKLED_BYTES and type(_loads(data)) is type(exc):
                return data
        except BaseException:  # noqa: BLE001, S112 - user code; the next way may do
            continue
    return None


def _dumps_exception(thing: object) -> bytes:
    try:
        return _dumps(thing, PROTOCOL)
    except Exception:  # noqa: BLE001 - user code
        return dumps_by_value(thing)[0]


class _Parts:
    """Pickles as an exception that is put together without its ``__init__``."""

    def __init__(self, exc: BaseException) -> None:
        self._exc = exc

    def __reduce__(self) -> tuple[Callable[..., BaseException], tuple[Any, ...]]:
        exc = self._exc
        return put_together, (type(exc), exc.args, dict(vars(exc)))


def put_together(
    cls: type[BaseException], args: tuple[Any, ...], state: dict[str, Any]
) -> BaseException:
    """Loading: make an exception of its parts."""
    exc = cls.__new__(cls)
    exc.args = args
    vars(exc).update(state)
    return exc
