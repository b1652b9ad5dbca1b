"""Outcomes and reports with defaults."""

import pickle
import signal

from knock.core.job import (
    Attempt,
    AttemptOutcome,
    Death,
    JobError,
    JobRecord,
    JobSpec,
    JobState,
    Usage,
)
from knock.outcome import Outcome
from knock.report import PoolReport
from knock.resources import HostFacts
from knock.supervisor.facts import RunFacts

SEGFAULT = Death(
    signal=signal.SIGSEGV,
    cause="killed by SIGSEGV",
    stderr="Fatal Python error: Segmentation fault",
    pid=77,
    peak_rss_bytes=512 << 20,
)
HOST = HostFacts(
    cpu_count=8,
    physical_cpu_count=4,
    load_average=(1.0, 2.0, 3.0),
    memory_total_bytes=16 << 30,
    memory_available_bytes=8 << 30,
    platform="Linux",
    python="CPython 3.11.7",
)


def an_error(exc, pickled=None):
    return JobError(
        type_name=type(exc).__name__,
        message=str(exc),
        traceback=f"Traceback (most recent call last):\n  ...\n{exc!r}",
        pickled=pickle.dumps(exc) if pickled is None else pickled,
    )


def an_attempt(outcome=AttemptOutcome.SUCCESS, *, wall=0.5, cpu=0.25, wait=0.125, **changes):
    usage = changes.pop("usage", Usage(1000.0, wall, cpu, 200 << 20, 100 << 20))
    return Attempt(
        number=1,
        outcome=outcome,
        usage=usage,
        queue_wait_seconds=wait,
        worker_pid=changes.pop("worker_pid", 42),
        **changes,
    )


def a_record(state=JobState.COMPLETED, *attempts, job_id=7, job_type="render", value=1, **changes):
    spec = JobSpec(job_id, job_type, b"", 1, 0.0, 0.0)
    if state is JobState.COMPLETED:
        attempts = attempts or (an_attempt(),)
        changes.setdefault("result", pickle.dumps(value))
    return JobRecord(spec=spec, state=state, attempts=attempts, **changes)


def a_dead(outcome, *, reason="retries_exhausted", **changes):
    """Return the record of a job whose last attempt ended so."""
    attempt = {k: changes.pop(k) for k in ("error", "death") if k in changes}
    return a_record(JobState.DEAD, an_attempt(outcome, **attempt), reason=reason, **changes)


def a_report(*records, host=HOST, items=None, **facts):
    outcomes = [
        Outcome(index, record.spec.id if items is None else items[index], record)
        for index, record in enumerate(records)
    ]
    fields = {"started_at": 1000.0, "ended_at": 1010.0, "workers": 2, "busy_seconds": 15.0}
    return PoolReport(outcomes, RunFacts(**(fields | facts)), host)
