"""What callers and a supervisor say to each other: plain, picklable data, no callbacks.

Every message is a dataclass; *inbound* ones go to the supervisor, *outbound* ones to its caller.
A ``request`` number asks for a ``Reply`` with the same number.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from knock.core.job import Attempt, Death, JobRecord, JobSpec
from knock.core.policy import JobPolicy
from knock.protocol.logline import LogLine
from knock.supervisor.facts import RunFacts

# --- inbound --------------------------------------------------------------------------------------


@dataclass(slots=True)
class Enqueue:
    """Store these jobs. The definitions reach all workers before any of the jobs does.

    Replied to with the list of ids if ``request`` is not None.
    """

    request: int | None
    jobs: list[JobSpec]
    definitions: tuple[bytes, ...] = ()


@dataclass(slots=True)
class Call:
    """Ask for something now; replied to with the value, or the error.

    Verbs: ``get(job_ids) -> list[JobRecord | None]``, ``find(**filters) -> list[JobRecord]``,
    ``counts() -> Counts``, ``requeue(job_ids) -> list[int]``, ``purge(job_ids, **filters) -> int``,
    ``pids() -> dict[int, int]``, ``facts() -> RunFacts``, and, all of one moment,
    ``snapshot() -> tuple[SupervisorStats, Counts, dict[str, BreakerState]]``.
    """

    request: int
    verb: str
    args: tuple[Any, ...] = ()
    kwargs: Mapping[str, Any] = field(default_factory=dict)


@dataclass(slots=True)
class Watch:
    """Reply with the job's ``JobRecord`` once it is in a final state, at once if it is.

    Replied to with ``JobNotFoundError`` for an unknown job.
    """

    request: int
    job_id: int


@dataclass(slots=True)
class Cancel:
    """End the job, killing it if it runs; reply once it has ended, with whether that was by this.

    False if it had ended before, or if its result came first. Replied to with
    ``JobNotFoundError`` for an unknown job.
    """

    request: int
    job_id: int


@dataclass(slots=True)
class WatchIdle:
    """Reply with None once no job is queued (delayed and retrying included) or processing."""

    request: int


@dataclass(slots=True)
class Unwatch:
    """Nobody waits for the reply to this request any more."""

    request: int


@dataclass(slots=True)
class Register:
    """A job type has this processor and policy from now on."""

    job_type: str
    policy: JobPolicy
    definition: bytes | None = None


@dataclass(slots=True)
class Pause:
    """Start nothing new until ``Resume``."""


@dataclass(slots=True)
class Resume:
    """Start jobs again."""


@dataclass(slots=True)
class Stop:
    """Start nothing new, let running jobs finish until ``deadline`` (UTC seconds; None for ever).

    What runs then is killed and released uncharged. ``Ended`` follows. May be sent again with an
    earlier deadline; one that has passed kills at once.
    """

    deadline: float | None


@dataclass(slots=True)
class Subscribe:
    """Say what is to be sent unasked: ``Finished`` records, and ``Events`` of these names."""

    finished: bool
    events: frozenset[str]


@dataclass(slots=True)
class Consumed:
    """So many of the ``Finished`` records were taken by the caller: there is room again."""

    records: int


Inbound = (
    Enqueue
    | Call
    | Watch
    | Cancel
    | WatchIdle
    | Unwatch
    | Register
    | Pause
    | Resume
    | Stop
    | Subscribe
    | Consumed
)

# --- outbound -------------------------------------------------------------------------------------


@dataclass(slots=True)
class Reply:
    """The answer to a request: ``value``, or ``error`` to be raised."""

    request: int
    value: Any = None
    error: Exception | None = None


@dataclass(slots=True)
class Finished:
    """Jobs that reached a final state, in the order in which the storage was told."""

    records: list[JobRecord]


@dataclass(slots=True)
class QueueEvent:
    """Something that happened, told after it was stored.

    ``name``: ``completed``, ``retrying`` (``run_at`` says when), ``dead`` (``reason``),
    ``cancelled``, ``breaker_opened``, ``breaker_half_opened``, ``breaker_closed``,
    ``worker_exited`` (``death``), ``worker_recycled`` (``detail`` says why), ``stop_rule_reached``.
    ``at`` in UTC seconds. ``attempt`` is the run that led to it, if there was one.
    """

    name: str
    at: float
    job_id: int | None = None
    job_type: str = ""
    attempt: Attempt | None = None
    run_at: float | None = None
    reason: str | None = None
    worker: int | None = None
    death: Death | None = None
    detail: str = ""


EVENT_NAMES = frozenset(
    {
        "completed",
        "retrying",
        "dead",
        "cancelled",
        "breaker_opened",
        "breaker_half_opened",
        "breaker_closed",
        "worker_exited",
        "worker_recycled",
        "stop_rule_reached",
    }
)


@dataclass(slots=True)
class Events:
    """Events that the caller has subscribed to, in order."""

    events: list[QueueEvent]


class LogEntry(NamedTuple):
    """Something that was logged in a worker; the job is None outside of one.

    ``worker_pid`` is None if it was not known yet.
    """

    line: LogLine
    worker_pid: int | None
    job_id: int | None = None
    job_type: str | None = None
    attempt: int | None = None


@dataclass(slots=True)
class Logged:
    """What was logged in workers. ``dropped`` counts entries left out among or after these."""

    entries: list[LogEntry]
    dropped: int = 0


@dataclass(slots=True)
class Progressed:
    """How far a running job has come."""

    job_id: int
    done: float
    total: float | None


@dataclass(slots=True)
class Failed:
    """The supervisor cannot go on; nothing comes after this. ``error`` says why."""

    error: Exception


@dataclass(frozen=True, slots=True, kw_only=True)
class SupervisorStats:
    """What a supervisor counts since it began. ``failed`` are jobs that ended dead.

    ``retrying`` are jobs that wait for another attempt. ``in_flight`` are jobs that are claimed.
    """

    completed: int = 0
    failed: int = 0
    cancelled: int = 0
    added: int = 0
    retrying: int = 0
    in_flight: int = 0
    workers: int = 0
    is_paused: bool = False


@dataclass(slots=True)
class Ended:
    """The supervisor has stopped; nothing comes after this.

    ``storage`` is the pickled storage where it lived in another process and only in memory.
    """

    facts: RunFacts
    stats: SupervisorStats
    storage: bytes | None = None


Outbound = Reply | Finished | Events | Logged | Progressed | Failed | Ended
