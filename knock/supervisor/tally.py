"""What a supervisor counts while it runs."""

from collections import Counter, deque
from collections.abc import Sequence

from knock.core.commands import (
    Notice,
    NoticeName,
)
from knock.core.job import AttemptOutcome, Claim, JobState, Settlement
from knock.supervisor.facts import BreakerChange, RunFacts, WorkerExit
from knock.supervisor.messages import SupervisorStats

_BREAKER_STATES = {
    NoticeName.BREAKER_OPENED: "open",
    NoticeName.BREAKER_HALF_OPENED: "half_open",
    NoticeName.BREAKER_CLOSED: "closed",
}
# A pool that runs for weeks keeps the latest of these only, and counts all.
_KEPT = 1_000
# Reasons come from workers too, so there may be any number of them.
_MAX_REASONS = 100
_OTHER_REASONS = "other reasons"


class Tally:
    """Counts settled attempts and jobs, and keeps what happened to workers and breakers."""

    def __init__(self, workers: int, started_at: float) -> None:
        self._workers = workers
        self._started_at = started_at
        self._attempts: Counter[AttemptOutcome] = Counter()
        self._states: Counter[JobState] = Counter()
        self._busy_seconds = 0.0
        self._exits: deque[WorkerExit] = deque(maxlen=_KEPT)
        self._causes: Counter[str] = Counter()
        self._recycled: Counter[str] = Counter()
        self._changes: deque[BreakerChange] = deque(maxlen=_KEPT)
        self._stale = 0
        self._stopped_by: str | None = None
        # Jobs that wait for another attempt.
        self._retrying: set[int] = set()
        self.added = 0

    def settled(self, settlements: Sequence[Settlement], stale: Sequence[int]) -> None:
        """Count a batch that the storage applied."""
        self._stale += len(stale)
        retrying = self._retrying
        busy = 0.0
        for settlement in settlements:
            attempt = settlement.attempt
            if attempt is not None:
                self._attempts[attempt.outcome] += 1
                busy += attempt.usage.wall_seconds
            self._states[settlement.state] += 1
            if settlement.state is JobState.QUEUED and _was_tried(settlement):
                retrying.add(settlement.job_id)
        self._busy_seconds += busy

    def claimed(self, claims: Sequence[Claim]) -> None:
        """Note that these jobs do not wait any more."""
        if self._retrying:
            self._retrying.difference_update(claim.job.id for claim in claims)

    def ended_unrun(self, job_ids: Sequence[int], state: JobState) -> None:
        """Count jobs that the storage itself cancelled or buried."""
        self._states[state] += len(job_ids)
        self._retrying.difference_update(job_ids)

    def noticed(self, notice: Notice) -> None:
        """Keep what the machine told of itself."""
        if notice.name is NoticeName.WORKER_EXITED and notice.death is not None:
            death = notice.death
            _count(self._causes, death.cause)
            exit_ = WorkerExit(
                at=notice.at, worker=notice.worker or 0, cause=death.cause, pid=death.pid
            )
            self._exits.append(exit_)
        elif notice.name is NoticeName.WORKER_RECYCLED:
            _count(self._recycled, notice.detail)
        elif notice.name in _BREAKER_STATES:
            state = _BREAKER_STATES[notice.name]
            self._changes.append(BreakerChange(at=notice.at, job_type=notice.job_type, state=state))
        elif notice.name is NoticeName.STOP_RULE_REACHED:
            self._stopped_by = notice.detail

    def facts(self, now: float) -> RunFacts:
        """Return all of it."""
        return RunFacts(
            started_at=self._started_at,
            ended_at=now,
            workers=self._workers,
            busy_seconds=self._busy_seconds,
            worker_exits=tuple(self._exits),
            exit_causes=dict(self._causes),
            workers_recycled=dict(self._recycled),
            breaker_changes=tuple(self._changes),
            attempts=dict(self._attempts),
            stale_results=self._stale,
            stopped_by=self._stopped_by,
        )

    def stats(self, *, in_flight: int, workers: int, is_paused: bool) -> SupervisorStats:
        """Return the counts of now."""
        return SupervisorStats(
            completed=self._states[JobState.COMPLETED],
            failed=self._states[JobState.DEAD],
            cancelled=self._states[JobState.CANCELLED],
            added=self.added,
            retrying=len(self._retrying),
            in_flight=in_flight,
            workers=workers,
            is_paused=is_paused,
        )


def _count(reasons: Counter[str], reason: str) -> None:
    is_known = reason in reasons or len(reasons) < _MAX_REASONS
    reasons[reason if is_known else _OTHER_REASONS] += 1


def _was_tried(settlement: Settlement) -> bool:
    """Whether a job that goes back to the queue has had an attempt that counts."""
    attempt = settlement.attempt
    if attempt is not None and attempt.outcome is not AttemptOutcome.RELEASED:
        return True
    return settlement.spent is not None and any(settlement.spent)
