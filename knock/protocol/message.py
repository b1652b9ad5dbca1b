"""What the frames between a supervisor and a worker say.

Rule 1: whatever a worker sends decodes to typed, bounded data or raises ``ProtocolError``. Lengths
        inside a body are checked against the body; nothing is allocated by a sender's word.
Rule 2: payloads, results and exceptions stay bytes: nothing here unpickles.

Instants are CLOCK_MONOTONIC nanoseconds, which all processes of a machine share; whoever decodes
brings the function that turns them into UTC seconds.
"""

import json
import math
import struct
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from enum import IntEnum
from typing import Any, NamedTuple

from knock.core.handout import Dispatch
from knock.errors import ProtocolError
from knock.protocol.field import (
    COPY_BYTES,
    MAX_NAME_BYTES,
    MAX_TRACEBACK_BYTES,
    clip,
    decode_text,
    unpack,
)
from knock.protocol.frame import encode_frame, encode_header


class Kind(IntEnum):
    """The kinds of frames; those to a worker are below 32."""

    BOOT = 1
    DEFINE = 2
    JOBS = 3
    RESUME_TYPE = 4
    ANSWER = 5

    READY = 32
    BOOT_FAILED = 33
    RESULT = 34
    FAILURE = 35
    HANDED_BACK = 36
    LOG = 37
    PROGRESS = 38
    CALL = 39
    BUFFERS = 40  # reserved: out-of-band buffers of a result
    CHECKPOINT = 41  # reserved: saved state of a running job
    WORN = 42


TO_WORKER = frozenset({Kind.BOOT, Kind.DEFINE, Kind.JOBS, Kind.RESUME_TYPE, Kind.ANSWER})
FROM_WORKER = frozenset(
    {
        Kind.READY,
        Kind.BOOT_FAILED,
        Kind.RESULT,
        Kind.FAILURE,
        Kind.HANDED_BACK,
        Kind.LOG,
        Kind.PROGRESS,
        Kind.CALL,
        Kind.WORN,
    }
)

# --- to a worker ----------------------------------------------------------------------------------

_U32 = struct.Struct("<I")
_JOB = struct.Struct("<QqIi?ddHQ")
_CALL_HEAD = struct.Struct("<QQ")


@dataclass(frozen=True, slots=True, kw_only=True)
class BootSettings:
    """What a worker takes over from its caller. None leaves what it was started with.

    ``log_levels`` are loggers and what they are to let through; ``""`` is the root. With them the
    worker sends what is logged in it; None sends nothing. ``capture`` is the secret of its output's
    marks, in hexadecimal. ``isolation``: see ``knock.config.Isolation``. ``capped``: the variables
    in its environment by which knock bounds numeric threads.
    """

    sys_path: tuple[str, ...] | None = None
    argv: tuple[str, ...] | None = None
    log_levels: tuple[tuple[str, int], ...] | None = None
    capture: str | None = None
    isolation: str = "shared"
    capped: tuple[str, ...] = ()


def encode_boot(settings: BootSettings, definitions: bytes) -> list[bytes]:
    """Return the buffers of a BOOT frame."""
    text = json.dumps(asdict(settings)).encode()
    head = _U32.pack(len(text)) + text
    return [encode_header(Kind.BOOT, len(head) + len(definitions)) + head, definitions]


def decode_boot(body: bytes) -> tuple[BootSettings, bytes]:
    """Return the settings and the definitions."""
    (length,) = unpack(_U32, body, "boot")
    start = _U32.size
    facts = json.loads(body[start : start + length])
    told: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value for name, value in facts.items()
    }
    levels = told["log_levels"]
    if levels is not None:
        told["log_levels"] = tuple((name, level) for name, level in levels)
    return BootSettings(**told), body[start + length :]


def encode_define(definitions: bytes) -> list[bytes]:
    """Return the buffers of a DEFINE frame."""
    return [encode_header(Kind.DEFINE, len(definitions)), definitions]


class Handed(NamedTuple):
    """One job as a worker receives it."""

    ticket: int
    id: int
    attempt: int
    priority: int
    is_guarded: bool
    created_at: float
    deadline: float | None
    type: str
    payload: bytes


def encode_jobs(dispatches: Sequence[Dispatch]) -> list[bytes]:
    """Return the buffers of one JOBS frame; large payloads are buffers of their own, uncopied."""
    buffers: list[bytes] = []
    small: list[bytes] = []
    total = 0
    for dispatch in dispatches:
        job = dispatch.job
        name, payload = job.type.encode(), job.payload
        small.append(
            _JOB.pack(
                dispatch.ticket,
                job.id,
                dispatch.attempt,
                job.priority,
                dispatch.is_guarded,
                job.created_at,
                job.deadline or 0.0,
                len(name),
                len(payload),
            )
        )
        small.append(name)
        total += _JOB.size + len(name) + len(payload)
        if len(payload) <= COPY_BYTES:
            small.append(payload)
        else:
            buffers += b"".join(small), payload
            small = []
    buffers.append(b"".join(small))
    buffers[0] = encode_header(Kind.JOBS, total) + buffers[0]
    return buffers if buffers[-1] else buffers[:-1]


