"""The engine of ``run_pool`` and ``iter_pool``: the caller's side of one batch.

The calling thread pulls the input, pickles, takes what has finished and draws progress; the
supervisor, elsewhere, dispatches and enforces limits whatever this thread does.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import nullcontext, suppress
from dataclasses import replace
from time import monotonic
from typing import Any

from knock.core.job import JobRecord, JobState
from knock.errors import KnockError, QueueClosedError
from knock.outcome import Outcome, is_refused
from knock.pool.clock import Clock
from knock.pool.definition import Processor
from knock.run.archive import Archive, Keys
from knock.run.courier import Courier
from knock.run.feed import CHUNK_ITEMS, Bit, Feed, length_of
from knock.run.name import full_name_of, job_type_of
from knock.run.options import BatchOptions
from knock.run.progress import Display, Silence
from knock.run.seed import Seeded
from knock.run.stopping import verdict
from knock.run.window import Window
from knock.supervisor.client import SupervisorClient
from knock.supervisor.facts import RunFacts
from knock.supervisor.interrupt import Shield
from knock.supervisor.joblog import JobLog
from knock.supervisor.messages import (
    Ended,
    Enqueue,
    Events,
    Failed,
    Finished,
    Logged,
    Outbound,
    Stop,
    Subscribe,
)
from knock.supervisor.options import SupervisorOptions
from knock.supervisor.setup import limits_of
from knock.supervisor.start import start_supervisor

# Seconds that running jobs get to finish after the first Ctrl-C.
INTERRUPT_GRACE_SECONDS = 5.0
# A payload longer than this is dropped when its job has finished: the item itself is at hand.
_KEPT_PAYLOAD_BYTES = 256

# The index of an item, its record, and whether that is of an earlier batch or of another item.
Ending = tuple[int, JobRecord, bool]


class Batch:
    """One batch.

    Attributes:
        endings: Which items have come to an end, until somebody takes them out. They gather here,
            not in a local variable, so that Ctrl-C loses none.
        stop_reason: Why the batch ended before its input did.
        facts: The run from the supervisor's side, once that has ended.
    """

    def __init__(
        self,
        fn: Callable[..., Any],
        iterables: tuple[Iterable[Any], ...],
        options: BatchOptions,
        shield: Shield,
    ) -> None:
        clock = Clock.start()
        job_type = job_type_of(fn)
        self._archive = archive = Archive(options.storage, clock)
        keys = Keys(archive.storage, full_name_of(fn), options.key) if options.key else None
        self.feed = Feed(
            iterables,
            job_type,
            clock,
            archive.first_id,
            keys,
            max_payload_bytes=options.max_payload_bytes,
        )
        self.total = length_of(iterables)
        self._stop_rule = options.stop_rule(self.total)
        self.shield = shield
        self.display: Display = Silence()
        self.facts: RunFacts | None = None
        self.stop_reason: str | None = None
        self._clock = clock
        self._options = options
        self._first_id = archive.first_id
        self._window = Window(options.setup.workers, monotonic())
        self._pending = 0
        self._done = self._failed = self._retried = 0
        self.endings: deque[Ending] = deque()
        # By the index of the item whose job runs: who else waits for it.
        self._twins: dict[int, list[int]] = {}
        self._returned: bytes | None = None
        self._failure: Exception | None = None
        self._refused = 0
        self._courier = Courier(self._send_what_is_held)
        self._is_pulling = False
        self._fn = fn
        self._job_type = job_type
        self._client: SupervisorClient | None = None
        self._log = JobLog()

    def start(self) -> None:
        """Start the supervisor. ``close`` must follow, even if Ctrl-C came or this failed.

        Raises:
            SerializationError: The function cannot be pickled.
            ConfigError: The storage cannot be sent to a supervisor process.
        """
        options, fn, job_type = self._options, self._fn, self._job_type
        options.setup.tell_workers()
        if options.seed is not None:
            fn = Seeded(fn, options.seed, self._first_id)
        limits = limits_of(options.policy)
        processor = Processor(fn, self.feed.style, options.retry_on, limits)
        settings = SupervisorOptions(
            workers=options.setup.workers,
            pool=options.setup.pool_settings({job_type: processor}, threads=options.policy.threads),
            clock=self._clock,
            policies={job_type: options.policy},
            stop_rule=self._stop_rule,
            recycle=options.setup.recycle,
            retention=self._archive.retention,
            keeps_dead=not self._archive.is_private,
        )
        events = frozenset({"retrying", "stop_rule_reached"})
        with self.shield.closed():
            self._client = start_supervisor(settings, self._archive.storage, options.setup.place)
            self._client.post(Subscribe(finished=True, events=events))

    @property
    def _supervisor(self) -> SupervisorClient:
        if self._client is None:
            raise RuntimeError("a batch was used before its start: a bug in knock")
        return self._client

    # --- feeding ---

    @property
    def is_pending(self) -> bool:
        """Whether endings are to come, or are here and were not taken out."""
        return bool(self._pending or self.endings)

    def room(self) -> int:
        """Return how much of the input should be pulled now."""
        if self.feed.is_over or self.stop_reason is not None or self.facts is not None:
            return 0
        return self._window.room(self._pending + len(self.endings))

    @property
    def has_to_wait(self) -> bool:
        """Whether there is nothing to do until something ends."""
        # With nothing pending, as after an empty input, nothing would ever come.
        return self.is_pending and self.stop_reason is None and not self.room()

    def pull(self, limit: int) -> None:
        """Pull up to ``limit`` items and add their jobs."""
        feed = self.feed
        self._is_pulling = True
        try:
            with self._courier if feed.may_wait else nullcontext():
                feed.pull(min(limit, CHUNK_ITEMS))
        finally:
            self._is_pulling = False
        with self.shield.closed():
            self._add()
        if feed.failure is not None and self.stop_reason is None:
            self.stop_reason = f"the input raised {type(feed.failure).__name__}"

    def _add(self) -> None:
        with self.feed.lock:
            self._send_jobs()
            bit, self.feed.in_hand = self.feed.in_hand, Bit()
        for index, record in bit.ended:
            was_refused = is_refused(record)
            self._refused += was_refused
            self._ended(index, record, is_restored=not was_refused)
        for index, first in bit.twins:
            self._follow(index, first)
        self._apply_stop_rule()

    def _send_what_is_held(self) -> None:
        # On the courier's thread. What this thread cannot tell is told to the other one too.
        with self.feed.lock:
            if self._is_pulling:
                with suppress(KnockError):
                    self._send_jobs()

    def _send_jobs(self) -> None:
        bit = self.feed.in_hand
        if bit.stale:
            self._supervisor.call("purge", bit.stale)
            bit.stale = []
        if bit.jobs:
            message = Enqueue(None, bit.jobs, self.feed.take_definitions())
            bit.jobs = []
            self._pending += len(message.jobs)
            self._supervisor.post(message)

    def _follow(self, index: int, first: int) -> None:
        [record] = self._supervisor.call("get", [self._first_id + first])
        if record is not None and record.state.is_final:
            self._ended(index, record, is_restored=True)
        else:
            self._twins.setdefault(first, []).append(index)

    # --- taking ---

    def gather(self, *, wait: bool, longest: float | None = None) -> None:
        """Add to ``endings`` what has ended; wait for something to come if ``wait``.

        Raises whatever the supervisor failed with, once there are no more endings.
        """
        if wait and not self.endings and self._failure is None:
            self._supervisor.wait(_sooner(self.display.next_update(), longest))
        with self.shield.closed():
            for message in self._supervisor.receive(0):
                self._hear(message)
        self.display.update(self._done, self._failed, self._retried, self.total)
        if self._failure is not None and not self.endings:
            raise self._failure

    def _hear(self, message: Outbound) -> None:
        match message:
            case Finished():
                self._finished(message.records)
            case Events():
                for event in message.events:
                    if event.name == "retrying":
                        self._retried += 1
                    else:
                        self.stop_reason = self.stop_reason or event.detail
            case Logged():
                self._log.post(message)
            case Ended():
                self.facts = message.facts
                self._returned = message.storage
            case Failed():
                self._failure = message.error

    def _finished(self, records: list[JobRecord]) -> None:
        self._pending -= len(records)
        self._window.took(records, monotonic())
        for record in records:
            index = record.spec.id - self._first_id
            self._ended(index, record)
            if self._twins:
                for twin in self._twins.pop(index, ()):
                    self._ended(twin, record, is_restored=True)
        self._apply_stop_rule()

    def _apply_stop_rule(self) -> None:
        # The supervisor has one of its own, which knows nothing of what was never sent.
        if self._refused and self.stop_reason is None:
            self.stop_reason = verdict(self._stop_rule, self._failed, self._done)

    def _ended(self, index: int, record: JobRecord, *, is_restored: bool = False) -> None:
        self._done += 1
        if record.state is JobState.DEAD:
            self._failed += 1
        spec = record.spec
        if len(spec.payload) > _KEPT_PAYLOAD_BYTES:
            record = replace(record, spec=replace(spec, payload=b""))
        self.endings.append((index, record, is_restored))

    # --- ending ---

    def stop(self, grace_seconds: float | None) -> None:
        """Start nothing more; what runs may finish within the grace (None: as long as it takes)."""
        deadline = None if grace_seconds is None else self._clock.now() + grace_seconds
        with self.shield.closed():
            try:
                self._supervisor.post(Stop(deadline))
            except QueueClosedError:
                pass  # it has stopped already, which is still to be taken

    def drain(self) -> Iterator[Ending]:
        """Take out and yield what still ends until the supervisor has ended."""
        while self.facts is None or self.endings:
            if not self.endings:
                self.gather(wait=True)
            while self.endings:
                yield self.endings.popleft()

    def close(self) -> None:
        """End the supervisor now, if it has not ended, and leave terminal and storage in order."""
        with self.shield.closed():
            self._courier.close()
            try:
                self.display.close()
            finally:
                try:
                    self._close_supervisor()
                finally:
                    self._log.close()

    def _close_supervisor(self) -> None:
        if self._client is None:
            return
        if not self._archive.is_private:
            self._end_in_order()
        self._client.close()
        self._archive.settle_up(self._returned)

    def _end_in_order(self) -> None:
        # What has finished is to be found in the storage, wherever the supervisor is.
        self.display = Silence()
        self.endings.clear()
        try:
            self.stop(0.0)
            for _ in self.drain():
                pass
        except KnockError:
            pass  # it failed before, and that was raised

    def unfinished(self, index: int, item: Any) -> Outcome[Any]:
        """Return the outcome of an item whose job did not finish."""
        reason = self.stop_reason or "the batch was stopped"
        record = JobRecord(spec=self.feed.unrun(index), state=JobState.CANCELLED, reason=reason)
        return Outcome(index, item, record)


def _sooner(first: float | None, second: float | None) -> float | None:
    if first is None or second is None:
        return second if first is None else first
    return min(first, second)
