"""When to ask the storage for jobs, and for how many."""

from collections.abc import Mapping

from knock.core.commands import (
    ClaimJobs,
)
from knock.core.events import (
    ClaimFailed,
    JobsAdded,
    JobsClaimed,
)
from knock.core.outbox import storage_retry_delay


class Intake:
    """At most one claim is out. ``is_due``: the storage may hold a job that could run now."""

    def __init__(self) -> None:
        self.is_out = False
        self._number = 0
        self._limit = 0
        self._is_due = True
        self._is_blocked = False
        self._is_changed = False
        self._is_resting = False
        self._has_news = False
        self._is_expiry_due = False
        self._urgent: int | None = None
        self._next_at: float | None = None
        self._retry_at: float | None = None
        self._failures = 0

    def jobs_added(self, event: JobsAdded, now: float) -> None:
        """Remember that there is more, and when to ask for it."""
        if event.run_at <= now:
            self._is_due = True
            if self._urgent is None or event.priority < self._urgent:
                self._urgent = event.priority
        else:
            self._wake_by(event.run_at)
        if event.expires_at is not None:
            self._wake_by(event.expires_at)

    def places_changed(self) -> None:
        """A type that was held back may have a place again."""
        if self.is_out:
            self._is_changed = True
        elif self._is_blocked:
            self._is_due = True

    def rest(self) -> None:
        """What the storage holds would wait here: leave it there until there is news of it."""
        self._is_due = self._has_news
        self._is_blocked = True
        self._is_resting = True

    def wake(self) -> None:
        """Nothing is in the way any more of what the storage holds."""
        if self._is_resting:
            self._is_resting = False
            self.places_changed()

    def jobs_returned(self) -> None:
        """Released or retried jobs are in the storage again."""
        self._is_due = True

    def due_at(self, run_at: float, now: float) -> None:
        """A job was put back, due at ``run_at``."""
        if run_at <= now:
            self._is_due = True
        else:
            self._wake_by(run_at)

    def answered(self, event: JobsClaimed) -> bool:
        """Take the storage's answer; False if it is to no question of ours."""
        if not self.is_out or event.claim != self._number:
            return False
        self.is_out = False
        self._failures = 0
        is_full = len(event.jobs) >= self._limit
        # Places that became free while the storage answered are not in its answer.
        self._is_due |= event.has_more and self._is_changed
        self._has_news = self._is_due
        self._is_due |= event.has_more and is_full
        self._is_blocked = event.has_more and not is_full
        if event.next_at is not None:
            self._wake_by(event.next_at)
        return True

    def failed(self, event: ClaimFailed, now: float) -> bool:
        """The storage did not answer: ask again later. False if it is to no question of ours."""
        if not self.is_out or event.claim != self._number:
            return False
        self.is_out = False
        self._is_due = True
        self._is_expiry_due |= not self._limit
        self._failures += 1
        self._retry_at = now + storage_retry_delay(self._failures)
        return True

    def wanted(self, now: float, room: int, least_urgent: int | None) -> int | None:
        """How many jobs to claim now; None to claim nothing, 0 to have expired ones buried.

        ``room`` is how many more jobs could be sent. ``least_urgent`` is the priority of the
        least urgent job at hand: a more urgent one is wanted even without room.
        """
        if self._next_at is not None and self._next_at <= now:
            self._is_due = self._is_expiry_due = True
            self._next_at = None
        if self._retry_at is not None and self._retry_at <= now:
            self._retry_at = None
        if self.is_out or not self._is_due or self._retry_at is not None:
            return None
        if room > 0:
            return room
        if self._urgent is not None and least_urgent is not None and self._urgent < least_urgent:
            return 1
        return 0 if self._is_expiry_due else None

    def ask(self, limit: int, places: Mapping[str, int]) -> ClaimJobs:
        """Make the claim that ``wanted`` spoke of."""
        self.is_out = True
        self._number += 1
        self._limit = limit
        self._is_changed = False
        self._is_due = self._is_expiry_due = False
        if limit:
            self._urgent = None
        return ClaimJobs(self._number, limit, places)

    def next_deadline(self) -> float | None:
        """When ``ask`` may have a claim to make though nothing was heard."""
        if self.is_out:
            return None
        if self._retry_at is not None and self._is_due:
            return self._retry_at
        return self._next_at

    def _wake_by(self, at: float) -> None:
        if self._next_at is None or at < self._next_at:
            self._next_at = at