def decode_jobs(body: bytes) -> list[Handed]:
    """Return the jobs of a JOBS frame, in order."""
    jobs: list[Handed] = []
    unpack, size, start, end = _JOB.unpack_from, _JOB.size, 0, len(body)
    while start < end:
        try:
            ticket, job_id, attempt, priority, guarded, at, due, named, length = unpack(body, start)
        except struct.error as exc:
            raise ProtocolError(f"malformed jobs: {exc}") from None
        middle = start + size + named
        name = body[start + size : middle].decode()
        start = middle + length
        payload = body[middle:start]
        handed = Handed(ticket, job_id, attempt, priority, guarded, at, due or None, name, payload)
        jobs.append(handed)
    return jobs


def encode_resume_type(job_type: str) -> bytes:
    """Return a RESUME_TYPE frame."""
    return encode_frame(Kind.RESUME_TYPE, job_type.encode())


def decode_resume_type(body: bytes) -> str:
    """Return the job type."""
    return body.decode()


def encode_answer(ticket: int, call_id: int, body: bytes) -> bytes:
    """Return an ANSWER frame: the reply to ``Call`` number ``call_id`` of that job."""
    return encode_frame(Kind.ANSWER, _CALL_HEAD.pack(ticket, call_id) + body)


def decode_answer(body: bytes) -> tuple[int, int, bytes]:
    """Return ticket, call id and the answer."""
    ticket, call_id = unpack(_CALL_HEAD, body, "answer")
    return ticket, call_id, body[_CALL_HEAD.size :]


# --- from a worker; RESULT and FAILURE are in knock/protocol/attempt.py, LOG in logline.py --------

_TICKET = struct.Struct("<Q")
_PROGRESS = struct.Struct("<Qdd")
_CALL = struct.Struct("<QQB")


def encode_ready() -> bytes:
    """Return a READY frame."""
    return encode_frame(Kind.READY)


def encode_boot_failed(detail: str) -> bytes:
    """Return a BOOT_FAILED frame; ``detail`` is a traceback."""
    return encode_frame(Kind.BOOT_FAILED, clip(detail, MAX_TRACEBACK_BYTES))


def decode_boot_failed(body: bytes) -> str:
    """Return the worker's traceback."""
    return decode_text(body, MAX_TRACEBACK_BYTES, "boot failure")


def encode_handed_back(tickets: Sequence[int]) -> bytes:
    """Return a HANDED_BACK frame."""
    return encode_frame(Kind.HANDED_BACK, b"".join(map(_TICKET.pack, tickets)))


def decode_handed_back(body: bytes) -> list[int]:
    """Return the tickets."""
    if not body or len(body) % _TICKET.size:
        raise ProtocolError(f"malformed handing back: {len(body)} bytes")
    return [ticket for (ticket,) in _TICKET.iter_unpack(body)]


def encode_worn(reason: str) -> bytes:
    """Return a WORN frame: the worker wants to be replaced, for this reason (a few words)."""
    return encode_frame(Kind.WORN, clip(reason, MAX_NAME_BYTES))


def decode_worn(body: bytes) -> str:
    """Return the worker's reason."""
    return decode_text(body, MAX_NAME_BYTES, "wish to be replaced")


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a job has come: ``done`` of ``total``, in units of its own."""

    ticket: int
    done: float
    total: float | None


def encode_progress(ticket: int, done: float, total: float | None) -> bytes:
    """Return a PROGRESS frame."""
    body = _PROGRESS.pack(ticket, done, math.nan if total is None else total)
    return encode_frame(Kind.PROGRESS, body)


def decode_progress(body: bytes) -> Progress:
    """Return the progress."""
    if len(body) != _PROGRESS.size:
        raise ProtocolError(f"malformed progress: {len(body)} bytes")
    ticket, done, total = _PROGRESS.unpack(body)
    if not math.isfinite(done) or math.isinf(total):
        raise ProtocolError(f"malformed progress: {done} of {total}")
    return Progress(ticket, done, None if math.isnan(total) else total)


@dataclass(frozen=True, slots=True)
class Call:
    """A running job wants something of the supervisor and waits for the answer."""

    ticket: int
    call_id: int
    verb: str
    body: bytes


def encode_call(call: Call) -> list[bytes]:
    """Return the buffers of a CALL frame."""
    verb = call.verb.encode()
    head = _CALL.pack(call.ticket, call.call_id, len(verb)) + verb
    return [encode_header(Kind.CALL, len(head) + len(call.body)) + head, call.body]


def decode_call(body: bytes) -> Call:
    """Return the call."""
    ticket, call_id, length = unpack(_CALL, body, "call")
    start = _CALL.size + length
    if start > len(body):
        raise ProtocolError("malformed call: cut short")
    verb = decode_text(body[_CALL.size : start], MAX_NAME_BYTES, "call")
    return Call(ticket, call_id, verb, body[start:])
