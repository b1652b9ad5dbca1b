"""What a supervisor knows of a run as a whole when it has ended."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from knock.core.job import AttemptOutcome


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerExit:
    """A worker process that ended, and why. ``at`` in UTC seconds."""

    at: float
    worker: int
    cause: str
    pid: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class BreakerChange:
    """A circuit breaker that went into another state. ``at`` in UTC seconds."""

    at: float
    job_type: str
    state: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RunFacts:
    """The run from the supervisor's side; times in UTC seconds.

    ``busy_seconds`` is the sum of the attempts' running times. ``worker_exits`` are the last 1,000,
    ``exit_causes`` counts all of them by cause. They leave out workers that ended because the pool
    was closed, and those that were replaced though nothing had gone wrong: ``workers_recycled``
    counts these by reason. ``breaker_changes`` are the last 1,000, too. ``attempts`` counts ended
    attempts by outcome. ``stale_results`` counts settlements that the storage refused since the job
    no longer ran that token. ``stopped_by`` says why the run ended before its jobs did, or is None.
    """

    started_at: float
    ended_at: float
    workers: int
    busy_seconds: float = 0.0
    worker_exits: tuple[WorkerExit, ...] = ()
    exit_causes: Mapping[str, int] = field(default_factory=dict)
    workers_recycled: Mapping[str, int] = field(default_factory=dict)
    breaker_changes: tuple[BreakerChange, ...] = ()
    attempts: Mapping[AttemptOutcome, int] = field(default_factory=dict)
    stale_results: int = 0
    stopped_by: str | None = None
