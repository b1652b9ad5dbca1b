"""A queue's supervisor, from its start to its end."""

import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from knock.core.job import JobRecord, JobSpec, JobState
from knock.core.policy import JobPolicy
from knock.errors import JobNotFoundError, KnockError, QueueClosedError
from knock.pool.clock import Clock
from knock.pool.definition import Processor
from knock.queue.handlers import Handlers
from knock.queue.stats import NO_TOTALS, RateMeter, Snapshot, Totals
from knock.storage.base import Storage
from knock.supervisor.client import SupervisorClient
from knock.supervisor.joblog import JobLog
from knock.supervisor.messages import (
    Ended,
    Enqueue,
    Events,
    Failed,
    Logged,
    Outbound,
    Pause,
    Register,
    Resume,
    Stop,
    Subscribe,
    SupervisorStats,
)
from knock.supervisor.options import SupervisorOptions
from knock.supervisor.setup import Setup
from knock.supervisor.start import start_supervisor, take_back

logger = logging.getLogger("knock.queue")

# How long a handler may run until it is looked at again.
_HANDLER_CHECK_SECONDS = 5.0
_OWN_MODULE = "knock.queue.instance"


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """How a queue's supervisor is started. See ``Queue`` for each."""

    setup: Setup
    retention: float | None
    max_payload_bytes: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """What workers know from the start. ``definitions``: what jobs that were added before need."""

    processors: Mapping[str, Processor]
    policies: Mapping[str, JobPolicy]
    definitions: tuple[bytes, ...]


