"""The pool: the only place of the supervisor that touches processes and their channels.

It decides nothing about jobs: it obeys the machine's commands and tells its events. Nothing here
waits for a worker, unpickles, or believes what a worker says beyond its own job.
"""

import logging
import selectors
import signal
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType

from knock.core.commands import KillCause
from knock.core.events import (
    Event,
    LedgersRead,
    PermitsRevoked,
    Reading,
    WorkerExited,
)
from knock.core.handout import Dispatch
from knock.core.job import Death
from knock.errors import WorkerBootError
from knock.pool.clock import Clock
from knock.pool.death import death_of
from knock.pool.deathwatch import REPORT_SECONDS, expect_report, is_report_overdue, see_dead
from knock.pool.handle import Handle
from knock.pool.hearing import WorkerMessage, hear, ready, said_by_pool
from knock.pool.kills import Kills
from knock.pool.listening import Listening
from knock.pool.nursery_client import (
    Died,
    NotSpawned,
    Nursery,
    NurseryFailed,
    Preloaded,
    Report,
    Spawned,
)
from knock.pool.oom import OomWatch
from knock.pool.preloading import warning_of
from knock.pool.settings import PoolSettings
from knock.pool.surroundings import Surroundings
from knock.protocol.message import (
    Call,
    encode_answer,
    encode_boot,
    encode_define,
    encode_resume_type,
)

_logger = logging.getLogger("knock.pool")

# A worker whose channel is closed but that does not end is killed after so long.
_EOF_GRACE_SECONDS = 1.0


