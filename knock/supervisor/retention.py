"""Forgetting jobs some time after their end."""

from knock.core.job import JobRecord, JobState
from knock.errors import StorageUnavailableError
from knock.storage.base import Storage
from knock.supervisor.outage import Outage

# Jobs are forgotten in bits of at least this share of the retention, not one by one.
_SHARE = 0.1
_LONGEST_SECONDS = 60.0


class Retention:
    """See ``SupervisorOptions``. ``next_at`` is when ``purge`` has something to do."""

    def __init__(
        self, storage: Storage, seconds: float | None, *, keeps_dead: bool, outage: Outage
    ) -> None:
        self._storage = storage
        self._seconds = seconds
        self._states = [JobState.COMPLETED, JobState.CANCELLED]
        if not keeps_dead:
            self._states.append(JobState.DEAD)
        self._outage = outage
        # At once: jobs of an earlier supervisor may be there.
        self.next_at: float | None = 0.0 if seconds else None

    def told(self, job_ids: list[int], now: float) -> None:
        """These have ended, and everybody who wanted to know was told. Empties the list."""
        if not job_ids or self._outage.is_on(now):
            return
        if self._seconds == 0:
            try:
                for state in self._states:
                    self._storage.purge(job_ids, state=state)
            except StorageUnavailableError:
                self._outage.began(now)
                return
        elif self._seconds is not None and self.next_at is None:
            self.next_at = now + self._seconds
        job_ids.clear()

    def purge(self, now: float) -> None:
        """Forget what has ended so long ago, if it is time to."""
        seconds = self._seconds
        if not seconds or self.next_at is None or now < self.next_at or self._outage.is_on(now):
            return
        try:
            for state in self._states:
                self._storage.purge(state=state, before=now - seconds)
            left = [job for state in self._states for job in self._oldest(state)]
        except StorageUnavailableError:
            self._outage.began(now)
            self.next_at = self._outage.retry_at
            return
        self._outage.ended()
        ends = [job.finished_at for job in left if job.finished_at is not None]
        pause = min(seconds * _SHARE, _LONGEST_SECONDS)
        self.next_at = max(min(ends) + seconds, now + pause) if ends else None

    def _oldest(self, state: JobState) -> list[JobRecord]:
        return self._storage.find(state=state, limit=1, newest_first=False)
