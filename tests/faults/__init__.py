"""The catalogue of faults: what goes wrong, what knock does, and which test holds it to that.

The keys are those of ``docs/faults.md``, whose tables are made from these: W for a worker and its
job, S for a supervisor, C for a caller, B for retries, breakers and dead letters.
"""

from tests.faults import breaker, client, supervisor, worker

GROUPS = {
    "Workers and jobs": worker.FAULTS,
    "The supervisor": supervisor.FAULTS,
    "Callers": client.FAULTS,
    "Retries, circuit breakers, dead letters": breaker.FAULTS,
}
