"""What a worker logs, as it travels: the LOG frame.

See ``knock/protocol/message.py`` for the rules.
"""

import struct
from typing import NamedTuple

from knock.errors import ProtocolError
from knock.protocol.field import (
    MAX_NAME_BYTES,
    MAX_TEXT_BYTES,
    MAX_TRACEBACK_BYTES,
    At,
    clip,
    decode_text,
    unpack,
)
from knock.protocol.frame import encode_frame
from knock.protocol.message import Kind

# The logger of what a job logs by ``Job.log``.
JOB_LOGGER = "knock.job"

_HEAD = struct.Struct("<QQIIH")
_SEPARATOR = "\0"
_MAX_NAMES_BYTES = 4 * MAX_NAME_BYTES
_MAX_NUMBER = (1 << 31) - 1


class Origin(NamedTuple):
    """Where a record was logged: the logger, the line of code, the thread."""

    name: str = JOB_LOGGER
    pathname: str = ""
    lineno: int = 0
    function: str = ""
    thread: str = ""


OF_JOB = Origin()


class LogLine(NamedTuple):
    """Something that a worker logged; ``ticket`` 0: while no job ran.

    ``level`` as in ``logging``, ``at`` in UTC seconds; ``text`` may have several lines.
    """

    ticket: int
    at: float
    level: int
    text: str
    origin: Origin = OF_JOB


def encode_log(ticket: int, now_ns: int, level: int, text: str, origin: Origin = OF_JOB) -> bytes:
    """Return a LOG frame. A text that is too long loses its end."""
    name, pathname, lineno, function, thread = origin
    names = f"{name}\0{pathname}\0{function}\0{thread}".encode("utf-8", "backslashreplace")
    if len(names) > MAX_NAME_BYTES or names.count(b"\0") != 3:  # noqa: PLR2004 - as above
        names = _fit_names(name, pathname, function, thread)
    head = _HEAD.pack(ticket, now_ns, _number(level), _number(lineno), len(names))
    return encode_frame(Kind.LOG, head + names + clip(text, MAX_TRACEBACK_BYTES))


def _number(value: int) -> int:
    return max(0, min(value, _MAX_NUMBER))


def _fit_names(*names: str) -> bytes:
    room = MAX_NAME_BYTES - 1
    return b"\0".join(clip(name.replace(_SEPARATOR, "\\x00"), room) for name in names)


def decode_log(body: bytes, at: At) -> LogLine:
    """Return the line."""
    ticket, now_ns, level, lineno, length = unpack(_HEAD, body, "log")
    if now_ns >> 63 or level > _MAX_NUMBER or lineno > _MAX_NUMBER:
        raise ProtocolError("malformed log: a number that is too large")
    start = _HEAD.size + length
    if start > len(body):
        raise ProtocolError("malformed log: cut short")
    names = decode_text(body[_HEAD.size : start], _MAX_NAMES_BYTES, "log").split(_SEPARATOR)
    if len(names) != 4:  # noqa: PLR2004 - logger, path, function and thread
        raise ProtocolError(f"malformed log: {len(names)} names")
    text = decode_text(body[start:], MAX_TRACEBACK_BYTES, "log")
    name, pathname, function, thread = names
    return LogLine(
        ticket, at(now_ns), level, text, Origin(name, pathname, lineno, function, thread)
    )


def join_text(message: str, *more: str) -> str:
    """Return a message and what follows it (a traceback), which the message leaves room for."""
    return "\n".join((message[:MAX_TEXT_BYTES], *more))
