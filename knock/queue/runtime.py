"""What is behind a queue: where its requests go, and when that changes."""

import atexit
import logging
import os
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, TypeVar
from weakref import ReferenceType, WeakKeyDictionary, ref

from knock import config
from knock.core.job import JobSpec
from knock.core.policy import JobPolicy
from knock.errors import ConfigError, ProcessorNotFoundError, QueueClosedError
from knock.pool.clock import Clock
from knock.pool.definition import dump_definitions
from knock.queue.desk import Desk, FirstDesk, StorageDesk
from knock.queue.exit import Leftovers
from knock.queue.forward import ForwardDesk
from knock.queue.handlers import EventHandler, Handlers
from knock.queue.intake import Intake, Terms
from knock.queue.registry import Registration, Registry
from knock.queue.session import Known, Session, Settings, open_session
from knock.queue.signals import serve
from knock.queue.stats import NO_TOTALS, QueueStats
from knock.storage import InMemoryStorage, Storage
from knock.supervisor.interrupt import Shield
from knock.supervisor.messages import QueueEvent

logger = logging.getLogger("knock.queue")

T = TypeVar("T")
F = TypeVar("F", bound=Callable[..., Any])

# Handlers get this long to take the last events of a queue that stops.
_FLUSH_SECONDS = 5.0
# The storage is back this long after the supervisor's last word, if not sooner.
_HANDOVER_SECONDS = 60.0


