"""Policies of job types, workers and batches: plain data that the decisions read."""

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryPolicy:
    """How often and how late a job is run again.

    ``retry_attempts`` is the number of retries after errors and timeouts, so a job runs at most
    ``retry_attempts + 1`` times for these. Crashes, kills for want of memory and attempts lost
    with their supervisor have budgets of their own; None means ``min(retry_attempts, 2)``.
    ``retry_delay`` (seconds) is a minimum: see ``backoff`` in ``core/retry.py``.
    """

    retry_attempts: int = 0
    retry_crashes: int | None = None
    retry_oom: int | None = None
    retry_lost: int = 2
    retry_delay: float = 1.0
    retry_delay_max: float = 300.0


@dataclass(frozen=True, slots=True, kw_only=True)
class BreakerPolicy:
    """When a job type is held back.

    ``threshold`` consecutive failures open the breaker, as does a failure rate of at least
    ``failure_rate`` (0 to 1) over the last ``window`` finished attempts, once ``minimum_calls``
    of them are known; None switches the rate off. While open for ``reset_timeout`` seconds
    nothing of the type starts; each opening in a row doubles the wait, up to
    ``reset_timeout_max``. Half-open lets ``probes`` jobs through at once; as many successes in a
    row close it, one failure opens it again.
    """

    threshold: int = 5
    failure_rate: float | None = None
    window: int = 100
    minimum_calls: int = 20
    reset_timeout: float = 30.0
    reset_timeout_max: float = 300.0
    probes: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class JobPolicy:
    """Everything that is decided per job type.

    Limits of one attempt, None for none: ``timeout`` seconds of running time, then it is killed;
    ``soft_timeout`` seconds, then it is warned; ``stall_timeout`` seconds without progress;
    ``memory_limit`` bytes of resident memory; ``max_result_bytes`` is the worker's business alone.
    ``breaker`` None is no breaker. ``max_concurrency`` bounds the jobs of the type that run at
    once. A job of the type takes ``threads`` of the pool's worker slots, at least 1.
    """

    timeout: float | None = None
    soft_timeout: float | None = None
    stall_timeout: float | None = None
    memory_limit: int | None = None
    max_result_bytes: int | None = None
    retry: RetryPolicy = field(default_factory=RetryPolicy)
    breaker: BreakerPolicy | None = None
    max_concurrency: int | None = None
    threads: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class RecyclePolicy:
    """When a worker process is replaced by a new one; None is never.

    It runs at most ``max_jobs`` jobs. ``max_memory_bytes`` is compared with its resident size
    before a job, which earlier ones have left behind; ``max_age`` (seconds) with the time since it
    was ready. Each process draws limits of its own, from 0.8 of these up to these, and retires
    there unless too many others do: see ``core/recycling.py``.
    """

    max_jobs: int | None = None
    max_memory_bytes: int | None = None
    max_age: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class StopRule:
    """When a batch gives up: after ``failures`` dead jobs, or a ``rate`` (0 to 1) of ``total``."""

    failures: int | None = None
    rate: float | None = None
    total: int | None = None
