"""Jobs, attempts and settlements with defaults, so that a test shows only what matters."""

from typing import Any

from knock.core.job import (
    Attempt,
    AttemptOutcome,
    Claim,
    JobError,
    JobOptions,
    JobRecord,
    JobSpec,
    JobState,
    Settlement,
    Spent,
    Usage,
)
from knock.storage.base import Storage

NOW = 1_000_000.0


def a_job(job_id: int = 1, **changes: Any) -> JobSpec:
    """Return a job that is due at ``NOW``."""
    fields: dict[str, Any] = {
        "id": job_id,
        "type": "resize",
        "payload": b"payload",
        "priority": 1,
        "run_at": NOW,
        "created_at": NOW,
    }
    return JobSpec(**(fields | changes))


def a_full_job(job_id: int = 1, **changes: Any) -> JobSpec:
    """Return a job that is due at ``NOW`` and leaves no field as it is by default."""
    fields: dict[str, Any] = {
        "payload": bytes(range(256)),
        "priority": 0,
        "created_at": NOW - 1.5,
        "expires_at": NOW + 1e6,
        "key": f"key of {job_id}",
        "options": JobOptions(timeout=2.5, retry_attempts=0),
        "deadline": NOW + 1e7,
    }
    return a_job(job_id, **(fields | changes))


def a_run(outcome: AttemptOutcome = AttemptOutcome.SUCCESS, number: int = 1) -> Attempt:
    """Return an ended attempt with that outcome."""
    error = None
    if outcome is AttemptOutcome.ERROR:
        error = JobError(
            type_name="ValueError", message="bad", traceback="Traceback ...", pickled=b"\x80"
        )
    return Attempt(
        number=number,
        outcome=outcome,
        usage=Usage(NOW + 1.5, 0.25, 0.125, 1 << 20, 1 << 19),
        queue_wait_seconds=1.5,
        worker_pid=123,
        error=error,
    )


def settlement(claim: Claim, state: JobState = JobState.COMPLETED, **changes: Any) -> Settlement:
    """Return what a supervisor sends when a claimed job came to that state.

    QUEUED is a release here; a retry gives ``attempt``, ``spent`` and ``run_at`` too.
    """
    fields: dict[str, Any] = {"job_id": claim.job.id, "token": claim.token, "state": state}
    if state is JobState.COMPLETED:
        fields |= {"attempt": a_run(), "result": b"result"}
    if state is JobState.DEAD:
        failed = a_run(AttemptOutcome.ERROR)
        fields |= {"attempt": failed, "spent": Spent(failures=1), "reason": "retries_exhausted"}
    return Settlement(**(fields | changes))


def retry(claim: Claim, run_at: float) -> Settlement:
    """Return the settlement of a job that failed and shall run again at ``run_at``."""
    return settlement(
        claim,
        JobState.QUEUED,
        attempt=a_run(AttemptOutcome.ERROR, claim.attempt),
        spent=Spent(failures=claim.spent.failures + 1),
        run_at=run_at,
    )


def claim_ids(storage: Storage, limit: int = 100, *, now: float = NOW, **options: Any) -> list[int]:
    """Claim, and return the ids of the jobs handed out."""
    return [claim.job.id for claim in storage.claim(limit, now=now, **options).jobs]


def claim_one(storage: Storage, *, now: float = NOW) -> Claim:
    """Claim exactly one job."""
    [claim] = storage.claim(1, now=now).jobs
    return claim


def record(storage: Storage, job_id: int = 1) -> JobRecord:
    """Return the record of a job that must be there."""
    [found] = storage.get([job_id])
    assert found is not None, f"no job {job_id}"  # noqa: S101 - a test helper
    return found


def finish(storage: Storage, state: JobState, job_id: int = 1, *, now: float = NOW) -> None:
    """Add a job and take it to that final state."""
    storage.enqueue([a_job(job_id, run_at=now)], now=now)
    if state is JobState.CANCELLED:
        storage.cancel([job_id], now=now)
        return
    claims = storage.claim(1, now=now).jobs
    storage.settle([settlement(claims[0], state)], now=now)
