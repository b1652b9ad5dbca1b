"""The contract of a storage. ``knock.testing`` holds any implementation to it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

from knock.core.job import Claim, JobRecord, JobSpec, JobState, Settlement


@dataclass(slots=True)
class Claimed:
    """What ``Storage.claim`` hands out.

    ``expired`` are all jobs whose expiry had passed: they are dead now (reason ``expired``).
    ``next_at`` is the earliest future ``run_at`` or ``expires_at`` of a queued job, or None.
    ``has_more`` says that due jobs were left because ``limit`` or ``places`` ran out.
    """

    jobs: list[Claim]
    expired: list[JobRecord] = field(default_factory=list)
    has_more: bool = False
    next_at: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """How many jobs are where. ``delayed`` is the part of ``queued`` that is not due yet."""

    queued: int = 0
    delayed: int = 0
    processing: int = 0
    completed: int = 0
    dead: int = 0
    cancelled: int = 0


@runtime_checkable
class Storage(Protocol):
    """A prioritized store of jobs.

    Every method is atomic and works on batches of any size. An instance is called by one thread
    at a time, but not always by the same. Times are UTC seconds since 1970 and come from the
    caller: a storage never reads a clock. They do not run backwards, but for the small difference
    between two callers' clocks; a storage may take an earlier ``now`` for the latest that it was
    told. Each method costs O(log n) or better per job, whatever waits or is held back; only
    ``find`` and ``purge`` of one type may look at every job in that state.

    What was given comes back equal: ids of up to 63 bits, bytes of any length, and text of any
    characters that UTF-8 can encode.

    Raises:
        StorageUnavailableError: Any method, when the backend cannot be reached.
    """

    def enqueue(self, jobs: Sequence[JobSpec], *, now: float) -> list[int]:
        """Store the jobs, all or none, and return an id for each, in order.

        The id is the job's own, or, if a stored job has the same ``key``, that job's (and nothing
        is added). A key points to its job as long as that is stored, in whatever state. A job
        whose id is stored already is taken for a repeat of the same call: it is left as it is.
        """

    def claim(
        self,
        limit: int,
        *,
        now: float,
        places: Mapping[str, int] | None = None,
        supervisor: str = "",
    ) -> Claimed:
        """Move the first ``limit`` due jobs from queued to processing and hand them out.

        Ordered by ``(priority, run_at, id)``; all of them if there are fewer. Of a type in
        ``places`` this claim takes at most that many; types not in it are unlimited. Each claim
        raises the job's token. No job is handed out twice without a ``settle`` between. Jobs that
        have expired by ``now`` (``expires_at`` is ``now`` or earlier) become dead first, also with
        ``limit`` 0; what is processing does not expire.
        """

    def settle(self, settlements: Sequence[Settlement], *, now: float) -> list[int]:
        """Apply each settlement whose job is processing under that token.

        Attempts are appended, budgets stored (``spent`` None leaves them); ``result`` and
        ``reason`` belong to final states. A retried job (QUEUED with an attempt) waits as a copy
        of its spec with the new ``run_at``, which may be past; a released one (QUEUED, no attempt)
        keeps its ``run_at`` and so its place. A release that has an attempt to tell of comes as a
        retry at the old ``run_at``. Returns the ids of the jobs that did not match: nothing changed
        for these.

        Raises:
            InvalidTransitionError: A settlement names a state that no running job can come into;
                nothing was applied.
        """

    def cancel(self, job_ids: Sequence[int], *, now: float) -> list[int]:
        """Move those of the jobs that are queued to cancelled; return their ids."""

    def requeue(self, job_ids: Sequence[int], *, now: float) -> list[int]:
        """Move those of the jobs that are dead back to queued, due now; return their ids.

        Budgets start afresh; past attempts stay on record; an expiry is dropped.
        """

    def get(self, job_ids: Sequence[int]) -> list[JobRecord | None]:
        """Return a record for each id, in order; None for an unknown one."""

    def find(
        self,
        *,
        state: JobState,
        job_type: str | None = None,
        limit: int = 100,
        newest_first: bool = True,
    ) -> list[JobRecord]:
        """Return the first ``limit`` jobs in that state, ordered by when they came into it.

        All of them if there are fewer. Those that came into it by one call may be in any order
        among themselves.
        """

    def counts(self, *, now: float) -> Counts:
        """Count the jobs by state. O(number of delayed jobs) at most, never a scan of all."""

    def purge(
        self,
        job_ids: Sequence[int] | None = None,
        *,
        state: JobState | None = None,
        before: float | None = None,
        job_type: str | None = None,
    ) -> int:
        """Delete the jobs in a *final* state that match every condition given; return how many.

        ``before``: they reached that state before this moment. Jobs that are queued or processing
        are never deleted, even when named. ``job_ids`` without any id matches nothing.
        """

    def heartbeat(self, supervisor: str, *, now: float) -> None:
        """Prolong the supervisor's hold on what it has claimed."""

    def reclaim(self, *, now: float, lease_seconds: float) -> list[Claim]:
        """Take over what supervisors without a heartbeat for ``lease_seconds`` had claimed.

        Having claimed a job counts as a heartbeat for that job, so a lease runs at least that
        long from its claim. Returned claims carry a new token and belong to nobody: the caller
        judges them at once (release, or charge as lost); if it does not, they can be reclaimed
        again after ``lease_seconds``.
        """

    def close(self) -> None:
        """Let go of connections and files. Any later call but ``close`` raises ``StorageError``."""
