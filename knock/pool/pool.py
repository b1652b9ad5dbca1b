"""The pool: the only place of the supervisor that touches processes and their channels.

It decides nothing about jobs: it obeys the machine's commands and tells its events. Nothing here
waits, unpickles or believes what a worker says beyond its own jobs.
"""

import logging
import os
import selectors
import signal
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from knock.core.events import (
    AttemptEnded,
    AttemptsEnded,
    Dispatch,
    Event,
    JobsHandedBack,
    KillCause,
    KillDropped,
    LedgersRead,
    PermitsRevoked,
    Reading,
    WorkerBootFailed,
    WorkerExited,
    WorkerReady,
)
from knock.core.job import Death
from knock.errors import ProtocolError, WorkerBootError
from knock.pool.clock import Clock
from knock.pool.handle import Handle
from knock.pool.nursery_client import Died, NotSpawned, Nursery, NurseryFailed, Report, Spawned
from knock.pool.settings import PoolSettings
from knock.protocol.attempt import decode_failure, decode_result
from knock.protocol.message import (
    BootSettings,
    Call,
    Kind,
    LogLine,
    Progress,
    decode_boot_failed,
    decode_call,
    decode_handed_back,
    decode_log,
    decode_progress,
    encode_answer,
    encode_boot,
    encode_define,
    encode_resume_type,
)

_logger = logging.getLogger("knock.pool")

# A worker whose channel is closed but that does not end is killed after so long.
_EOF_GRACE_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class WorkerMessage:
    """Something that a running job says: a line, its progress, or a call that waits for answer."""

    worker: int
    generation: int
    message: LogLine | Progress | Call


