"""Where a queue's requests go while no supervisor runs: to the storage in this process."""

import sys
import threading
from collections.abc import Sequence
from typing import Protocol

from knock.core.job import JobRecord, JobSpec, JobState
from knock.errors import JobNotFoundError, QueueClosedError
from knock.pool.clock import Clock
from knock.queue.stats import Snapshot
from knock.storage.base import Counts, Storage
from knock.supervisor.desk import FIRST_ID_OF_JOBS


class Desk(Protocol):
    """Whoever takes a queue's requests. All methods may be called from any thread."""

    def add(
        self, jobs: list[JobSpec], definitions: tuple[bytes, ...], *, is_keyed: bool
    ) -> list[int]:
        """Accept jobs and return their ids; if ``is_keyed``, those of jobs stored before.

        ``definitions`` are what workers must load before.
        """

    def get(self, job_id: int) -> JobRecord:
        """Return a job; ``JobNotFoundError`` if there is none."""

    def watch(self, job_id: int, timeout: float | None) -> JobRecord:
        """Return the job when it is in a final state; ``TimeoutError`` if that took too long."""

    def wait_idle(self, timeout: float | None) -> None:
        """Wait until no job is queued or processing; ``TimeoutError`` if that took too long."""

    def cancel(self, job_id: int) -> bool:
        """Cancel the job; False if it has ended before."""

    def dead(self, limit: int | None, job_type: str | None) -> list[JobRecord]:
        """Return dead letters, the newest first; ``limit`` None for all."""

    def requeue(self, job_ids: Sequence[int]) -> list[int]:
        """Queue dead letters again; return the ids of those that were there."""

    def purge(
        self, job_ids: Sequence[int] | None, job_type: str | None, before: float | None
    ) -> int:
        """Delete dead letters that match everything given; return how many."""

    def snapshot(self) -> Snapshot:
        """Return what is known of the queue now."""


class FirstDesk(Desk, Protocol):
    """The desk of a queue that is new here."""

    def first_id(self) -> int:
        """Return an id after all those that are in use."""


class StorageDesk:
    """See ``Desk``. Nothing runs jobs here, so waiting for one is an error; ``why`` explains it."""

    def __init__(self, storage: Storage, clock: Clock, why: str, *, is_closed: bool) -> None:
        self.storage = storage
        self.why = why
        self._clock = clock
        self.is_closed = is_closed
        # A storage in memory is for one thread at a time.
        self._lock = threading.RLock()

    def add(
        self,
        jobs: list[JobSpec],
        definitions: tuple[bytes, ...],  # noqa: ARG002 - the supervisor will get them all
        *,
        is_keyed: bool,  # noqa: ARG002 - the storage tells anyway
    ) -> list[int]:
        """See ``Desk``."""
        if self.is_closed:
            raise QueueClosedError(f"no jobs are taken: {self.why}")
        with self._lock:
            return self.storage.enqueue(jobs, now=self._clock.now())

    def first_id(self) -> int:
        """See ``FirstDesk``."""
        highest = 0
        with self._lock:
            for state in JobState:
                records = self.storage.find(state=state, limit=sys.maxsize)
                ids = (record.spec.id for record in records)
                highest = max(highest, *(i for i in ids if i < FIRST_ID_OF_JOBS), 0)
        return highest + 1

    def get(self, job_id: int) -> JobRecord:
        """See ``Desk``."""
        with self._lock:
            [record] = self.storage.get([job_id])
        if record is None:
            raise JobNotFoundError(job_id)
        return record

    def watch(self, job_id: int, timeout: float | None) -> JobRecord:  # noqa: ARG002 - no wait
        """See ``Desk``."""
        record = self.get(job_id)
        if not record.state.is_final:
            raise QueueClosedError(f"job {job_id} would never end: {self.why}")
        return record

    def wait_idle(self, timeout: float | None) -> None:  # noqa: ARG002 - no wait
        """See ``Desk``."""
        if waiting := self.waiting():
            raise QueueClosedError(f"{waiting} jobs would never run: {self.why}")

    def cancel(self, job_id: int) -> bool:
        """See ``Desk``."""
        with self._lock:
            self.get(job_id)
            return bool(self.storage.cancel([job_id], now=self._clock.now()))

    def dead(self, limit: int | None, job_type: str | None) -> list[JobRecord]:
        """See ``Desk``."""
        with self._lock:
            if limit is None:
                limit = self._counts().dead
            return self.storage.find(state=JobState.DEAD, job_type=job_type, limit=limit)

    def requeue(self, job_ids: Sequence[int]) -> list[int]:
        """See ``Desk``."""
        with self._lock:
            return self.storage.requeue(job_ids, now=self._clock.now())

    def purge(
        self, job_ids: Sequence[int] | None, job_type: str | None, before: float | None
    ) -> int:
        """See ``Desk``."""
        with self._lock:
            return self.storage.purge(
                job_ids, state=JobState.DEAD, before=before, job_type=job_type
            )

    def snapshot(self) -> Snapshot:
        """See ``Desk``."""
        return Snapshot(counts=self._counts())

    def waiting(self) -> int:
        """Return how many jobs wait to be run."""
        return self._counts().queued

    def _counts(self) -> Counts:
        with self._lock:
            return self.storage.counts(now=self._clock.now())
