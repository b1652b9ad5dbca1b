"""What the machine orders (imperative); see ``core/events.py`` for the words."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from knock.core.handout import Dispatch
from knock.core.job import Death, Settlement

# Not frozen, as in ``core/job.py``: built in the hot path.


# --- commands: to the storage ---------------------------------------------------------------------


@dataclass(slots=True)
class ClaimJobs:
    """Claim up to ``limit`` due jobs, of each type in ``places`` at most that many.

    Answered by ``JobsClaimed`` or ``ClaimFailed`` with the same number. At most one is out.
    """

    claim: int
    limit: int
    places: Mapping[str, int]


@dataclass(slots=True)
class SettleJobs:
    """Apply these settlements in one transaction; answered by ``JobsSettled``/``SettleFailed``."""

    batch: int
    settlements: list[Settlement]


@dataclass(slots=True)
class CancelStored:
    """Cancel these jobs in the storage if they are still queued."""

    job_ids: Sequence[int]


# --- commands: to the pool ------------------------------------------------------------------------


class KillCause(StrEnum):
    """Why knock kills a worker."""

    TIMEOUT = "timeout"
    STALLED = "stall_timeout"
    DEADLINE = "deadline"
    MEMORY = "memory_limit"
    CANCELLED = "cancelled"
    RELEASED = "released"
    UNRESPONSIVE = "unresponsive"


@dataclass(slots=True)
class StartWorker:
    """Start a process for this slot; answered by ``WorkerReady`` or ``WorkerExited``."""

    worker: int
    generation: int


@dataclass(slots=True)
class StopWorker:
    """Let the worker end when it has done what it holds; answered by ``WorkerExited``."""

    worker: int
    generation: int


@dataclass(slots=True)
class KillWorker:
    """Kill the worker while it runs ``ticket``; None kills it whatever it does.

    The pool first takes all permits of the worker and reads its channel to the end. If the named
    ticket has ended by then, the permits are given back and ``KillDropped`` answers; else SIGKILL
    to its group, and ``WorkerExited`` answers. For a limit there is a moment in between, in which
    the worker writes where it is.
    """

    worker: int
    generation: int
    ticket: int | None
    cause: KillCause


@dataclass(slots=True)
class WarnWorker:
    """Tell the worker that its job has run for the soft limit, if it still runs ``ticket``."""

    worker: int
    generation: int
    ticket: int


@dataclass(slots=True)
class SendJobs:
    """Hand these to the worker, in this order, and give their permits."""

    worker: int
    generation: int
    jobs: list[Dispatch]


@dataclass(slots=True)
class ResumeType:
    """Tell a worker that it may run jobs of this type again that are sent from now on.

    After a failed attempt that was guarded a worker hands back what it holds of that type until it
    hears this.
    """

    worker: int
    generation: int
    job_type: str


@dataclass(slots=True)
class RevokePermits:
    """Take back these tickets if they have not started; answered by ``PermitsRevoked``."""

    worker: int
    generation: int
    tickets: Sequence[int]


@dataclass(slots=True)
class ReadLedgers:
    """Look at these workers' ledgers now; answered by ``LedgersRead``.

    The memory of those in ``weighed`` is looked at, too: worker to the limit in bytes, since
    more than that need not be known exactly.
    """

    workers: Sequence[int]
    weighed: Mapping[int, int] = field(default_factory=dict)


# --- commands: to the callers ---------------------------------------------------------------------


class NoticeName(StrEnum):
    """What the machine tells of itself; job events are told by the settlements."""

    BREAKER_OPENED = "breaker_opened"
    BREAKER_HALF_OPENED = "breaker_half_opened"
    BREAKER_CLOSED = "breaker_closed"
    WORKER_EXITED = "worker_exited"
    WORKER_RECYCLED = "worker_recycled"
    STOP_RULE_REACHED = "stop_rule_reached"


@dataclass(slots=True)
class Notice:
    """Something that a caller may want to hear of.

    Of a worker's end exactly one is told: that it was recycled (``detail`` says why), or that it
    exited.
    """

    name: NoticeName
    at: float
    job_type: str = ""
    worker: int | None = None
    death: Death | None = None
    detail: str = ""


@dataclass(slots=True)
class Publish:
    """Tell whoever listens."""

    notices: list[Notice] = field(default_factory=list)


@dataclass(slots=True)
class FailPool:
    """No worker can boot: give up. ``detail`` is the last one's traceback or stderr."""

    detail: str


@dataclass(slots=True)
class EndPool:
    """Stopped: no worker is left and every settlement was applied."""


Command = (
    ClaimJobs
    | SettleJobs
    | CancelStored
    | StartWorker
    | StopWorker
    | KillWorker
    | WarnWorker
    | SendJobs
    | ResumeType
    | RevokePermits
    | ReadLedgers
    | Publish
    | FailPool
    | EndPool
)
