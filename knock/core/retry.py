"""Another attempt or the dead-letter queue: one verdict for every failed attempt.

Each kind of failure has a budget of its own, so that a job that kills its workers is set aside
long before it has used up the patience meant for a flaky network. What is not the job's fault
(cancelled, released) never comes here.
"""

from dataclasses import dataclass
from random import Random

from knock.core.job import AttemptOutcome, DeathReason, Spent
from knock.core.policy import RetryPolicy

# A crash or a kill for want of memory costs a worker: two more tries, unless asked for.
_COSTLY_RETRIES = 2
# 2**1023 is the largest power of two that fits a float.
_MAX_EXPONENT = 1023


@dataclass(slots=True)
class Retry:
    """Run the job again, no earlier than ``delay`` seconds from now."""

    spent: Spent
    delay: float


@dataclass(slots=True)
class Bury:
    """The job is dead; ``reason`` is a ``DeathReason`` value, a discard's with its text."""

    spent: Spent
    reason: str


def judge(
    policy: RetryPolicy,
    spent: Spent,
    outcome: AttemptOutcome,
    *,
    retry_attempts: int | None = None,
    retryable: bool = True,
    retry_after: float | None = None,
    discard: str | None = None,
    rng: Random,
) -> Retry | Bury:
    """Decide what becomes of a job after an attempt that failed with ``outcome``.

    Args:
        policy: Of the job's type.
        spent: What earlier attempts have cost.
        outcome: ERROR, TIMEOUT, CRASH, OUT_OF_MEMORY or LOST.
        retry_attempts: The job's own number of retries, if it has one.
        retryable: Whether the exception is one to retry on.
        retry_after: The job asked to be run again so many seconds later. That is no failure:
            it costs nothing of any budget, however often it is asked.
        discard: The job gave itself up, for this reason.
        rng: For the jitter.
    """
    if retry_after is not None:
        return Retry(spent, retry_after)
    charged = _charge(spent, outcome)
    if discard is not None:
        reason = DeathReason.DISCARDED.value
        return Bury(charged, f"{reason}: {discard}" if discard else reason)
    if not retryable:
        return Bury(charged, DeathReason.NOT_RETRYABLE.value)
    retries = policy.retry_attempts if retry_attempts is None else retry_attempts
    exhausted = _exhausted(policy, charged, outcome, retries)
    if exhausted is not None:
        return Bury(charged, exhausted.value)
    return Retry(charged, backoff(policy, sum(charged), rng))


def backoff(policy: RetryPolicy, attempts: int, rng: Random) -> float:
    """Return the seconds to wait after so many charged attempts (at least one).

    Uniform in ``[d, 1.5 * d]`` with ``d = min(retry_delay_max, retry_delay * 2**(attempts - 1))``.
    Source: M. Brooker, "Exponential Backoff And Jitter", AWS, 2015; other than there the delay is
    a minimum, because a user who gives a delay expects it.
    """
    exponent = min(attempts - 1, _MAX_EXPONENT)
    delay = min(policy.retry_delay_max, policy.retry_delay * 2.0**exponent)
    return delay * (1.0 + 0.5 * rng.random())


def _charge(spent: Spent, outcome: AttemptOutcome) -> Spent:
    match outcome:
        case AttemptOutcome.CRASH:
            return spent._replace(crashes=spent.crashes + 1)
        case AttemptOutcome.OUT_OF_MEMORY:
            return spent._replace(out_of_memory=spent.out_of_memory + 1)
        case AttemptOutcome.LOST:
            return spent._replace(lost=spent.lost + 1)
        case _:
            return spent._replace(failures=spent.failures + 1)


def _exhausted(
    policy: RetryPolicy, charged: Spent, outcome: AttemptOutcome, retries: int
) -> DeathReason | None:
    """Why there is no next attempt; None if there is one."""
    match outcome:
        case AttemptOutcome.CRASH:
            is_over = charged.crashes > _costly(policy.retry_crashes, retries)
            return DeathReason.POISON if is_over else None
        case AttemptOutcome.OUT_OF_MEMORY:
            is_over = charged.out_of_memory > _costly(policy.retry_oom, retries)
            return DeathReason.POISON if is_over else None
        case AttemptOutcome.LOST:
            return DeathReason.LOST if charged.lost > policy.retry_lost else None
        case _:
            return DeathReason.RETRIES_EXHAUSTED if charged.failures > retries else None


def _costly(budget: int | None, retries: int) -> int:
    return min(retries, _COSTLY_RETRIES) if budget is None else budget
