"""How one attempt ended, as its worker tells it: the RESULT and FAILURE frames.

See ``knock/protocol/message.py`` for the rules.
"""

import math
import struct
from collections.abc import Sequence
from typing import NamedTuple

from knock.core.handout import AttemptEnded
from knock.core.job import AttemptOutcome, JobError, Usage
from knock.errors import ProtocolError
from knock.protocol.field import (
    COPY_BYTES,
    MAX_NAME_BYTES,
    MAX_TEXT_BYTES,
    MAX_TRACEBACK_BYTES,
    At,
    clip,
    decode_text,
    unpack,
)
from knock.protocol.frame import encode_header
from knock.protocol.message import Kind

_ENDED = struct.Struct("<QQQQQQBHH")
_FAILED = struct.Struct("<dIIII")
_EXACT, _RETRYABLE, _RETRY_AFTER, _DISCARD, _PICKLED = 1, 2, 4, 8, 16
_OVER_TIME, _OVER_MEMORY = 32, 64
_OUTCOMES = {
    0: AttemptOutcome.ERROR,
    _OVER_TIME: AttemptOutcome.TIMEOUT,
    _OVER_MEMORY: AttemptOutcome.OUT_OF_MEMORY,
}
_OUTCOME_FLAGS = {outcome: flag for flag, outcome in _OUTCOMES.items()}
_ALL_FLAGS = 127
# As many as a frame can tell.
MAX_LEFTOVERS = (1 << 16) - 1


class Measured(NamedTuple):
    """What one attempt used, as its worker measured it; see ``knock.core.job.Usage``.

    The last two are at most ``MAX_LEFTOVERS``.
    """

    started_ns: int
    wall_ns: int
    cpu_ns: int
    peak_rss_bytes: int
    rss_before_bytes: int
    is_exact: bool
    leftover_processes: int = 0
    leftover_threads: int = 0


def encode_result(ticket: int, measured: Measured, value: bytes) -> list[bytes]:
    """Return the buffers of a RESULT frame; a large value is a buffer of its own, uncopied."""
    head = encode_header(Kind.RESULT, _ENDED.size + len(value)) + _ENDED.pack(ticket, *measured)
    return [head + value] if len(value) <= COPY_BYTES else [head, value]


def decode_result(body: bytes, at: At) -> AttemptEnded:
    """Return the success that a RESULT frame tells."""
    ticket, usage, flags = _decode_usage(body, at)
    if flags & ~_EXACT:
        raise ProtocolError(f"malformed result: flags {flags:#x}")
    return AttemptEnded(ticket, AttemptOutcome.SUCCESS, usage, body[_ENDED.size :])


def _decode_usage(body: bytes, at: At) -> tuple[int, Usage, int]:
    try:
        ticket, started, wall, cpu, peak, before, flags, *left = _ENDED.unpack_from(body)
    except struct.error as exc:
        raise ProtocolError(f"malformed result: {exc}") from None
    # Storages keep signed 64-bit numbers.
    if (ticket | started | wall | cpu | peak | before) >> 63:
        raise ProtocolError("malformed result: a number of more than 63 bits")
    is_exact = bool(flags & _EXACT)
    usage = Usage(at(started), wall * 1e-9, cpu * 1e-9, peak, before, is_exact, *left)
    return ticket, usage, flags


def encode_failure(
    ticket: int,
    measured: Measured,
    error: JobError,
    *,
    outcome: AttemptOutcome = AttemptOutcome.ERROR,
    retryable: bool = True,
    retry_after: float | None = None,
    discard: str | None = None,
) -> list[bytes]:
    """Return the buffers of a FAILURE frame. Texts that are too long lose their end."""
    flags = (
        (_EXACT if measured.is_exact else 0)
        | (_RETRYABLE if retryable else 0)
        | (0 if retry_after is None else _RETRY_AFTER)
        | (0 if discard is None else _DISCARD)
        | (0 if error.pickled is None else _PICKLED)
        | _OUTCOME_FLAGS[outcome]
    )
    texts = [
        clip(error.type_name, MAX_NAME_BYTES),
        clip(error.message, MAX_TEXT_BYTES),
        clip(error.traceback, MAX_TRACEBACK_BYTES),
        clip("" if discard is None else discard, MAX_TEXT_BYTES),
    ]
    delay = 0.0 if retry_after is None else retry_after
    head = _ENDED.pack(ticket, *measured[:5], flags, *measured[6:])
    head += _FAILED.pack(delay, *map(len, texts)) + b"".join(texts)
    pickled = b"" if error.pickled is None else error.pickled
    return [encode_header(Kind.FAILURE, len(head) + len(pickled)) + head, pickled]


def decode_failure(body: bytes, at: At) -> AttemptEnded:
    """Return the failure that a FAILURE frame tells."""
    ticket, usage, flags = _decode_usage(body, at)
    delay, *lengths = unpack(_FAILED, body, "failure", _ENDED.size)
    outcome = _OUTCOMES.get(flags & (_OVER_TIME | _OVER_MEMORY))
    if outcome is None or flags & ~_ALL_FLAGS or not 0.0 <= delay < math.inf:
        raise ProtocolError(f"malformed failure: flags {flags:#x}, delay {delay}")
    texts, rest = _decode_texts(body, lengths)
    if rest and not flags & _PICKLED:
        raise ProtocolError("malformed failure: bytes left over")
    error = JobError(
        type_name=texts[0],
        message=texts[1],
        traceback=texts[2],
        pickled=rest if flags & _PICKLED else None,
    )
    return AttemptEnded(
        ticket,
        outcome,
        usage,
        error=error,
        retryable=bool(flags & _RETRYABLE),
        retry_after=delay if flags & _RETRY_AFTER else None,
        discard=texts[3] if flags & _DISCARD else None,
    )


def _decode_texts(body: bytes, lengths: Sequence[int]) -> tuple[list[str], bytes]:
    limits = (MAX_NAME_BYTES, MAX_TEXT_BYTES, MAX_TRACEBACK_BYTES, MAX_TEXT_BYTES)
    start = _ENDED.size + _FAILED.size
    if start + sum(lengths) > len(body):
        raise ProtocolError("malformed failure: cut short")
    texts: list[str] = []
    for length, limit in zip(lengths, limits, strict=True):
        texts.append(decode_text(body[start : start + length], limit, "failure"))
        start += length
    return texts, body[start:]