class Runtime:
    """A queue behind its face. ``desk`` takes its requests, and changes as it starts and stops.

    First it is the storage; while a supervisor runs, that; then the storage again. In a worker
    requests are forwarded, and ``settings`` is None.
    """

    def __init__(
        self, desk: FirstDesk, clock: Clock, registry: Registry, settings: Settings | None
    ) -> None:
        self.desk: Desk = desk
        self.clock = clock
        self.registry = registry
        limit = None if settings is None else settings.max_payload_bytes
        self.intake = Intake(clock, desk.first_id(), limit)
        self.handlers = Handlers()
        self.leftovers = Leftovers(desk)
        self.is_paused = False
        self.pid = os.getpid()
        self._settings = settings
        self._definitions: list[bytes] = []
        self._totals = NO_TOTALS
        # Jobs are stored in the order of their ids. Reentrant, since pickling runs user code.
        self._lock = threading.RLock()

    # --- what may be done before and after the start ---

    def register(self, registration: Registration, fn: F) -> F:
        """Make a processor known, to the workers that run too."""
        processor = self.registry.make_processor(registration, fn)
        job_type = registration.job_type
        with self._lock:
            if isinstance(self.desk, Session):
                self.registry.check_change(registration)
                definition = dump_definitions(processors={job_type: processor})
                self.desk.register(job_type, registration.policy, definition)
            self.registry.add(registration, processor)
        return fn

    def add(self, terms: Terms, data: object, key: str | None) -> int:
        """Store one job."""
        with self._lock:
            job = self.intake.spec(terms, data, key)
            return self._store(terms, [job], is_keyed=key is not None)[0]

    def add_many(
        self, terms: Terms, items: Sequence[object], keys: Sequence[str] | None
    ) -> list[int]:
        """Store many jobs, all or none."""
        with self._lock:
            jobs = self.intake.specs(terms, items, keys)
            return self._store(terms, jobs, is_keyed=keys is not None)

    def _store(self, terms: Terms, jobs: list[JobSpec], *, is_keyed: bool) -> list[int]:
        desk = self.desk
        if isinstance(desk, Session) and terms.job_type not in self.registry.policies:
            raise ProcessorNotFoundError(terms.job_type)
        definitions = self.intake.take_definitions()
        # Workers that are started later need them too.
        self._definitions += definitions
        return desk.add(jobs, definitions, is_keyed=is_keyed)

    def cancel(self, job_id: int) -> bool:
        """Cancel a job; False if it has ended."""
        is_cancelled = self.ask(lambda desk: desk.cancel(job_id))
        if is_cancelled and isinstance(self.desk, StorageDesk):
            job_type = self.desk.get(job_id).spec.type
            self.handlers.open()
            self.handlers.post([QueueEvent("cancelled", self.clock.now(), job_id, job_type)])
        return is_cancelled

    def add_handler(self, event: str, handler: EventHandler) -> None:
        """Call a handler with each event of that name; in a worker there are none."""
        if self._settings is None:
            return
        with self._lock:
            self.handlers.add(event, handler)
            if isinstance(self.desk, Session):
                self.desk.subscribe()

    def set_paused(self, *, is_paused: bool) -> None:
        """Let nothing new start, or let it."""
        with self._lock:
            self.is_paused = is_paused
            if isinstance(self.desk, Session):
                # If it is stopping, this is for the next start.
                with suppress(QueueClosedError):
                    self.desk.set_paused(is_paused=is_paused)

    def stats(self) -> QueueStats:
        """Return what goes on."""
        snapshot = self.ask(lambda desk: desk.snapshot())
        return snapshot.stats(self._totals, is_paused=self.is_paused)

    def ask(self, question: Callable[[Desk], T]) -> T:
        """Put a question to whoever has the answer; once more if that changes meanwhile."""
        desk = self.desk
        try:
            return question(desk)
        except QueueClosedError:
            if not isinstance(desk, Session) or desk.failure is not None:
                raise
            desk.wait_over(_HANDOVER_SECONDS)
            return question(self.desk)

    # --- from start to stop ---

    @property
    def is_stopped(self) -> bool:
        """Whether it ran, and takes no jobs any more."""
        return isinstance(self.desk, StorageDesk) and self.desk.is_closed

    @property
    def is_started(self) -> bool:
        """Whether a supervisor runs, or has failed."""
        return isinstance(self.desk, Session)

    def start(self, at_exit: Callable[[], None]) -> None:
        """Start a supervisor, unless one runs or this is a worker."""
        with self._lock:
            if isinstance(self.desk, Session):
                self.desk.raise_failure()
            if self._settings is None or not isinstance(self.desk, StorageDesk):
                return
            own(self.desk.storage, self)
            self._warn_of_missing_processors()
            # Ctrl-C half-way would leave a supervisor that nobody knows.
            with Shield() as shield, shield.closed():
                self._open(self.desk, self._settings)
                atexit.register(at_exit)

    def _open(self, desk: StorageDesk, settings: Settings) -> None:
        self.handlers.open()
        session = open_session(
            desk.storage,
            settings,
            self._known(),
            clock=self.clock,
            handlers=self.handlers,
            on_end=self._take_back,
        )
        if self.is_paused:
            session.set_paused(is_paused=True)
        self.desk = self.leftovers.desk = session

    def _known(self) -> Known:
        return Known(
            processors=dict(self.registry.processors),
            policies=dict(self.registry.policies),
            definitions=tuple(self._definitions),
        )

    def _warn_of_missing_processors(self) -> None:
        missing = self.intake.job_types - self.registry.policies.keys()
        if missing:
            logger.warning("no processor for %s: these jobs end dead", ", ".join(sorted(missing)))

    def _take_back(self, session: Session) -> None:
        # One that failed stays: it knows why, and tells whoever asks.
        if session.failure is not None:
            return
        with self._lock:
            self._totals = self._totals.plus(session.final_totals)
            self.desk = self.leftovers.desk = StorageDesk(
                session.storage, self.clock, "the queue was stopped", is_closed=True
            )

    def stop(self, timeout: float | None, at_exit: Callable[[], None]) -> None:
        """Stop the supervisor, if one runs, and wait for its end."""
        session = self.desk
        if isinstance(session, Session):
            session.order_stop(timeout)
            self._finish(session, at_exit)

    def run(self, stop_timeout: float | None, at_exit: Callable[[], None]) -> None:
        """Start, and stop at a signal."""
        self.start(at_exit)
        session = self.desk
        if isinstance(session, Session):
            serve(session, stop_timeout)
            self._finish(session, at_exit)
            session.raise_failure()

    def _finish(self, session: Session, at_exit: Callable[[], None]) -> None:
        session.wait_over()
        atexit.unregister(at_exit)
        if not self.handlers.close(_FLUSH_SECONDS):
            logger.warning("the queue has stopped, but a handler still runs")


# Whose a storage in memory is: the ids of its jobs come from one counter.
_owners: "WeakKeyDictionary[InMemoryStorage, ReferenceType[Runtime]]" = WeakKeyDictionary()


def own(storage: Storage, runtime: Runtime) -> None:
    """Take a storage in memory for this queue.

    Raises:
        ConfigError: It is that of another queue, which has not been stopped.
    """
    if not isinstance(storage, InMemoryStorage):
        return
    known = _owners.get(storage)
    owner = None if known is None else known()
    if owner is not None and owner is not runtime and not owner.is_stopped:
        raise ConfigError("the storage in memory is another queue's, which has not been stopped")
    _owners[storage] = ref(runtime)


def runtime_of(storage: Storage, registry: Registry, settings: Settings) -> Runtime:
    """Return the runtime of a queue that has not been started.

    Raises:
        ConfigError: The storage is another queue's.
    """
    clock = Clock.start()
    desk = StorageDesk(storage, clock, "the queue was never started", is_closed=False)
    runtime = Runtime(desk, clock, registry, settings)
    own(storage, runtime)
    return runtime


def runtime_in_worker() -> Runtime:
    """Return the runtime of a queue in a worker."""
    return Runtime(ForwardDesk(), Clock.start(), Registry(JobPolicy(), config.MAX_WORKERS), None)