class Pool:
    """All workers of one supervisor. Used by one thread.

    Registers its descriptors at ``selector`` with ``data`` = a function of the event mask that
    returns events for the machine. ``on_message`` is called for what running jobs say. Workers get
    the environment, the working directory and the umask of the moment when the pool was made.
    """

    def __init__(
        self, settings: PoolSettings, clock: Clock, selector: selectors.BaseSelector
    ) -> None:
        self._settings = settings
        self._surroundings = Surroundings.here(settings.thread_cap)
        self._clock = clock
        self._selector = selector
        self._listening = Listening(selector)
        self._nursery: Nursery | None = None
        self._handles: dict[int, Handle] = {}
        # The last death of each slot, which the machine may not have heard of yet.
        self._buried: dict[int, WorkerExited] = {}
        self._definitions: list[bytes] = []
        self._kills = Kills(clock, self._drain)
        self._oom_watch = OomWatch()
        self._has_warned = False
        self._untold: list[Event] = []
        self.on_message: Callable[[WorkerMessage], None] = lambda _: None

    # --- commands ---

    def start_worker(self, worker: int, generation: int) -> None:
        """Start a process for this slot."""
        try:
            nursery = self._living_nursery()
            handle = Handle(worker, generation, captures=self._settings.captures)
        except (WorkerBootError, OSError) as exc:
            death = Death(cause=str(exc), is_infrastructure=True)
            self._untold.append(WorkerExited(worker, generation, death))
            return
        self._handles[worker] = handle
        limit = self._settings.boot_timeout
        handle.kill_at = self._clock.now() + limit
        handle.kill_reason = f"it was not ready after {limit:g} s"
        nursery.spawn(worker, generation, handle.worker_fds(), handle.handed_over)
        capture = None if handle.captured is None else handle.captured.secret.hex()
        boot = self._settings.boot(capture, self._surroundings.capped)
        handle.channel.send(encode_boot(boot, self._settings.definitions))
        for blob in self._definitions:
            handle.channel.send(encode_define(blob))
        self._listening.begin(handle, self._reader(handle))

    def _living_nursery(self) -> Nursery:
        if self._nursery is None:
            self._nursery = Nursery(self._settings, self._surroundings)
            self._selector.register(
                self._nursery, selectors.EVENT_READ, lambda _: self._hear_nursery()
            )
        return self._nursery

    def stop_worker(self, worker: int, generation: int) -> None:
        """Let the process end when it is through."""
        handle = self._handle(worker, generation)
        if handle is not None:
            handle.stop()

    def send_jobs(self, worker: int, generation: int, jobs: Sequence[Dispatch]) -> None:
        """Hand jobs over, in this order."""
        handle = self._handle(worker, generation)
        if handle is not None:
            handle.send_jobs(jobs)
            self._listening.update(handle)
            return
        buried = self._buried.get(worker)
        if buried is not None and buried.generation == generation:
            # Sent between the death and the machine's hearing of it.
            buried.unstarted.extend(job.ticket for job in jobs)

    def resume_type(self, worker: int, generation: int, job_type: str) -> None:
        """Let the worker run jobs of this type again that are sent from now on."""
        self._send(worker, generation, encode_resume_type(job_type))

    def answer(self, worker: int, generation: int, call: Call, body: bytes) -> None:
        """Answer a call of a running job."""
        self._send(worker, generation, encode_answer(call.ticket, call.call_id, body))

    def _send(self, worker: int, generation: int, frame: bytes) -> None:
        handle = self._handle(worker, generation)
        if handle is not None:
            handle.channel.send([frame])
            self._listening.update(handle)

    def define(self, blob: bytes) -> None:
        """Make definitions known to all workers, present and future, before any later job."""
        self._definitions.append(blob)
        for handle in self._handles.values():
            handle.channel.send(encode_define(blob))
            self._listening.update(handle)

    def revoke(self, worker: int, generation: int, tickets: Sequence[int]) -> list[Event]:
        """Take these tickets back if they have not started."""
        handle = self._handle(worker, generation)
        if handle is None:
            return []  # its death answers
        return [PermitsRevoked(worker, generation, handle.revoke(frozenset(tickets)))]

    def kill(
        self, worker: int, generation: int, ticket: int | None, cause: KillCause
    ) -> list[Event]:
        """Kill the worker while it runs ``ticket``; see ``KillWorker``."""
        handle = self._handle(worker, generation)
        if handle is None:
            return []
        return self._kills.order(handle, ticket, cause)

    def warn(self, worker: int, generation: int, ticket: int) -> None:
        """Tell the worker that the job ``ticket``, if it runs, is over its soft limit."""
        handle = self._handle(worker, generation)
        if handle is not None and handle.running == ticket:
            handle.warn()

    def read_ledgers(
        self, workers: Sequence[int], weighed: Mapping[int, int] = MappingProxyType({})
    ) -> LedgersRead:
        """Look at these workers' ledgers and permits; at the memory of those in ``weighed``."""
        readings: dict[int, tuple[int, Reading]] = {}
        for worker in workers:
            handle = self._handles.get(worker)
            if handle is not None:
                reading = handle.look(self._clock.at, weighed.get(worker))
                readings[worker] = (handle.generation, reading)
        return LedgersRead(readings)

    # --- what workers send ---

    def read_all(self) -> list[Event]:
        """Read every channel to its present end, without waiting."""
        handles = list(self._handles.values())
        return [event for handle in handles for event in self._drain(handle)]

    def _drain(self, handle: Handle) -> list[Event]:
        return self._hear(handle, handle.channel.drain())

    def _reader(self, handle: Handle) -> Callable[[int], list[Event]]:
        def read(mask: int) -> list[Event]:
            if mask & selectors.EVENT_WRITE:
                handle.channel.flush()
                self._listening.update(handle)
            if not mask & selectors.EVENT_READ:
                return []
            return self._hear(handle, handle.channel.receive())

        return read

    def _hear(self, handle: Handle, frames: list[tuple[int, bytes]]) -> list[Event]:
        events: list[Event] = []
        if frames and handle.violation is None:
            events = hear(handle, frames, self._clock.at, self.on_message)
        if handle.channel.violation is not None:
            handle.violate(handle.channel.violation)
        if handle.violation is not None:
            if self._heard_all(handle):
                _logger.error("killing worker %s, which lied: %s", handle.pid, handle.violation)
        elif handle.channel.is_ended and self._heard_all(handle) and not handle.is_doomed:
            # Its death is told by the nursery; should it live on without a channel, it is killed.
            handle.kill_at = self._clock.now() + _EOF_GRACE_SECONDS
            handle.kill_reason = "it had closed its channel"
        return events

    def _heard_all(self, handle: Handle) -> bool:
        if not self._listening.end(handle):
            return False
        if handle.pid is not None and handle.pidfd < 0:
            # Nothing but the nursery will show that it is dead.
            expect_report(handle, self._clock.now())
        return True

    # --- the nursery ---

    def _hear_nursery(self) -> list[Event]:
        nursery = self._nursery
        if nursery is None:
            return []
        events = [event for report in nursery.reports() for event in self._reported(report)]
        if nursery.is_lost and nursery is self._nursery:
            events.extend(self._nursery_lost(nursery))
        return events

    def _reported(self, report: Report) -> list[Event]:
        if isinstance(report, Preloaded):
            self._warn_once(report.unforkable)
            return []
        if isinstance(report, NurseryFailed):
            self._close_nursery()
            return self._bury_all(Death(cause="a module failed to load", stderr=report.detail))
        handle = self._handle(report.worker, report.generation)
        if handle is None:
            return []
        match report:
            case Spawned():
                handle.born(report)
                self._listening.await_death(
                    handle, lambda: expect_report(handle, self._clock.now())
                )
                return [ready(handle)] if handle.is_ready else []
            case NotSpawned():
                cause = f"cannot fork: {report.detail}"
                return self._bury(handle, lambda: Death(cause=cause, is_infrastructure=True))
            case Died():
                return self._bury(handle, lambda: death_of(report, handle, self._oom_watch))

    def _warn_once(self, unforkable: Sequence[str]) -> None:
        if unforkable and not self._has_warned:
            self._has_warned = True
            self.on_message(said_by_pool(self._clock.now(), warning_of(unforkable)))

    def _nursery_lost(self, nursery: Nursery) -> list[Event]:
        preload = self._settings.preload
        how = self._leave_nursery()
        if preload and not nursery.is_preloaded and not how.endswith(f"signal {signal.SIGKILL:d}"):
            cause = f"the process that was preloading {', '.join(preload)} {how}"
            return self._bury_all(Death(cause=cause))
        return self._bury_all(
            Death(cause=f"the process that forked it {how}", is_infrastructure=True)
        )

    def _leave_nursery(self) -> str:
        """End all workers of a nursery that cannot do it, and say how it ended itself."""
        for handle in self._handles.values():
            handle.kill_orphans()
        how = self._close_nursery()
        # A worker that still ran could do its job beside the next attempt at it.
        see_dead(self._handles.values())
        return how

    def _nursery_is_silent(self, nursery: Nursery) -> list[Event]:
        """Give up a nursery that does not tell of a death: it is stopped, or stuck."""
        nursery.kill()
        self._leave_nursery()
        cause = f"the process that forked it told of no death for {REPORT_SECONDS:g} s"
        return self._bury_all(Death(cause=cause, is_infrastructure=True))

    def _nursery_hangs(self, nursery: Nursery) -> list[Event]:
        """Give up a nursery that has not answered an order in the time that a boot may take."""
        limit, preload = self._settings.boot_timeout, self._settings.preload
        is_preloading = bool(preload) and not nursery.is_preloaded
        cause = f"the process that forks workers did not answer for {limit:g} s"
        if is_preloading:
            cause = f"preloading {', '.join(preload)} was not done after {limit:g} s"
        nursery.kill()
        self._leave_nursery()
        return self._bury_all(Death(cause=cause, is_infrastructure=not is_preloading))

    def _bury_all(self, death: Death) -> list[Event]:
        handles = list(self._handles.values())
        return [event for handle in handles for event in self._bury(handle, lambda: death)]

    def _bury(self, handle: Handle, death: Callable[[], Death]) -> list[Event]:
        """Read the channel to its end, then tell the death, then forget the process."""
        events = self._drain(handle)
        handle.withhold()
        self._kills.forget(handle)
        entry = handle.ledger.read()
        started_at = self._clock.at(entry.started_ns) if entry.ticket in handle.window else None
        buried = WorkerExited(
            handle.worker, handle.generation, death(), list(handle.withheld), started_at
        )
        buried.log = handle.log_tail.lines()
        if handle.captured is not None:
            buried.output = handle.captured.take(handle.running)
        self._buried[handle.worker] = buried
        self._listening.end(handle)
        self._listening.end_await(handle)
        del self._handles[handle.worker]
        handle.close()
        return [*events, buried]

    # --- timers ---

    def clock_stopped(self, seconds: float) -> None:
        """Until now nobody was there for so long, and workers may have been stopped as well."""
        for handle in self._handles.values():
            if handle.kill_at is not None:
                handle.kill_at += seconds

    def next_deadline(self) -> float | None:
        """When ``tick`` has something to do (UTC seconds)."""
        if self._untold:
            return self._clock.now()
        moments = [m for h in self._handles.values() for m in (h.kill_at, h.report_by)]
        moments.append(self._kills.next_look)
        return min((moment for moment in moments if moment is not None), default=None)

    def tick(self) -> list[Event]:
        """Kill what should have ended or booted by now; tell births that failed at once."""
        now = self._clock.now()
        events, self._untold = self._untold, []
        self._kills.tick()
        is_unanswered = False
        for handle in self._handles.values():
            if handle.kill_at is not None and handle.kill_at <= now:
                handle.kill_at = None
                handle.is_overdue = True
                handle.kill()
                is_unanswered |= handle.pid is None
        if is_unanswered and self._nursery is not None:
            events += self._nursery_hangs(self._nursery)
        if self._nursery is not None and is_report_overdue(self._handles.values(), now):
            events += self._nursery_is_silent(self._nursery)
        return events

    # --- the rest ---

    def pids(self) -> dict[int, int]:
        """Return the pid of each worker that exists, by slot."""
        return {w: h.pid for w, h in self._handles.items() if h.pid is not None}

    def close(self) -> None:
        """Kill what is left, wait for it to be gone, and close every descriptor. Idempotent."""
        for handle in self._handles.values():
            handle.kill()
        self._close_nursery()
        see_dead(self._handles.values())
        for handle in self._handles.values():
            self._listening.end(handle)
            self._listening.end_await(handle)
            handle.close()
        self._handles.clear()

    def _close_nursery(self) -> str:
        nursery, self._nursery = self._nursery, None
        if nursery is None:
            return ""
        self._selector.unregister(nursery)
        return nursery.close()

    def _handle(self, worker: int, generation: int) -> Handle | None:
        handle = self._handles.get(worker)
        return handle if handle is not None and handle.generation == generation else None
