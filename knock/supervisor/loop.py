"""The supervisor's loop: wait, ask the core, obey. It decides nothing itself."""

import selectors
import traceback
from collections import deque
from random import Random
from time import process_time

from knock.core.commands import (
    CancelStored,
    ClaimJobs,
    Command,
    EndPool,
    FailPool,
    KillWorker,
    Publish,
    ReadLedgers,
    ResumeType,
    RevokePermits,
    SendJobs,
    SettleJobs,
    StartWorker,
    StopWorker,
    WarnWorker,
)
from knock.core.events import (
    ClaimFailed,
    ClockStopped,
    Event,
    JobsClaimed,
    JobsSettled,
    SettleFailed,
    TimePassed,
)
from knock.core.job import JobState
from knock.core.machine import Machine
from knock.errors import KnockError, QueueClosedError, StorageError, WorkerBootError
from knock.pool.hearing import WorkerMessage
from knock.pool.pool import Pool
from knock.protocol.logline import LogLine
from knock.protocol.message import Progress
from knock.storage.base import Storage
from knock.supervisor.arrears import Arrears
from knock.supervisor.desk import Desk
from knock.supervisor.mailbox import Mailbox
from knock.supervisor.messages import Ended, Failed, LogEntry, Progressed
from knock.supervisor.options import SupervisorOptions
from knock.supervisor.outage import Outage
from knock.supervisor.publisher import Publisher
from knock.supervisor.retention import Retention
from knock.supervisor.tally import Tally

# A turn that comes later than this was held up: what workers did meanwhile is read before any limit
# is judged. If the process used hardly any CPU while it waited, it was stopped (Ctrl-Z, a frozen
# container), its workers perhaps as well: no limit counts that. It does count what a caller takes
# that holds the GIL, or nothing would limit jobs beside it.
_GAP_SECONDS = 1.0
_STOPPED_CPU_SHARE = 0.25
# While jobs run no wait is longer, so that it is known to this when a stop began.
_BUSY_WAIT_SECONDS = 0.5
# epoll takes at most 2**31 ms (24.8 days): it is woken for nothing before a far deadline.
_MAX_WAIT_SECONDS = 3600.0


