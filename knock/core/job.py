"""What a job is, the states it can be in, and the table of moves between them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum, IntEnum, StrEnum
from types import MappingProxyType
from typing import NamedTuple

from knock.errors import InvalidTransitionError


class JobState(StrEnum):
    """The five stored states. *Delayed* and *retrying* are derived from QUEUED, never stored."""

    QUEUED = "queued"
    PROCESSING = "processing"
    COMPLETED = "completed"
    DEAD = "dead"
    CANCELLED = "cancelled"

    @property
    def is_final(self) -> bool:
        """Whether nothing but a person moves the job on from here."""
        return self in FINAL_STATES


FINAL_STATES = frozenset({JobState.COMPLETED, JobState.DEAD, JobState.CANCELLED})


class Trigger(StrEnum):
    """Why a job changes its state."""

    CLAIM = "claim"
    SUCCEED = "succeed"
    RETRY = "retry"
    RELEASE = "release"
    BURY = "bury"
    EXPIRE = "expire"
    CANCEL = "cancel"
    REQUEUE = "requeue"


TRANSITIONS: Mapping[tuple[JobState, Trigger], JobState] = MappingProxyType(
    {
        (JobState.QUEUED, Trigger.CLAIM): JobState.PROCESSING,
        (JobState.QUEUED, Trigger.CANCEL): JobState.CANCELLED,
        (JobState.QUEUED, Trigger.EXPIRE): JobState.DEAD,
        (JobState.PROCESSING, Trigger.SUCCEED): JobState.COMPLETED,
        (JobState.PROCESSING, Trigger.RETRY): JobState.QUEUED,
        (JobState.PROCESSING, Trigger.RELEASE): JobState.QUEUED,
        (JobState.PROCESSING, Trigger.BURY): JobState.DEAD,
        (JobState.PROCESSING, Trigger.EXPIRE): JobState.DEAD,
        (JobState.PROCESSING, Trigger.CANCEL): JobState.CANCELLED,
        (JobState.DEAD, Trigger.REQUEUE): JobState.QUEUED,
    }
)


def next_state(job_id: int, state: JobState, trigger: Trigger) -> JobState:
    """Return the state that ``trigger`` leads to.

    Raises:
        InvalidTransitionError: The table has no such move.
    """
    try:
        return TRANSITIONS[state, trigger]
    except KeyError:
        raise InvalidTransitionError(job_id, state.value, trigger.value) from None


class AttemptOutcome(StrEnum):
    """How one attempt ended. The last two charge nothing."""

    SUCCESS = "success"
    ERROR = "error"
    TIMEOUT = "timeout"
    CRASH = "crash"
    OUT_OF_MEMORY = "out_of_memory"
    LOST = "lost"
    CANCELLED = "cancelled"
    RELEASED = "released"


class DeathReason(StrEnum):
    """Why a job is in the dead-letter queue."""

    RETRIES_EXHAUSTED = "retries_exhausted"
    NOT_RETRYABLE = "not_retryable"
    DISCARDED = "discarded"
    EXPIRED = "expired"
    POISON = "poison"
    LOST = "lost"
    UNKNOWN_TYPE = "unknown_type"
    DEADLINE = "deadline"


class Priority(IntEnum):
    """Lower runs first; first in, first out inside one."""

    HIGH = 0
    NORMAL = 1
    LOW = 2


class Unset(Enum):
    """The value of an option that was not given, where None means "no limit"."""

    UNSET = "unset"

    def __repr__(self) -> str:
        return "UNSET"


UNSET = Unset.UNSET


@dataclass(frozen=True, slots=True, kw_only=True)
class JobOptions:
    """What one job overrides of its type's policy; shared by all jobs added alike.

    ``timeout`` in seconds, None for no limit; ``retry_attempts`` a count.
    """

    timeout: float | Unset | None = UNSET
    retry_attempts: int | Unset = UNSET


NO_OPTIONS = JobOptions()


# Not frozen, here and below: a frozen dataclass costs three times as much to build, and these are
# built for every job. Nothing changes one after it was made.
@dataclass(slots=True)
class JobSpec:
    """One request. Never changed after it was made; a retry is a copy with another ``run_at``.

    ``run_at`` (when it is due), ``created_at``, ``expires_at`` (it does not start from then on)
    and ``deadline`` (it does not run from then on) are UTC seconds; ``payload`` is opaque bytes.
    """

    id: int
    type: str
    payload: bytes
    priority: int
    run_at: float
    created_at: float
    expires_at: float | None = None
    key: str | None = None
    options: JobOptions = NO_OPTIONS
    deadline: float | None = None


class Spent(NamedTuple):
    """Charged attempts of a job, by budget. ``failures`` counts error and timeout together."""

    failures: int = 0
    crashes: int = 0
    out_of_memory: int = 0
    lost: int = 0


NOTHING_SPENT = Spent()


@dataclass(slots=True)
class Claim:
    """A job that a storage handed out, and the fencing token that it runs under."""

    job: JobSpec
    token: int
    spent: Spent = NOTHING_SPENT

    @property
    def attempt(self) -> int:
        """Number of the run that this claim is for, from 1."""
        return sum(self.spent) + 1


@dataclass(frozen=True, slots=True, kw_only=True)
class JobError:
    """An exception raised by a job, as data.

    ``pickled`` is the pickled exception, or None if it does not survive pickling.
    """

    type_name: str
    message: str
    traceback: str
    pickled: bytes | None = None


class Usage(NamedTuple):
    """What one attempt used.

    ``started_at`` in UTC seconds. ``peak_rss_bytes`` is the highest resident size during the
    attempt. ``is_exact`` is False where it was carried over from a neighbouring job, sampled,
    or could not be had (then 0). ``leftover_processes`` were alive after the attempt and killed;
    ``leftover_threads`` were not there before it, and went on. Both are known only of attempts
    that came back by themselves.
    """

    started_at: float
    wall_seconds: float
    cpu_seconds: float
    peak_rss_bytes: int
    rss_before_bytes: int
    is_exact: bool = True
    leftover_processes: int = 0
    leftover_threads: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Death:
    """How a worker process ended, as the kernel told it.

    Exactly one of ``exit_code`` and ``signal`` is set, unless the end could not be observed.
    ``cause`` is a sentence for people; ``stderr`` the tail of what the process wrote while booting
    or crashing, or when it was asked where it is before a kill (a faulthandler stack, if any).
    ``ordered``: why knock killed it, if it did: a ``KillCause`` value. ``is_infrastructure``: the
    process ended because a part of knock above it died, or could not be made for want of
    something, so no code of the user is to blame.
    """

    exit_code: int | None = None
    signal: int | None = None
    cause: str = ""
    stderr: str = ""
    pid: int | None = None
    peak_rss_bytes: int | None = None
    cpu_seconds: float | None = None
    out_of_memory: bool = False
    ordered: str = ""
    is_infrastructure: bool = False


class Output(NamedTuple):
    """The end of what an attempt wrote to standard output and error: up to 64 KiB of each."""

    stdout: str = ""
    stderr: str = ""


NO_OUTPUT = Output()


@dataclass(slots=True)
class Attempt:
    """One run of a job, ended. Never changed after it was made.

    ``queue_wait_seconds`` is from when the job was due to when it started. ``log`` are the last
    lines that a failed attempt logged: up to 50, and 16 Ki characters. ``output`` is empty if it
    was not captured.
    """

    number: int
    outcome: AttemptOutcome
    usage: Usage
    queue_wait_seconds: float
    worker_pid: int | None = None
    error: JobError | None = None
    death: Death | None = None
    log: tuple[str, ...] = ()
    output: Output = NO_OUTPUT

    @property
    def stdout(self) -> str:
        """The end of what it wrote to standard output."""
        return self.output.stdout

    @property
    def stderr(self) -> str:
        """The end of what it wrote to standard error."""
        return self.output.stderr


@dataclass(slots=True)
class Settlement:
    """What becomes of a claimed job; applied only if the job still runs under ``token``.

    ``state`` QUEUED with ``attempt`` is a retry due at ``run_at``; QUEUED without ``attempt`` is a
    release: the job returns to its old place and nothing is charged. ``attempt`` None with a final
    state means that it ended without running.
    """

    job_id: int
    token: int
    state: JobState
    attempt: Attempt | None = None
    spent: Spent | None = None
    run_at: float | None = None
    result: bytes | None = None
    reason: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class JobRecord:
    """A stored job as seen from outside, at one moment.

    ``result`` is the pickled value of a completed job. ``reason`` says why a job is dead
    (a ``DeathReason`` value, or the text given to ``knock.Discard``). ``run_at`` is when it was
    last due; ``finished_at`` when it reached a final state.
    """

    spec: JobSpec
    state: JobState
    attempts: tuple[Attempt, ...] = field(default=())
    spent: Spent = NOTHING_SPENT
    run_at: float = 0.0
    result: bytes | None = None
    reason: str | None = None
    finished_at: float | None = None
