"""The engine of ``run_pool`` and ``iter_pool``: the caller's side of one batch.

The calling thread pulls the input, pickles, takes what has finished and draws progress; the
supervisor, elsewhere, dispatches and enforces limits whatever this thread does.
"""

import logging
import sys
from collections.abc import Callable, Iterable, Iterator, Sized
from time import monotonic
from typing import Any

from knock import config
from knock.core.job import JobRecord, JobSpec, JobState, Priority
from knock.core.policy import StopRule
from knock.errors import KnockError, SerializationError
from knock.outcome import Outcome
from knock.pool.clock import Clock
from knock.pool.definition import ItemPickler, Processor, Style, dump_definitions
from knock.pool.settings import PoolSettings
from knock.run.interrupt import Shield
from knock.run.options import BatchOptions
from knock.run.progress import Display, Silence
from knock.run.seed import Seeded
from knock.storage.memory import InMemoryStorage
from knock.supervisor.client import SupervisorClient
from knock.supervisor.facts import RunFacts
from knock.supervisor.messages import (
    Ended,
    Enqueue,
    Events,
    Failed,
    Finished,
    Logged,
    Outbound,
    SetStopRule,
    Stop,
    Subscribe,
)
from knock.supervisor.options import SupervisorOptions
from knock.supervisor.start import start_supervisor

_job_logger = logging.getLogger("knock.job")

FIRST_ID = 1
# Seconds that running jobs get to finish after the first Ctrl-C.
INTERRUPT_GRACE_SECONDS = 5.0
# Pulled and not yet finished, at most.
MAX_PENDING = 4096
_MIN_PENDING_PER_WORKER = 4
# A batch of items is sent when so many were pulled or so long was pulled.
_CHUNK_ITEMS = 256
_CHUNK_SECONDS = 0.002


def job_type_of(fn: Callable[..., Any]) -> str:
    """Return the job type that a function's jobs have: its name."""
    inner = fn
    while hasattr(inner, "func"):
        inner = inner.func  # functools.partial
    name = getattr(inner, "__qualname__", None) or type(fn).__qualname__
    return str(name).rpartition("<locals>.")[2][: config.MAX_TYPE_CHARS]


def length_of(iterables: tuple[Iterable[Any], ...]) -> int | None:
    """Return how many items there are, if it can be known without pulling them."""
    for iterable in iterables:
        if isinstance(iterable, Sized):
            return len(iterable)
    return None


class Feed:
    """The input, pulled bit by bit and made into jobs. ``pulled`` counts the items so far."""

    def __init__(self, job_type: str, iterables: tuple[Iterable[Any], ...], clock: Clock) -> None:
        self._job_type = job_type
        self._clock = clock
        self._pickler = ItemPickler()
        is_single = len(iterables) == 1
        self.style = Style.ITEM if is_single else Style.CALL
        self._items: Iterator[Any] = (
            iter(iterables[0]) if is_single else zip(*iterables, strict=True)
        )
        self.pulled = 0
        self.is_over = False

    def pull(self, limit: int) -> tuple[list[Any], Enqueue | None]:
        """Pull up to ``limit`` items; return them and the message that adds their jobs.

        Raises whatever the input raises, and ``SerializationError`` for an item that cannot be
        pickled.
        """
        items: list[Any] = []
        jobs: list[JobSpec] = []
        now = self._clock.now()
        until = monotonic() + _CHUNK_SECONDS
        normal = int(Priority.NORMAL)
        dumps = self._pickler.dumps
        for item in self._items:
            index = self.pulled
            payload = dumps(item, f"item {index}")
            self.pulled = index + 1
            items.append(item)
            jobs.append(JobSpec(FIRST_ID + index, self._job_type, payload, normal, now, now))
            if len(jobs) >= limit or monotonic() >= until:
                break
        else:
            self.is_over = True
        if not jobs:
            return items, None
        return items, Enqueue(None, jobs, tuple(self._pickler.take_definitions()))

    def rest(self) -> list[Any]:
        """Pull everything that is left, to name it."""
        items = list(self._items)
        self.is_over = True
        return items

    def spec(self, index: int) -> JobSpec:
        """Return the job of an item that never ran, without its payload."""
        now = self._clock.now()
        return JobSpec(FIRST_ID + index, self._job_type, b"", int(Priority.NORMAL), now, now)


