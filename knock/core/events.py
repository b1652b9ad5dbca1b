"""What the machine hears (past tense); what it orders is in ``core/commands.py``.

All are batches where more than one can come at once, so that purity costs no speed. A *worker* is
a slot number from 0; its *generation* counts the processes that have filled the slot, so that
nothing said about one process is ever taken for its successor. A *ticket* names one handing-out
of one job to one worker; tickets only rise.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from knock.core.handout import AttemptEnded
from knock.core.job import NO_OUTPUT, Claim, Death, Output
from knock.core.policy import JobPolicy

# Not frozen, as in ``core/job.py``: built in the hot path.


# --- events: from the callers ---------------------------------------------------------------------


@dataclass(slots=True)
class JobsAdded:
    """The storage holds new jobs.

    ``priority`` is the most urgent among them, ``run_at`` the earliest due time, ``expires_at``
    the earliest expiry.
    """

    priority: int
    run_at: float
    expires_at: float | None = None


@dataclass(slots=True)
class CancelRequested:
    """Someone wants these jobs not to run, or to stop running."""

    job_ids: Sequence[int]


@dataclass(slots=True)
class PauseRequested:
    """Start nothing new; what runs goes on; what waits in windows goes back."""


@dataclass(slots=True)
class ResumeRequested:
    """Start jobs again."""


@dataclass(slots=True)
class StopRequested:
    """Start nothing new and end.

    Running jobs may finish until ``deadline`` (UTC seconds; None for ever), then are killed and
    released uncharged.
    """

    deadline: float | None


@dataclass(slots=True)
class PolicySet:
    """A job type is known from now on, or has another policy."""

    job_type: str
    policy: JobPolicy


# --- events: from the storage ---------------------------------------------------------------------


@dataclass(slots=True)
class JobsClaimed:
    """The answer to ``ClaimJobs``.

    ``next_at`` is the earliest future moment at which a waiting job becomes due or expires, or
    None. ``has_more`` says that due jobs were left because ``limit`` or ``places`` ran out.
    """

    claim: int
    jobs: list[Claim]
    has_more: bool = False
    next_at: float | None = None


@dataclass(slots=True)
class ClaimFailed:
    """The storage could not answer ``ClaimJobs`` number ``claim``; nothing was claimed."""

    claim: int


@dataclass(slots=True)
class JobsSettled:
    """The storage applied batch ``batch``; the jobs in ``stale`` no longer ran that token."""

    batch: int
    stale: Sequence[int] = ()


@dataclass(slots=True)
class SettleFailed:
    """The storage could not apply batch ``batch``; nothing of it was applied."""

    batch: int


# --- events: from the pool ------------------------------------------------------------------------


@dataclass(slots=True)
class WorkerReady:
    """A worker process has booted and takes jobs."""

    worker: int
    generation: int
    pid: int | None = None


@dataclass(slots=True)
class WorkerBootFailed:
    """A worker told that it cannot boot; ``detail`` is its traceback. Its exit follows."""

    worker: int
    generation: int
    detail: str


@dataclass(slots=True)
class WorkerWorn:
    """A worker asks to be replaced after the job that it runs, if it runs one; ``reason`` is told.

    From here on it starts nothing: it hands back what it still takes.
    """

    worker: int
    generation: int
    reason: str


@dataclass(slots=True)
class AttemptsEnded:
    """Answers of one worker, in the order in which the jobs ended."""

    worker: int
    generation: int
    ended: list[AttemptEnded]


@dataclass(slots=True)
class JobsHandedBack:
    """A worker gave these back unstarted, since one of their type had failed before them."""

    worker: int
    generation: int
    tickets: Sequence[int]


@dataclass(slots=True)
class PermitsRevoked:
    """The answer to ``RevokePermits``: these had not started and now cannot."""

    worker: int
    generation: int
    tickets: Sequence[int]


@dataclass(slots=True)
class KillDropped:
    """The job that ``KillWorker`` named had ended before; its ``AttemptEnded`` came before this."""

    worker: int
    generation: int
    ticket: int


@dataclass(slots=True)
class WorkerExited:
    """A worker process is gone, and everything that it sent has been told before.

    ``unstarted`` are the tickets whose permits were still there, and those sent between the death
    and its being told; what remains of the worker's window, at most one ticket, had been taken and
    is the one to judge. ``started_at`` is when it started (UTC seconds), if known; ``log`` are the
    last lines that it logged, ``output`` is what it wrote.
    """

    worker: int
    generation: int
    death: Death
    unstarted: list[int] = field(default_factory=list)
    started_at: float | None = None
    log: tuple[str, ...] = ()
    output: Output = NO_OUTPUT


@dataclass(slots=True)
class Reading:
    """What a worker's ledger and permit pipe show at one moment.

    ``ticket`` is the job that the ledger names as running (0: none), ``started_at`` its start and
    ``progress_at`` its last word of progress (0.0: none) in UTC seconds. ``permits_left`` counts
    the permits that the worker has not taken. ``rss_bytes`` is the resident memory of the process
    and its descendants, None if it was not looked at, or cannot be. ``sent_at`` is when it last
    took in something of what it was sent (UTC seconds; 0.0: never).
    """

    ticket: int
    started_at: float
    permits_left: int
    progress_at: float = 0.0
    rss_bytes: int | None = None
    sent_at: float = 0.0


@dataclass(slots=True)
class LedgersRead:
    """The answer to ``ReadLedgers``: a reading per worker that still lives."""

    readings: Mapping[int, tuple[int, Reading]]
    """Worker to (generation, reading)."""


# --- events: from the clock -----------------------------------------------------------------------


@dataclass(slots=True)
class TimePassed:
    """``next_deadline`` was reached, or may have been."""


@dataclass(slots=True)
class ClockStopped:
    """Until now the supervisor stood still for so many seconds, and its workers may have, too.

    No limit of what runs counts them. A deadline is an instant, and is not put off.
    """

    seconds: float


Event = (
    JobsAdded
    | CancelRequested
    | PauseRequested
    | ResumeRequested
    | StopRequested
    | PolicySet
    | JobsClaimed
    | ClaimFailed
    | JobsSettled
    | SettleFailed
    | WorkerReady
    | WorkerBootFailed
    | WorkerWorn
    | AttemptsEnded
    | JobsHandedBack
    | PermitsRevoked
    | KillDropped
    | WorkerExited
    | LedgersRead
    | TimePassed
    | ClockStopped
)
