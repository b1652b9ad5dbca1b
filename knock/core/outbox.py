"""Settlements on their way to the storage."""

from knock.core.commands import (
    SettleJobs,
)
from knock.core.events import (
    SettleFailed,
)
from knock.core.job import JobState, Settlement

_RETRY_BASE_SECONDS = 0.1
_RETRY_CAP_SECONDS = 5.0


def storage_retry_delay(failures: int) -> float:
    """Seconds to wait before a storage is asked again after so many failures in a row."""
    return min(_RETRY_CAP_SECONDS, _RETRY_BASE_SECONDS * 2.0 ** min(failures - 1, 10))


class Outbox:
    """One batch is out at a time; the next is whatever gathered meanwhile. None is given up."""

    def __init__(self) -> None:
        self._pending: list[Settlement] = []
        self._out: list[Settlement] = []
        self._number = 0
        self._is_out = False
        self._retry_at: float | None = None
        self._failures = 0
        self._cancelled: set[int] = set()

    @property
    def is_empty(self) -> bool:
        """Whether the storage knows everything."""
        return not self._pending and not self._out

    def add(self, settlement: Settlement) -> None:
        """Queue a settlement."""
        self._pending.append(settlement)

    def cancel_returned(self, job_id: int) -> bool:
        """Cancel a job that is on its way back to the queue; False if there is no such job."""
        for settlement in (*self._pending, *self._out):
            if settlement.job_id == job_id:
                if settlement.state is JobState.QUEUED:
                    self._cancelled.add(job_id)
                return True
        return False

    def take_cancelled(self, job_id: int) -> bool:
        """Whether a job, claimed again before its settlement's answer, is to be cancelled."""
        if job_id not in self._cancelled:
            return False
        self._cancelled.remove(job_id)
        return True

    def flush(self, now: float) -> SettleJobs | None:
        """Return the batch to apply now, if any."""
        if self._is_out or (self._retry_at is not None and now < self._retry_at):
            return None
        if not self._out:
            self._out, self._pending = self._pending, []
        if not self._out:
            return None
        self._retry_at = None
        self._is_out = True
        self._number += 1
        return SettleJobs(self._number, self._out)

    def settled(self, batch: int) -> tuple[list[Settlement], list[int]]:
        """Return what was applied and which of its jobs are to be cancelled now."""
        if not self._is_out or batch != self._number:
            return [], []
        self._is_out = False
        self._failures = 0
        done, self._out = self._out, []
        return done, self._cancelled_of(done)

    def _cancelled_of(self, done: list[Settlement]) -> list[int]:
        if not self._cancelled:
            return []
        # A job that was claimed again meanwhile may be on its way back once more.
        again = {settlement.job_id for settlement in self._pending}
        cancelled = [s.job_id for s in done if s.job_id in self._cancelled - again]
        self._cancelled.difference_update(cancelled)
        return cancelled

    def failed(self, event: SettleFailed, now: float) -> None:
        """The batch was not applied: send it again later."""
        if self._is_out and event.batch == self._number:
            self._is_out = False
            self._failures += 1
            self._retry_at = now + storage_retry_delay(self._failures)

    def next_deadline(self) -> float | None:
        """When ``flush`` may have a batch to send though nothing was heard."""
        return None if self._is_out else self._retry_at