class Batch:
    """One batch. ``stop_reason`` is why it ended before its input did."""

    def __init__(
        self,
        fn: Callable[..., Any],
        iterables: tuple[Iterable[Any], ...],
        options: BatchOptions,
        shield: Shield,
    ) -> None:
        clock = Clock.start()
        job_type = config.job_type(job_type_of(fn))
        self.feed = Feed(job_type, iterables, clock)
        self.total = length_of(iterables)
        self.shield = shield
        self.display: Display = Silence()
        self.facts: RunFacts | None = None
        self.stop_reason: str | None = None
        self._clock = clock
        self._options = options
        self._pending = 0
        self._limit = max(16, _MIN_PENDING_PER_WORKER * options.workers)
        self._done = self._failed = self._retried = 0
        self._failure: Exception | None = None
        self._client = self._start(fn, job_type)

    def _start(self, fn: Callable[..., Any], job_type: str) -> SupervisorClient:
        options = self._options
        if options.seed is not None:
            fn = Seeded(fn, options.seed, FIRST_ID)
        processor = Processor(fn, self.feed.style, options.retry_on)
        definitions = dump_definitions(options.initializer, options.initargs, {job_type: processor})
        pool = PoolSettings(
            definitions=definitions,
            start_method=options.start_method,
            preload=options.preload,
            sys_path=tuple(sys.path),
            argv=tuple(sys.argv),
            thread_cap=config.thread_cap(options.workers),
        )
        settings = SupervisorOptions(
            workers=options.workers,
            pool=pool,
            clock=self._clock,
            policies={job_type: options.policy},
            stop_rule=options.stop_rule(self.total),
            retention=0,
        )
        client = start_supervisor(settings, InMemoryStorage(), options.place)
        client.post(Subscribe(finished=True, events=frozenset({"retrying", "stop_rule_reached"})))
        return client

    # --- feeding and taking ---

    @property
    def pending(self) -> int:
        """Jobs that were added and have not finished."""
        return self._pending

    @property
    def wants_items(self) -> bool:
        """Whether more of the input should be pulled."""
        return (
            self._pending < self._limit
            and not self.feed.is_over
            and self.stop_reason is None
            and self.facts is None
        )

    def pull(self, held: int = 0) -> list[Any]:
        """Pull some items and add their jobs; ``held`` finished ones wait for the consumer."""
        if not held and not self._pending and self.feed.pulled:
            # Everything was done before more was pulled: pull more at once from now on.
            self._limit = min(MAX_PENDING, self._limit * 2)
        room = self._limit - self._pending - held
        if room <= 0:
            return []
        items, message = self.feed.pull(min(room, _CHUNK_ITEMS))
        if message is not None:
            with self.shield.closed():
                self._pending += len(message.jobs)
                self._client.post(message)
        if self.feed.is_over and self._options.stop_rate is not None and self.total is None:
            rule = StopRule(rate=self._options.stop_rate, total=self.feed.pulled)
            self._client.post(SetStopRule(rule))
        return items

    def grow(self) -> None:
        """Pull further ahead: the workers had done half of it before more came."""
        self._limit = min(MAX_PENDING, self._limit * 2)

    @property
    def is_starved(self) -> bool:
        """Whether the workers are through with most of what was pulled."""
        return self._pending < self._limit // 2 and self._limit < MAX_PENDING

    def take(self, *, wait: bool) -> list[JobRecord]:
        """Return what has finished; wait for something if ``wait``.

        Raises whatever the supervisor failed with.
        """
        if wait:
            self._client.wait(self.display.next_update())
        with self.shield.closed():
            records: list[JobRecord] = []
            for message in self._client.receive(0):
                self._hear(message, records)
        self.display.update(self._done, self._failed, self._retried, self.total)
        if self._failure is not None and not records:
            raise self._failure
        return records

    def _hear(self, message: Outbound, records: list[JobRecord]) -> None:
        match message:
            case Finished():
                records.extend(message.records)
                self._pending -= len(message.records)
                self._done += len(message.records)
                self._failed += sum(r.state is JobState.DEAD for r in message.records)
            case Events():
                for event in message.events:
                    if event.name == "retrying":
                        self._retried += 1
                    else:
                        self.stop_reason = event.detail
            case Logged():
                log_lines(message)
            case Ended():
                self.facts = message.facts
            case Failed():
                self._failure = message.error

    # --- ending ---

    def stop(self, grace_seconds: float | None) -> None:
        """Start nothing more; what runs may finish within the grace (None: as long as it takes)."""
        deadline = None if grace_seconds is None else self._clock.now() + grace_seconds
        with self.shield.closed():
            self._client.post(Stop(deadline))

    def drain(self) -> Iterator[JobRecord]:
        """Yield what still finishes until the supervisor has ended."""
        while self.facts is None:
            yield from self.take(wait=True)

    def close(self) -> None:
        """End the supervisor now, if it has not ended, and leave the terminal as it was."""
        with self.shield.closed():
            self.display.close()
            self._client.close()

    def unfinished(self, index: int, item: Any) -> Outcome[Any]:
        """Return the outcome of an item whose job did not finish."""
        reason = self.stop_reason or "the batch was stopped"
        record = JobRecord(spec=self.feed.spec(index), state=JobState.CANCELLED, reason=reason)
        return Outcome(index, item, record)


def log_lines(message: Logged) -> None:
    """Log what jobs logged, in the caller's process."""
    if message.dropped:
        _job_logger.warning("%d lines of jobs were dropped: too many at once", message.dropped)
    for entry in message.entries:
        _job_logger.log(
            entry.level,
            "job %d (%s): %s",
            entry.job_id,
            entry.job_type,
            entry.text,
            extra={"job_id": entry.job_id, "job_type": entry.job_type, "attempt": entry.attempt},
        )


def add_note(exc: BaseException, finished: int) -> None:
    """Say on an exception of the input what had been done by then."""
    if isinstance(exc, KnockError) and not isinstance(exc, SerializationError):
        return
    exc.add_note(f"knock: {finished} jobs had finished when the input failed")