class Pool:
    """All workers of one supervisor. Used by one thread.

    Registers its descriptors at ``selector`` with ``data`` = a function of the event mask that
    returns events for the machine. ``on_message`` is called for what running jobs say.
    """

    def __init__(
        self, settings: PoolSettings, clock: Clock, selector: selectors.BaseSelector
    ) -> None:
        self._settings = settings
        self._clock = clock
        self._selector = selector
        self._nursery: Nursery | None = None
        self._handles: dict[int, Handle] = {}
        # The last death of each slot, which the machine may not have heard of yet.
        self._buried: dict[int, WorkerExited] = {}
        self._definitions: list[bytes] = []
        self._lost_births: list[tuple[int, int, str]] = []
        self.on_message: Callable[[WorkerMessage], None] = lambda _: None

    # --- commands ---

    def start_worker(self, worker: int, generation: int) -> None:
        """Start a process for this slot."""
        try:
            nursery = self._living_nursery()
            handle = Handle(worker, generation)
        except (WorkerBootError, OSError) as exc:
            self._lost_births.append((worker, generation, str(exc)))
            return
        self._handles[worker] = handle
        handle.kill_at = self._clock.now() + self._settings.boot_timeout
        fds = handle.worker_fds()
        nursery.spawn(worker, generation, fds)
        handle.handed_over(fds)
        boot = BootSettings(
            sys_path=self._settings.sys_path or None, argv=self._settings.argv or None
        )
        handle.channel.send(encode_boot(boot, self._settings.definitions))
        for blob in self._definitions:
            handle.channel.send(encode_define(blob))
        self._selector.register(handle.channel, self._interest(handle), self._reader(handle))

    def _living_nursery(self) -> Nursery:
        if self._nursery is None or self._nursery.is_lost:
            self._close_nursery()
            self._nursery = Nursery(self._settings)
            self._selector.register(
                self._nursery, selectors.EVENT_READ, lambda _: self._hear_nursery()
            )
        return self._nursery

    def stop_worker(self, worker: int, generation: int) -> None:
        """Let the process end when it is through."""
        handle = self._handle(worker, generation)
        if handle is not None:
            handle.permits.end()

    def send_jobs(self, worker: int, generation: int, jobs: Sequence[Dispatch]) -> None:
        """Hand jobs over, in this order."""
        handle = self._handle(worker, generation)
        if handle is not None:
            handle.send_jobs(jobs)
            self._watch(handle)
            return
        buried = self._buried.get(worker)
        if buried is not None and buried.generation == generation:
            # Sent between the death and the machine's hearing of it.
            buried.unstarted.extend(job.ticket for job in jobs)

    def resume_type(self, worker: int, generation: int, job_type: str) -> None:
        """Let the worker run jobs of this type again that are sent from now on."""
        self._send(worker, generation, [encode_resume_type(job_type)])

    def answer(self, worker: int, generation: int, call: Call, body: bytes) -> None:
        """Answer a call of a running job."""
        self._send(worker, generation, [encode_answer(call.ticket, call.call_id, body)])

    def define(self, blob: bytes) -> None:
        """Make definitions known to all workers, present and future, before any later job."""
        self._definitions.append(blob)
        for handle in self._handles.values():
            handle.channel.send(encode_define(blob))
            self._watch(handle)

    def _send(self, worker: int, generation: int, buffers: Sequence[bytes]) -> None:
        handle = self._handle(worker, generation)
        if handle is not None:
            handle.channel.send(buffers)
            self._watch(handle)

    def revoke(self, worker: int, generation: int, tickets: Sequence[int]) -> list[Event]:
        """Take these tickets back if they have not started."""
        handle = self._handle(worker, generation)
        if handle is None:
            return []
        wanted = set(tickets)
        taken = handle.take_all()
        back = [ticket for ticket in taken if ticket in wanted and ticket in handle.window]
        rest = [ticket for ticket in taken if ticket not in wanted]
        if rest:
            handle.permits.give(rest)
        for ticket in back:
            del handle.window[ticket]
        return [PermitsRevoked(worker, generation, back)]

    def kill(
        self, worker: int, generation: int, ticket: int | None, cause: KillCause
    ) -> list[Event]:
        """Kill the worker while it runs ``ticket``; see ``KillWorker``."""
        handle = self._handle(worker, generation)
        if handle is None:
            return []
        # Nothing new can start from here on.
        handle.revoked.extend(handle.take_all())
        events = self._drain(handle)
        if ticket is not None and ticket not in handle.window:
            back = [other for other in handle.revoked if other in handle.window]
            handle.revoked.clear()
            if back:
                handle.permits.give(back)
            return [*events, KillDropped(worker, generation, ticket)]
        handle.kill_ordered = cause
        handle.kill()
        return events

    def read_ledgers(self, workers: Sequence[int]) -> LedgersRead:
        """Look at these workers' ledgers and permits."""
        readings: dict[int, tuple[int, Reading]] = {}
        for worker in workers:
            handle = self._handles.get(worker)
            if handle is not None:
                entry = handle.ledger.read()
                reading = Reading(
                    entry.ticket, self._clock.at(entry.started_ns), handle.permits.left()
                )
                readings[worker] = (handle.generation, reading)
        return LedgersRead(readings)

    # --- what comes back ---

    def read_all(self) -> list[Event]:
        """Read every channel to its present end, without waiting."""
        events: list[Event] = []
        for handle in list(self._handles.values()):
            events.extend(self._drain(handle))
        return events

    def _reader(self, handle: Handle) -> Callable[[int], list[Event]]:
        def read(mask: int) -> list[Event]:
            if mask & selectors.EVENT_WRITE:
                handle.channel.flush()
                self._watch(handle)
            if not mask & selectors.EVENT_READ:
                return []
            return self._understand(handle, handle.channel.receive)

        return read

    def _drain(self, handle: Handle) -> list[Event]:
        return self._understand(handle, handle.channel.drain)

    def _understand(
        self, handle: Handle, receive: Callable[[], list[tuple[int, bytes]]]
    ) -> list[Event]:
        events: list[Event] = []
        ended: list[AttemptEnded] = []
        try:
            for kind, body in receive():
                event = self._frame(handle, kind, body)
                if isinstance(event, AttemptEnded):
                    if not ended:
                        events.append(AttemptsEnded(handle.worker, handle.generation, ended))
                    ended.append(event)
                elif event is not None:
                    events.append(event)
                    ended = []
        except ProtocolError as exc:
            self._violated(handle, str(exc))
        if handle.channel.is_ended:
            self._closed(handle)
        return events

    def _frame(self, handle: Handle, kind: int, body: bytes) -> Event | AttemptEnded | None:
        if kind == Kind.RESULT:
            ended = decode_result(body, self._clock.at)
            self._take_out(handle, ended.ticket)
            return ended
        if kind == Kind.FAILURE:
            ended = decode_failure(body, self._clock.at)
            self._take_out(handle, ended.ticket)
            return ended
        return self._other_frame(handle, kind, body)

    def _take_out(self, handle: Handle, ticket: int) -> None:
        # A worker speaks for the jobs it holds, and for no others.
        if ticket not in handle.window:
            raise ProtocolError(f"an answer for ticket {ticket}, which it does not hold")
        del handle.window[ticket]

    def _other_frame(self, handle: Handle, kind: int, body: bytes) -> Event | None:
        worker, generation = handle.worker, handle.generation
        match kind:
            case Kind.HANDED_BACK:
                tickets = decode_handed_back(body)
                for ticket in tickets:
                    self._take_out(handle, ticket)
                return JobsHandedBack(worker, generation, tickets)
            case Kind.READY:
                handle.kill_at = None
                handle.is_ready = True
                return WorkerReady(worker, generation, handle.pid)
            case Kind.BOOT_FAILED:
                return WorkerBootFailed(worker, generation, decode_boot_failed(body))
            case Kind.LOG:
                self._message(handle, decode_log(body, self._clock.at))
            case Kind.PROGRESS:
                self._message(handle, decode_progress(body))
            case Kind.CALL:
                self._message(handle, decode_call(body))
        return None

    def _message(self, handle: Handle, message: LogLine | Progress | Call) -> None:
        if message.ticket not in handle.window:
            raise ProtocolError(f"a message for ticket {message.ticket}, which it does not hold")
        self.on_message(WorkerMessage(handle.worker, handle.generation, message))

    def _violated(self, handle: Handle, violation: str) -> None:
        if handle.violation is None:
            handle.violation = violation
            _logger.error("worker %s broke the protocol and is killed: %s", handle.pid, violation)
            self._unregister(handle)
            handle.kill()

    def _closed(self, handle: Handle) -> None:
        # Its death is told by the nursery; should it live on without a channel, it is killed.
        if self._unregister(handle):
            handle.kill_at = self._clock.now() + _EOF_GRACE_SECONDS

    # --- the nursery ---

    def _hear_nursery(self) -> list[Event]:
        nursery = self._nursery
        if nursery is None:
            return []
        events: list[Event] = []
        for report in nursery.reports():
            events.extend(self._reported(report))
        if nursery.is_lost:
            events.extend(self._nursery_lost())
        return events

    def _reported(self, report: Report) -> list[Event]:
        if isinstance(report, NurseryFailed):
            return self._bury_all(Death(cause="a preloaded module failed", stderr=report.detail))
        handle = self._handle(report.worker, report.generation)
        match report:
            case Spawned():
                if handle is None:
                    return []
                handle.born(report)
            case NotSpawned() if handle is not None:
                return self._bury(handle, Death(cause=f"cannot fork: {report.detail}"))
            case Died() if handle is not None:
                return self._bury(handle, _death(report, handle))
        return []

    def _nursery_lost(self) -> list[Event]:
        self._close_nursery()
        for handle in self._handles.values():
            handle.kill()
        return self._bury_all(
            Death(cause="the process that forked it died", is_infrastructure=True)
        )

    def _bury_all(self, death: Death) -> list[Event]:
        events: list[Event] = []
        for handle in list(self._handles.values()):
            events.extend(self._bury(handle, death))
        return events

    def _bury(self, handle: Handle, death: Death) -> list[Event]:
        """Read the channel to its end, then tell the death, then forget the process."""
        events = self._drain(handle)
        unstarted = [*handle.revoked, *handle.take_all()]
        entry = handle.ledger.read()
        started_at = self._clock.at(entry.started_ns) if entry.ticket in handle.window else None
        buried = WorkerExited(handle.worker, handle.generation, death, unstarted, started_at)
        self._buried[handle.worker] = buried
        events.append(buried)
        self._unregister(handle)
        del self._handles[handle.worker]
        handle.close()
        return events

    # --- timers ---

    def next_deadline(self) -> float | None:
        """When ``tick`` has something to do (UTC seconds)."""
        if self._lost_births:
            return self._clock.now()
        return min(
            (h.kill_at for h in self._handles.values() if h.kill_at is not None), default=None
        )

    def tick(self) -> list[Event]:
        """Kill what should have ended or booted by now; tell births that failed at once."""
        now = self._clock.now()
        for handle in self._handles.values():
            if handle.kill_at is not None and handle.kill_at <= now:
                handle.kill_at = None
                handle.kill()
        births, self._lost_births = self._lost_births, []
        return [
            WorkerExited(worker, generation, Death(cause=detail))
            for worker, generation, detail in births
        ]

    # --- the rest ---

    def pids(self) -> dict[int, int]:
        """Return the pid of each worker that exists, by slot."""
        return {w: h.pid for w, h in self._handles.items() if h.pid is not None}

    def close(self) -> None:
        """Kill what is left, wait for it to be gone, and close every descriptor. Idempotent."""
        for handle in self._handles.values():
            handle.kill()
        self._close_nursery()
        for handle in self._handles.values():
            self._unregister(handle)
            handle.close()
        self._handles.clear()

    def _close_nursery(self) -> None:
        if self._nursery is not None:
            nursery, self._nursery = self._nursery, None
            if nursery.fileno() >= 0:
                self._selector.unregister(nursery)
            nursery.close()

    def _handle(self, worker: int, generation: int) -> Handle | None:
        handle = self._handles.get(worker)
        return handle if handle is not None and handle.generation == generation else None

    def _interest(self, handle: Handle) -> int:
        if handle.channel.wants_write:
            return selectors.EVENT_READ | selectors.EVENT_WRITE
        return selectors.EVENT_READ

    def _watch(self, handle: Handle) -> None:
        key = self._selector.get_map().get(handle.channel)
        if key is not None and key.events != self._interest(handle):
            self._selector.modify(handle.channel, self._interest(handle), key.data)

    def _unregister(self, handle: Handle) -> bool:
        if handle.channel.fileno() < 0 or self._selector.get_map().get(handle.channel) is None:
            return False
        self._selector.unregister(handle.channel)
        return True


def _death(report: Died, handle: Handle) -> Death:
    """Say how a process ended."""
    exit_code = os.waitstatus_to_exitcode(report.status)
    number = -exit_code if exit_code < 0 else None
    return Death(
        exit_code=None if number is not None else exit_code,
        signal=number,
        cause=_cause(exit_code, handle),
        stderr=handle.last_words(),
        pid=report.pid,
        peak_rss_bytes=report.peak_rss_bytes,
        cpu_seconds=report.cpu_seconds,
    )


def _cause(exit_code: int, handle: Handle) -> str:
    if handle.violation is not None:
        return f"protocol violation: {handle.violation}"
    if exit_code >= 0:
        return f"exited with code {exit_code} without a result"
    try:
        name = signal.Signals(-exit_code).name
    except ValueError:
        name = f"signal {-exit_code}"
    if handle.kill_ordered is not None:
        return f"killed by {name} (ordered: {handle.kill_ordered})"
    if -exit_code == signal.SIGKILL:
        return "killed by SIGKILL, not by knock; possibly out of memory"
    return f"killed by {name}"
