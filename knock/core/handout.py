"""What goes to a worker and comes back from it: the part of the events that workers know.

In a module of its own so that a worker need not load all the others: each dataclass takes a good
part of a millisecond to make, and a nursery is started for each pool.
"""

from dataclasses import dataclass

from knock.core.job import NO_OUTPUT, AttemptOutcome, JobError, JobSpec, Output, Usage

# Not frozen, as in ``core/job.py``: built in the hot path.


@dataclass(slots=True)
class Dispatch:
    """One job handed to a worker under a ticket.

    ``is_guarded``: something counts the failures of its type, a breaker or a stop rule, so after
    one the worker hands back what it holds of the type.
    """

    ticket: int
    job: JobSpec
    attempt: int
    is_guarded: bool = True


@dataclass(slots=True)
class AttemptEnded:
    """One job came back from its worker by itself: it returned or raised.

    ``outcome`` is SUCCESS, ERROR, TIMEOUT (it raised since it was warned) or OUT_OF_MEMORY (it
    raised since it got no more).
    ``log`` are the last lines that it logged, if it raised; ``output`` what it wrote.
    """

    ticket: int
    outcome: AttemptOutcome
    usage: Usage
    result: bytes | None = None
    error: JobError | None = None
    retryable: bool = True
    retry_after: float | None = None
    discard: str | None = None
    log: tuple[str, ...] = ()
    output: Output = NO_OUTPUT
