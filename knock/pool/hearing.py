"""What the frames of a worker mean: events for the machine, or a lie.

A worker is not trusted: it speaks for the job that it runs, and for no other.
"""

import logging
import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from knock.core.events import (
    AttemptsEnded,
    Event,
    JobsHandedBack,
    WorkerBootFailed,
    WorkerReady,
    WorkerWorn,
)
from knock.core.handout import AttemptEnded
from knock.core.job import AttemptOutcome
from knock.errors import ProtocolError
from knock.pool.handle import Handle
from knock.protocol.attempt import decode_failure, decode_result
from knock.protocol.field import At
from knock.protocol.logline import LogLine, Origin, decode_log
from knock.protocol.message import (
    Call,
    Kind,
    Progress,
    decode_boot_failed,
    decode_call,
    decode_handed_back,
    decode_progress,
    decode_worn,
)


@dataclass(frozen=True, slots=True)
class WorkerMessage:
    """Something that a running job says: a line, its progress, or a call that waits for answer.

    A line may be of the worker itself, outside of any job. ``pid`` is None if it is not known yet.
    """

    worker: int
    generation: int
    pid: int | None
    message: LogLine | Progress | Call


Tell = Callable[[WorkerMessage], None]


def said_by_pool(now: float, warning: str) -> WorkerMessage:
    """Return a line of the pool's own for the caller's log: nobody sees what a process logs."""
    line = LogLine(0, now, logging.WARNING, warning, Origin("knock.pool"))
    return WorkerMessage(0, 0, os.getpid(), line)


_DECODE_ATTEMPT = {Kind.RESULT.value: decode_result, Kind.FAILURE.value: decode_failure}


def hear(handle: Handle, frames: Iterable[tuple[int, bytes]], at: At, tell: Tell) -> list[Event]:
    """Return the events of what a worker sent. A lie ends the worker; what came before counts."""
    events: list[Event] = []
    ended: list[AttemptEnded] = []
    handle.count_started()
    try:
        for kind, body in frames:
            decode = _DECODE_ATTEMPT.get(kind)
            if decode is None:
                events.extend(_other(handle, kind, body, at, tell))
                ended = []
                continue
            attempt = decode(body, at)
            if attempt.ticket == handle.condemned:
                continue
            if handle.captured is not None and attempt.ticket in handle.window:
                attempt.output = handle.captured.take(attempt.ticket)
            if not handle.answered(attempt.ticket):
                continue
            if handle.log_tail:
                _end_log(handle, attempt)
            if not ended:
                events.append(AttemptsEnded(handle.worker, handle.generation, ended))
            ended.append(attempt)
        handle.check_last_answer()
    except ProtocolError as exc:
        handle.violate(str(exc))
    return events


def _other(handle: Handle, kind: int, body: bytes, at: At, tell: Tell) -> list[Event]:
    match kind:
        case Kind.HANDED_BACK:
            tickets = decode_handed_back(body)
            handle.handed_back(tickets)
            return [JobsHandedBack(handle.worker, handle.generation, tickets)]
        case Kind.LOG:
            _log(handle, decode_log(body, at), tell)
        case Kind.PROGRESS:
            _pass_on(handle, decode_progress(body), tell)
        case Kind.CALL:
            _pass_on(handle, decode_call(body), tell)
        case Kind.WORN:
            return [_worn(handle, decode_worn(body))]
        case _:
            return _booted(handle, kind, body)
    return []


def _log(handle: Handle, line: LogLine, tell: Tell) -> None:
    if line.ticket:
        _pass_on(handle, line, tell)
        handle.log_tail.add(line)
    else:
        tell(WorkerMessage(handle.worker, handle.generation, handle.pid, line))


def _end_log(handle: Handle, attempt: AttemptEnded) -> None:
    if attempt.outcome is not AttemptOutcome.SUCCESS:
        attempt.log = handle.log_tail.lines()
    handle.log_tail.clear()


def _pass_on(handle: Handle, message: LogLine | Progress | Call, tell: Tell) -> None:
    if message.ticket != handle.running:
        raise ProtocolError(f"a message for ticket {message.ticket}, which does not run")
    tell(WorkerMessage(handle.worker, handle.generation, handle.pid, message))


def _worn(handle: Handle, reason: str) -> WorkerWorn:
    if not handle.is_ready:
        raise ProtocolError("worn before it was ready")
    return WorkerWorn(handle.worker, handle.generation, reason)


def _booted(handle: Handle, kind: int, body: bytes) -> list[Event]:
    if handle.is_ready:
        raise ProtocolError("a second word about its boot")
    if kind == Kind.BOOT_FAILED:
        return [WorkerBootFailed(handle.worker, handle.generation, decode_boot_failed(body))]
    handle.is_ready = True
    # What it said while booting tells nothing of a later crash.
    handle.forget_words()
    handle.kill_at = None
    # Nobody can name the process before its birth was told, which may come a moment later.
    return [] if handle.pid is None else [ready(handle)]


def ready(handle: Handle) -> WorkerReady:
    """Return the event that says that the worker takes jobs."""
    return WorkerReady(handle.worker, handle.generation, handle.pid)
