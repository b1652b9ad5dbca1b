"""What becomes of a job whose attempt failed, and of a batch with too many such jobs."""

from random import Random

from knock.core.commands import (
    KillCause,
)
from knock.core.events import (
    WorkerExited,
)
from knock.core.handout import AttemptEnded
from knock.core.job import (
    Attempt,
    AttemptOutcome,
    Death,
    DeathReason,
    JobState,
    Settlement,
    Unset,
    Usage,
)
from knock.core.policy import StopRule
from knock.core.retry import Bury, Retry, judge
from knock.core.slot import Flight

# A failure rate means nothing before so many jobs have ended.
RATE_MINIMUM = 20

_KILL_OUTCOMES = {
    KillCause.TIMEOUT: AttemptOutcome.TIMEOUT,
    KillCause.STALLED: AttemptOutcome.TIMEOUT,
    KillCause.DEADLINE: AttemptOutcome.TIMEOUT,
    KillCause.MEMORY: AttemptOutcome.OUT_OF_MEMORY,
    KillCause.CANCELLED: AttemptOutcome.CANCELLED,
    KillCause.RELEASED: AttemptOutcome.RELEASED,
    KillCause.UNRESPONSIVE: AttemptOutcome.RELEASED,
}


class Tribunal:
    """Judges failed attempts by the policy of their type, and counts deaths for the stop rule."""

    def __init__(self, rng: Random, rule: StopRule | None) -> None:
        self._rng = rng
        self._rule = rule
        self._succeeded = 0
        self._dead = 0

    def count_success(self) -> None:
        """One more job has completed."""
        self._succeeded += 1

    @property
    def is_over(self) -> bool:
        """Whether the stop rule says that enough jobs are dead."""
        rule = self._rule
        if rule is None or not self._dead:
            return False
        if rule.failures is not None and self._dead >= rule.failures:
            return True
        if rule.rate is None:
            return False
        if rule.total is not None:
            return self._dead >= rule.rate * rule.total
        ended = self._dead + self._succeeded
        return ended >= RATE_MINIMUM and self._dead >= rule.rate * ended

    @property
    def verdict(self) -> str:
        """The stop rule's reason, as text."""
        ended = self._dead + self._succeeded
        return f"{self._dead} of {ended} finished jobs died"

    def outcome_of(
        self, death: Death, kill: tuple[int | None, KillCause] | None, ticket: int
    ) -> AttemptOutcome:
        """Classify the end of the job that ran when its worker died.

        The cause is what was ordered, never the exit status.
        """
        if kill is not None and kill[0] in (None, ticket):
            return _KILL_OUTCOMES[kill[1]]
        if death.is_infrastructure:
            return AttemptOutcome.LOST
        if death.out_of_memory:
            return AttemptOutcome.OUT_OF_MEMORY
        # A kill that was ordered for another job is not this one's crash.
        return AttemptOutcome.CRASH if kill is None else AttemptOutcome.RELEASED

    def judge(
        self, flight: Flight, attempt: Attempt, now: float, ended: AttemptEnded | None
    ) -> Settlement:
        """Decide between another attempt and death."""
        claim = flight.claim
        override = claim.job.options.retry_attempts
        verdict = judge(
            flight.kind.policy.retry,
            claim.spent,
            attempt.outcome,
            retry_attempts=None if isinstance(override, Unset) else override,
            retryable=ended is None or ended.retryable,
            retry_after=None if ended is None else ended.retry_after,
            discard=None if ended is None else ended.discard,
            rng=self._rng,
        )
        deadline = claim.job.deadline
        if isinstance(verdict, Retry) and deadline is not None and deadline <= now + verdict.delay:
            verdict = Bury(verdict.spent, DeathReason.DEADLINE)
        settlement = Settlement(claim.job.id, claim.token, JobState.QUEUED, attempt, verdict.spent)
        if isinstance(verdict, Bury):
            self._dead += 1
            settlement.state = JobState.DEAD
            settlement.reason = verdict.reason
        else:
            settlement.run_at = now + verdict.delay
        return settlement


def last_attempt(
    flight: Flight,
    event: WorkerExited,
    outcome: AttemptOutcome,
    *,
    pid: int | None,
    used: float,
    now: float,
) -> Attempt:
    """Describe the run that ended with its worker, whose other jobs ``used`` so much CPU time."""
    death = event.death
    started_at = flight.sent_at if event.started_at is None else event.started_at
    started_at = min(max(started_at, flight.sent_at), now)
    # The kernel tells of the whole process.
    cpu = max(0.0, (death.cpu_seconds or 0.0) - used)
    peak = death.peak_rss_bytes or 0
    usage = Usage(started_at, now - started_at, cpu, peak, 0, is_exact=False)
    pid = death.pid or pid
    number = flight.claim.attempt
    return Attempt(number, outcome, usage, 0.0, pid, None, death, event.log, event.output)
