"""What a supervisor's storage must still hear, since it could not be reached."""

from collections import deque
from collections.abc import Sequence

from knock.core.events import (
    CancelRequested,
    Event,
    JobsAdded,
)
from knock.core.job import JobSpec, JobState
from knock.errors import StorageUnavailableError
from knock.storage.base import Storage
from knock.supervisor.outage import Outage
from knock.supervisor.publisher import Publisher
from knock.supervisor.tally import Tally

# Beyond so many jobs that could not be stored yet, callers wait.
MAX_JOBS = 10_000


class Arrears:
    """Jobs that were accepted without an answer, and cancellations: kept until they are stored."""

    def __init__(
        self, storage: Storage, *, publisher: Publisher, tally: Tally, outage: Outage
    ) -> None:
        self._storage = storage
        self._publisher = publisher
        self._tally = tally
        self._outage = outage
        self._unstored: deque[list[JobSpec]] = deque()
        self._jobs = 0
        self._to_cancel: list[int] = []

    def __bool__(self) -> bool:
        return bool(self._unstored or self._to_cancel)

    @property
    def is_full(self) -> bool:
        """Whether no more jobs may be accepted until the storage is back."""
        return self._jobs >= MAX_JOBS

    def store(self, jobs: list[JobSpec], now: float) -> Sequence[Event]:
        """Store these jobs, now or later; return what the machine must hear of it."""
        self._unstored.append(jobs)
        self._jobs += len(jobs)
        return [] if self._outage.is_on(now) else self._store_all(now)

    def cancel(self, job_ids: Sequence[int], now: float) -> None:
        """Cancel those of the jobs that are still queued, now or later."""
        try:
            cancelled = self._storage.cancel(job_ids, now=now)
            records = self._storage.get(cancelled) if cancelled else []
        except StorageUnavailableError:
            self._outage.began(now)
            self._to_cancel.extend(job_ids)
            return
        self._outage.ended()
        if cancelled:
            self._tally.ended_unrun(cancelled, JobState.CANCELLED)
            self._publisher.ended_unrun([r for r in records if r is not None], now)

    def pay(self, now: float) -> Sequence[Event]:
        """Tell the storage all of it, if there is use in asking."""
        if self._outage.is_on(now):
            return []
        events = list(self._store_all(now))
        if self._to_cancel and not self._unstored:
            # Once more from the beginning: they may have been claimed meanwhile.
            events.append(CancelRequested(self._to_cancel))
            self._to_cancel = []
        return events

    def _store_all(self, now: float) -> Sequence[Event]:
        events: list[Event] = []
        while self._unstored:
            jobs = self._unstored[0]
            try:
                self._storage.enqueue(jobs, now=now)
            except StorageUnavailableError:
                self._outage.began(now)
                break
            self._outage.ended()
            self._unstored.popleft()
            self._jobs -= len(jobs)
            self._tally.added += len(jobs)
            events.extend(added(jobs))
        return events


def added(jobs: Sequence[JobSpec]) -> Sequence[Event]:
    """Return what the machine must hear of jobs that were stored."""
    if not jobs:
        return []
    expiries = [job.expires_at for job in jobs if job.expires_at is not None]
    return [
        JobsAdded(
            min(job.priority for job in jobs),
            min(job.run_at for job in jobs),
            min(expiries, default=None),
        )
    ]