class Supervisor:
    """One pool, one storage, one caller. ``run`` returns when all of it has ended."""

    def __init__(self, options: SupervisorOptions, storage: Storage, mailbox: Mailbox) -> None:
        self._clock = options.clock
        self._storage = storage
        self._mailbox = mailbox
        self._selector = selectors.DefaultSelector()
        self._machine = Machine(
            workers=options.workers,
            rng=Random(options.seed),  # noqa: S311 - jitter, not secrets
            policies=options.policies,
            stop_rule=options.stop_rule,
            recycle=options.recycle,
        )
        self._pool = Pool(options.pool, self._clock, self._selector)
        self._pool.on_message = self._worker_said
        for blob in options.definitions:
            self._pool.define(blob)
        self._tally = Tally(options.workers, self._clock.now())
        self._outage = Outage()
        self._publisher = Publisher(storage, mailbox, self._outage)
        self._retention = Retention(
            storage, options.retention, keeps_dead=options.keeps_dead, outage=self._outage
        )
        self._arrears = Arrears(
            storage, publisher=self._publisher, tally=self._tally, outage=self._outage
        )
        self._desk = Desk(
            options,
            storage,
            machine=self._machine,
            pool=self._pool,
            publisher=self._publisher,
            tally=self._tally,
            outage=self._outage,
            arrears=self._arrears,
        )
        self._events: deque[Event] = deque()
        self._is_over = False  # every job is settled, and every worker gone

    def run(self) -> None:
        """Serve until stopped, cut off, or unable to go on. Raises nothing."""
        failure: Exception | None = None
        try:
            self._selector.register(self._mailbox, selectors.EVENT_READ, self._hear_mailbox)
            self._obey(self._machine.start(self._clock.now()))
            while not self._is_done and not self._mailbox.is_cut:
                self._turn()
        except Exception as exc:  # noqa: BLE001 - a bug here must not leave a half-alive pool
            failure = _as_failure(exc)
        self._end(failure)

    @property
    def _is_done(self) -> bool:
        return self._is_over and not self._arrears and not self._publisher.is_behind

    def _end(self, failure: Exception | None) -> None:
        now = self._clock.now()
        # What has gathered goes first: nobody listens after the last word.
        for step in (
            self._pool.close,
            self._selector.close,
            lambda: self._publisher.flush(now, is_last=True),
        ):
            try:
                step()
            except Exception as exc:  # noqa: BLE001 - callers must hear the end, whatever fails
                failure = failure or _as_failure(exc)
        try:
            self._mailbox.put([self._last_word(failure, now)])
        except Exception as exc:  # noqa: BLE001 - a storage that cannot be pickled any more
            self._mailbox.put([Failed(_as_failure(exc))])
        self._mailbox.close()

    def _last_word(self, failure: Exception | None, now: float) -> Ended | Failed:
        if failure is None and not self._is_over:
            failure = QueueClosedError("the supervisor was closed")
        if failure is not None:
            return Failed(failure)
        try:
            return Ended(self._tally.facts(now), self._desk.stats())
        except Exception as exc:  # noqa: BLE001 - as above
            return Failed(_as_failure(exc))

    # --- one turn ---

    def _turn(self) -> None:
        self._wait()
        self._events.extend(self._arrears.pay(self._clock.now()))
        if not self._arrears.is_full:
            for message in self._mailbox.take():
                self._events.extend(self._desk.take(message, self._clock.now()))
        self._work_off()
        now = self._clock.now()
        self._desk.look_up(now)
        self._events.extend(self._desk.throttle())
        self._work_off()
        self._publisher.flush(now)
        if not self._publisher.is_behind:
            self._retention.told(self._publisher.ended, now)
        self._outage.pass_over(now)

    def _work_off(self) -> None:
        events, machine = self._events, self._machine
        while events:
            self._obey(machine.handle(events.popleft(), self._clock.now()))

    def _wait(self) -> None:
        deadline = self._next_deadline()
        began = self._clock.now()
        timeout = None
        if deadline is not None:
            longest = _BUSY_WAIT_SECONDS if self._machine.in_flight else _MAX_WAIT_SECONDS
            timeout = min(max(0.0, deadline - began), longest)
        self._watch_mailbox()
        if not self._arrears.is_full and not self._mailbox.sleep():
            timeout = 0.0
        # Not known where nothing is waited for: it takes a microsecond.
        cpu = process_time() if timeout else 0.0
        for key, mask in self._selector.select(timeout):
            self._events.extend(key.data(mask))
        now = self._clock.now()
        if timeout and now - began - timeout > _GAP_SECONDS:
            self._catch_up(now - began, process_time() - cpu)
        if deadline is not None and now >= deadline:
            if now - deadline > _GAP_SECONDS:
                self._events.extend(self._pool.read_all())
            self._events.extend(self._pool.tick())
            if not self._publisher.is_behind:
                self._retention.purge(now)
            self._events.append(TimePassed())

    def _catch_up(self, seconds: float, cpu_seconds: float) -> None:
        """The wait took so long, much longer than it should."""
        self._events.extend(self._pool.read_all())
        if cpu_seconds < _STOPPED_CPU_SHARE * seconds:
            self._pool.clock_stopped(seconds)
            self._events.append(ClockStopped(seconds))

    def _watch_mailbox(self) -> None:
        interest = 0 if self._arrears.is_full else selectors.EVENT_READ
        if self._mailbox.wants_write:
            interest |= selectors.EVENT_WRITE
        key = self._selector.get_map().get(self._mailbox)
        if interest == (0 if key is None else key.events):
            return
        if key is not None:
            self._selector.unregister(self._mailbox)
        if interest:
            self._selector.register(self._mailbox, interest, self._hear_mailbox)

    def _hear_mailbox(self, mask: int) -> list[Event]:
        # What came is taken in any case, at the end of the wait.
        if mask & selectors.EVENT_WRITE:
            self._mailbox.flush()
        return []

    def _next_deadline(self) -> float | None:
        moments = (
            self._machine.next_deadline(),
            self._pool.next_deadline(),
            None if self._publisher.is_behind else self._retention.next_at,
            self._outage.retry_at,
        )
        return min((moment for moment in moments if moment is not None), default=None)

    # --- obeying ---

    def _obey(self, commands: list[Command]) -> None:
        for command in commands:
            self._obey_one(command)

    def _obey_one(self, command: Command) -> None:  # noqa: PLR0912 - a line per command
        pool, events = self._pool, self._events
        match command:
            case SendJobs(worker, generation, jobs):
                pool.send_jobs(worker, generation, jobs)
            case SettleJobs():
                self._settle(command)
            case ClaimJobs():
                self._claim(command)
            case RevokePermits(worker, generation, tickets):
                events.extend(pool.revoke(worker, generation, tickets))
            case KillWorker(worker, generation, ticket, cause):
                events.extend(pool.kill(worker, generation, ticket, cause))
            case WarnWorker(worker, generation, ticket):
                pool.warn(worker, generation, ticket)
            case ReadLedgers(workers, weighed):
                events.append(pool.read_ledgers(workers, weighed))
            case ResumeType(worker, generation, job_type):
                pool.resume_type(worker, generation, job_type)
            case StartWorker(worker, generation):
                pool.start_worker(worker, generation)
            case StopWorker(worker, generation):
                pool.stop_worker(worker, generation)
            case CancelStored(job_ids):
                self._arrears.cancel(list(job_ids), self._clock.now())
            case Publish(notices):
                for notice in notices:
                    self._tally.noticed(notice)
                    self._publisher.noticed(notice)
            case FailPool(detail):
                raise WorkerBootError("workers cannot start", detail)
            case EndPool():
                self._is_over = True

    def _claim(self, command: ClaimJobs) -> None:
        now = self._clock.now()
        try:
            claimed = self._storage.claim(command.limit, now=now, places=dict(command.places))
        except StorageError:
            self._events.append(ClaimFailed(command.claim))
            return
        if claimed.expired:
            self._tally.ended_unrun([r.spec.id for r in claimed.expired], JobState.DEAD)
            self._publisher.ended_unrun(claimed.expired, now)
        self._tally.claimed(claimed.jobs)
        self._events.append(
            JobsClaimed(command.claim, claimed.jobs, claimed.has_more, claimed.next_at)
        )

    def _settle(self, command: SettleJobs) -> None:
        now = self._clock.now()
        try:
            stale = self._storage.settle(command.settlements, now=now)
        except StorageError:
            self._events.append(SettleFailed(command.batch))
            return
        self._tally.settled(command.settlements, stale)
        self._publisher.settled(command.settlements, stale, now)
        self._events.append(JobsSettled(command.batch, stale))

    # --- what running jobs say ---

    def _worker_said(self, said: WorkerMessage) -> None:
        message = said.message
        claim = self._machine.held_by(said.worker, message.ticket)
        if claim is None:
            if isinstance(message, LogLine):
                self._publisher.logged(LogEntry(message, said.pid))
            return
        job = claim.job
        if isinstance(message, LogLine):
            entry = LogEntry(message, said.pid, job.id, job.type, claim.attempt)
            self._publisher.logged(entry)
        elif isinstance(message, Progress):
            self._publisher.tell(Progressed(job.id, message.done, message.total))
        else:
            answer, events = self._desk.answer(message, self._clock.now())
            self._pool.answer(said.worker, said.generation, message, answer)
            self._events.extend(events)


def _as_failure(exc: Exception) -> KnockError:
    if isinstance(exc, KnockError):
        return exc
    detail = "".join(traceback.format_exception(exc))
    return KnockError(f"the supervisor failed: {exc!r}\n{detail}")