class Session:
    """See ``Desk``: the requests go to a supervisor. A thread takes what that says unasked.

    ``on_end`` is called on that thread when the supervisor has ended and nothing is left of it;
    ``final_totals`` are then what has happened from the start to the end.
    """

    def __init__(
        self,
        client: SupervisorClient,
        storage: Storage,
        clock: Clock,
        handlers: Handlers,
        on_end: Callable[["Session"], None],
    ) -> None:
        self._client = client
        self._on_end = on_end
        self._clock = clock
        self._handlers = handlers
        self._meter = RateMeter(clock.now())
        self._is_over = threading.Event()
        self._when_over: list[Callable[[], None]] = []
        self._lock = threading.Lock()
        # Reentrant: a signal handler may add a job.
        self._adding = threading.RLock()
        self._is_stopping = False
        self._log = JobLog()
        self.final_totals = NO_TOTALS
        self.storage = storage
        self.failure: Exception | None = None
        self.subscribe()
        thread = threading.Thread(target=self._take, name="knock-queue", daemon=True)
        thread.start()

    # --- requests; see ``Desk`` ---

    def add(
        self, jobs: list[JobSpec], definitions: tuple[bytes, ...], *, is_keyed: bool
    ) -> list[int]:
        """See ``Desk``."""
        with self._adding:
            if self._is_stopping:
                raise QueueClosedError("the queue is stopping")
            if is_keyed:
                ids: list[int] = self._client.enqueue(
                    lambda request: Enqueue(request, jobs, definitions)
                )
                return ids
            self._client.post(Enqueue(None, jobs, definitions))
        return [job.id for job in jobs]

    def get(self, job_id: int) -> JobRecord:
        """See ``Desk``."""
        record: JobRecord | None
        [record] = self._client.call("get", [job_id])
        if record is None:
            raise JobNotFoundError(job_id)
        return record

    def watch(self, job_id: int, timeout: float | None) -> JobRecord:
        """See ``Desk``."""
        return self._client.watch(job_id, timeout)

    def wait_idle(self, timeout: float | None) -> None:
        """See ``Desk``."""
        self._client.wait_idle(timeout)

    def cancel(self, job_id: int) -> bool:
        """See ``Desk``."""
        return self._client.cancel(job_id)

    def dead(self, limit: int | None, job_type: str | None) -> list[JobRecord]:
        """See ``Desk``."""
        if limit is None:
            limit = self._client.call("counts").dead
        records: list[JobRecord] = self._client.call(
            "find", state=JobState.DEAD, job_type=job_type, limit=limit
        )
        return records

    def requeue(self, job_ids: Sequence[int]) -> list[int]:
        """See ``Desk``."""
        ids: list[int] = self._client.call("requeue", job_ids)
        return ids

    def purge(
        self, job_ids: Sequence[int] | None, job_type: str | None, before: float | None
    ) -> int:
        """See ``Desk``."""
        purged: int = self._client.call(
            "purge", job_ids, state=JobState.DEAD, before=before, job_type=job_type
        )
        return purged

    def snapshot(self) -> Snapshot:
        """See ``Desk``."""
        stats: SupervisorStats
        stats, counts, breakers = self._client.call("snapshot")
        totals = _totals(stats)
        return Snapshot(
            counts=counts,
            totals=totals,
            rates=self._meter.read(totals, self._clock.now()),
            retrying=stats.retrying,
            workers=stats.workers,
            breakers=breakers,
        )

    # --- orders ---

    def register(self, job_type: str, policy: JobPolicy, definition: bytes) -> None:
        """Make a processor known to the supervisor and the workers."""
        self._client.post(Register(job_type, policy, definition))

    def set_paused(self, *, is_paused: bool) -> None:
        """Let nothing new start, or let it."""
        self._client.post(Pause() if is_paused else Resume())

    def subscribe(self) -> None:
        """Ask for the events that there are handlers for."""
        self._client.post(Subscribe(finished=False, events=self._handlers.names))

    # --- the end ---

    def raise_failure(self) -> None:
        """Raise why the supervisor is gone, if it failed."""
        if self.failure is not None:
            raise self.failure

    def order_stop(self, timeout: float | None) -> None:
        """Let nothing new start; what runs after ``timeout`` seconds is killed and released."""
        deadline = None if timeout is None else self._clock.now() + timeout
        try:
            # What was added is before it on the line, so it is stored; nothing comes after it.
            with self._adding:
                self._is_stopping = True
                self._client.post(Stop(deadline))
        except KnockError as exc:
            logger.debug("the supervisor has ended already: %s", exc)

    def wait_over(self, timeout: float | None = None) -> None:
        """Wait until the supervisor has ended, and ``on_end`` was called."""
        self._is_over.wait(timeout)

    def call_when_over(self, callback: Callable[[], None]) -> None:
        """Call back, from another thread or at once, when the supervisor has ended."""
        with self._lock:
            if not self._is_over.is_set():
                self._when_over.append(callback)
                return
        callback()

    # --- what comes unasked ---

    def _take(self) -> None:
        try:
            self._take_all()
            self._client.close()
            # Who hears of the end finds in the log what was logged before it.
            self._log.close()
            self._on_end(self)
        except Exception as exc:  # a storage that cannot be taken back
            self.failure = exc
            logger.exception("the queue could not be taken back from its supervisor")
        finally:
            self._log.close()
            with self._lock:
                self._is_over.set()
            for callback in self._when_over:
                callback()

    def _take_all(self) -> None:
        is_going_on = True
        while is_going_on:
            patience = _HANDLER_CHECK_SECONDS if self._handlers.is_busy else None
            messages = self._client.receive(patience)
            if not messages:
                self._handlers.warn_if_slow()
            for message in messages:
                is_going_on = self._take_one(message) and is_going_on

    def _take_one(self, message: Outbound) -> bool:
        """Return whether more is to come."""
        match message:
            case Events(events):
                self._handlers.post(events)
            case Logged():
                self._log.post(message)
            case Failed(error):
                self.failure = error
                logger.error("%s", error)
                return False
            case Ended(_, stats, returned):
                self.final_totals = _totals(stats)
                take_back(self.storage, returned)
                return False
        return True


def _totals(stats: SupervisorStats) -> Totals:
    return Totals(stats.added, stats.completed, stats.failed)


def open_session(
    storage: Storage,
    settings: Settings,
    known: Known,
    *,
    clock: Clock,
    handlers: Handlers,
    on_end: Callable[[Session], None],
) -> Session:
    """Start a supervisor for the storage.

    Raises:
        ConfigError: The storage cannot be sent to a supervisor process.
        SerializationError: A processor or the initializer cannot be sent to the workers.
    """
    pool = settings.setup.pool_settings(known.processors)
    # A processor that holds the queue: each worker would spend longer on importing this package
    # than on being forked.
    if _OWN_MODULE.encode() in pool.definitions:
        pool = replace(pool, preload=(*pool.preload, _OWN_MODULE))
    options = SupervisorOptions(
        workers=settings.setup.workers,
        pool=pool,
        clock=clock,
        policies=known.policies,
        definitions=known.definitions,
        recycle=settings.setup.recycle,
        retention=settings.retention,
        max_payload_bytes=settings.max_payload_bytes,
    )
    settings.setup.tell_workers()
    client = start_supervisor(options, storage, settings.setup.place)
    return Session(client, storage, clock, handlers, on_end)
