"""Random policies and jobs for the simulation."""

from dataclasses import replace
from random import Random

from knock.core import events as ev
from knock.core.job import UNSET, AttemptOutcome, Death, JobOptions, JobSpec, Usage
from knock.core.policy import BreakerPolicy, JobPolicy, RecyclePolicy, RetryPolicy, StopRule

NO_OPTIONS = JobOptions()
NO_POLICY = JobPolicy()
NO_USAGE = Usage(0.0, 0.0, 0.0, 0, 0)


def policies(rng: Random) -> dict[str, JobPolicy]:
    """Types with and without limits; some miss, and their jobs are of an unknown type."""
    chosen = {
        "plain": JobPolicy(timeout=_timeout(rng), retry=_retry(rng)),
        "other": JobPolicy(timeout=None, retry=_retry(rng)),
        "bound": _bound(rng),
        "fuse": JobPolicy(timeout=_timeout(rng), retry=_retry(rng), breaker=fuse(rng)),
        "rate": JobPolicy(timeout=None, retry=_retry(rng), breaker=rate(rng)),
        "few": JobPolicy(timeout=None, retry=_retry(rng), max_concurrency=rng.randint(1, 2)),
    }
    while len(chosen) > 1 and rng.random() < 0.3:
        del chosen[rng.choice(list(chosen))]
    return chosen


def wide_policies(rng: Random, workers: int) -> dict[str, JobPolicy]:
    """Types whose jobs take several slots: all of them, and some."""
    chosen = {
        "wide": JobPolicy(threads=workers, timeout=_timeout(rng), retry=_retry(rng)),
        "broad": JobPolicy(threads=rng.randint(2, workers), retry=_retry(rng)),
    }
    if rng.random() < 0.3:
        chosen["broad"] = replace(chosen["broad"], breaker=fuse(rng))
    return chosen


def changed(policy: JobPolicy, rng: Random) -> JobPolicy:
    """The same retries and limits with another breaker or another bound."""
    breaker, bound = policy.breaker, policy.max_concurrency
    chance = rng.random()
    if chance < 0.3:
        breaker = fuse(rng)
    elif chance < 0.5:
        breaker = None
    elif chance < 0.8:
        bound = rng.choice([None, 1, 2, 3])
    return replace(policy, breaker=breaker, max_concurrency=bound)


def _bound(rng: Random) -> JobPolicy:
    """All limits, each at times."""
    return JobPolicy(
        timeout=_timeout(rng),
        soft_timeout=rng.choice([None, 0.008, 0.04]),
        stall_timeout=rng.choice([None, 0.02, 0.1]),
        memory_limit=rng.choice([None, 100, 1000]),
        retry=_retry(rng),
    )


def fuse(rng: Random) -> BreakerPolicy:
    return BreakerPolicy(
        threshold=rng.randint(1, 4),
        probes=rng.randint(1, 2),
        reset_timeout=rng.choice([0.01, 0.1, 0.5]),
        reset_timeout_max=0.9,
    )


def rate(rng: Random) -> BreakerPolicy:
    return BreakerPolicy(
        threshold=rng.choice([3, 50]),
        failure_rate=rng.choice([0.3, 0.5]),
        window=rng.randint(4, 8),
        minimum_calls=rng.randint(2, 4),
        probes=rng.randint(1, 3),
        reset_timeout=0.1,
        reset_timeout_max=0.3,
    )


def stop_rule(rng: Random) -> StopRule | None:
    chance = rng.random()
    if chance < 0.1:
        return StopRule(failures=rng.randint(1, 8))
    if chance < 0.15:
        return StopRule(rate=0.2, total=rng.choice([None, 30]))
    return None


def recycling(rng: Random) -> RecyclePolicy | None:
    """In most worlds no worker is too old."""
    if rng.random() < 0.6:
        return None
    return RecyclePolicy(
        max_jobs=rng.choice([None, 1, 1, 2, 5, 12]),
        max_memory_bytes=rng.choice([None, 50, 1000]),
        max_age=rng.choice([None, None, 0.05, 0.5]),
    )


def jobs(rng: Random, names: list[str], now: float, first_id: int) -> list[JobSpec]:
    """A few new jobs."""
    return [
        _job(rng, rng.choice(names), now, first_id + i)
        for i in range(1 + int(rng.random() ** 2 * 9))
    ]


def _job(rng: Random, name: str, now: float, job_id: int) -> JobSpec:
    chance = rng.random()
    run_at = now + chance if chance < 0.15 else now
    expires_at = run_at + chance * 0.5 if 0.1 < chance < 0.25 else None
    options = NO_OPTIONS
    if chance > 0.85:
        options = JobOptions(
            timeout=rng.choice([UNSET, None, 0.02, 0.3]), retry_attempts=rng.choice([UNSET, 0, 2])
        )
    priority = int(rng.random() * 3)
    job = JobSpec(job_id, name, b"%d" % job_id, priority, run_at, now, expires_at, options=options)
    if rng.random() < 0.1:
        job.deadline = run_at + rng.choice([0.01, 0.1, 1.0])
        job.expires_at = min(job.deadline, expires_at or job.deadline)
    return job


def lie(rng: Random, worker: int, generation: int, ticket: int) -> object:
    """Something about a process that is gone, or about a request that nobody made."""
    success = ev.AttemptEnded(ticket, AttemptOutcome.SUCCESS, NO_USAGE, b"a lie")
    reading = ev.Reading(ticket, 0.0, 0)
    return rng.choice(
        [
            ev.AttemptsEnded(worker, generation, [success]),
            ev.AttemptsEnded(worker, generation + 1, [replace(success, ticket=10**9)]),
            ev.JobsHandedBack(worker, generation, [ticket]),
            ev.PermitsRevoked(worker, generation, [ticket]),
            ev.KillDropped(worker, generation, ticket),
            ev.WorkerReady(worker, generation, 1),
            ev.WorkerWorn(worker, generation, "a lie"),
            ev.WorkerBootFailed(worker, generation, "a lie"),
            ev.WorkerExited(worker, generation, Death(signal=9), [ticket]),
            ev.LedgersRead({worker: (generation, reading)}),
            ev.ClaimFailed(-1),
            ev.JobsClaimed(-1, []),
            ev.JobsSettled(-1),
            ev.SettleFailed(-1),
        ]
    )


def _timeout(rng: Random) -> float | None:
    return rng.choice([None, 0.01, 0.05, 0.5])


def _retry(rng: Random) -> RetryPolicy:
    return RetryPolicy(
        retry_attempts=rng.randint(0, 3),
        retry_crashes=rng.choice([None, 0, 1]),
        retry_oom=rng.choice([None, 2]),
        retry_lost=rng.randint(0, 2),
        retry_delay=rng.choice([0.0, 0.01, 0.2]),
        retry_delay_max=0.3,
    )
