"""One worker slot: the process that fills it, and the window of jobs that it holds."""

from collections import deque
from dataclasses import dataclass
from enum import Enum, auto
from math import inf
from typing import NamedTuple

from knock.core.commands import (
    KillCause,
)
from knock.core.job import Claim
from knock.core.kind import Kind


class Phase(Enum):
    """What the process of a slot is doing."""

    EMPTY = auto()  # none; one is started at ``start_at``
    BOOTING = auto()
    READY = auto()
    RETIRING = auto()  # as READY, but is given nothing more, and ends when it holds nothing
    STOPPING = auto()  # told to end when it is through
    KILLING = auto()
    GONE = auto()  # none, and none will be


# Here jobs run, and can be taken back or killed.
AT_WORK = (Phase.READY, Phase.RETIRING)


class Limits(NamedTuple):
    """What one process may come to: jobs handed to it, kept bytes, and when it is too old."""

    jobs: float = inf
    memory_bytes: float = inf
    age_at: float = inf


NO_LIMITS = Limits()


# Not frozen: it changes hands. ``eq=False``: a flight is itself and nothing else.
@dataclass(slots=True, eq=False)
class Flight:
    """One claimed job on its way: waiting in the machine (ticket 0) or in a worker's window.

    ``is_taken``: its permit was wanted back and was not there, so it has started. ``is_warned``:
    its worker was told that it has run for the soft limit.
    """

    claim: Claim
    kind: Kind
    ticket: int = 0
    epoch: int = 0
    cost: float = 0.0
    sent_at: float = 0.0
    is_guarded: bool = False
    is_cancelled: bool = False
    is_taken: bool = False
    is_warned: bool = False

    @property
    def order(self) -> tuple[int, float, int]:
        """The order in which jobs start."""
        job = self.claim.job
        return job.priority, job.run_at, job.id


class Slot:
    """A worker slot. ``window`` maps ticket to flight, in the order of the permits.

    The first of the window is its *head*: it runs, or will next. ``revoking`` are the tickets asked
    back, one list for each answer that is due. ``wake_at`` is when somebody should look at the
    head's clock, ``head_at`` since when it is the head, ``late_at`` when it was first found to have
    not begun for too long. ``stuck``: the head takes much longer than expected, so nothing is sent
    behind it.
    ``cpu_seconds`` is what the ended attempts used. ``is_used``: the process was given a job;
    ``early_deaths`` counts the processes in a row that were ready and ended before that,
    ``failed_boots`` those that never were ready. ``worn`` is why the process asked to be replaced,
    ``retires_for`` why it is going to be; ``is_renewing`` until its successor is ready.

    ``handed`` counts the jobs handed to the process that did not come back unrun, and ``quota`` is
    how many that may be. ``kept_bytes`` is the resident size that it was last found to keep. At
    its ``soft`` limits it may retire, at the ``hard`` ones it must; ``old_at`` is the next moment
    at which its age is one of these.
    """

    __slots__ = (
        "boot_detail",
        "cpu_seconds",
        "early_deaths",
        "failed_boots",
        "generation",
        "handed",
        "hard",
        "head_at",
        "held",
        "is_looked_at",
        "is_renewing",
        "is_used",
        "kept_bytes",
        "kill",
        "kinds",
        "late_at",
        "load",
        "number",
        "old_at",
        "payload_bytes",
        "phase",
        "pid",
        "quota",
        "retires_for",
        "revoking",
        "shown",
        "soft",
        "start_at",
        "stuck",
        "taken",
        "wake_at",
        "window",
        "worn",
    )

    def __init__(self, number: int) -> None:
        self.number = number
        self.generation = 0
        self.phase = Phase.EMPTY
        self.start_at = 0.0
        self.early_deaths = 0
        self.failed_boots = 0
        self.is_renewing = False
        self.reset()

    def reset(self) -> None:
        """Forget the process that is gone."""
        self.pid: int | None = None
        self.window: dict[int, Flight] = {}
        self.load = 0.0
        self.payload_bytes = 0
        self.kinds: dict[Kind, int] = {}
        self.held: set[Kind] = set()
        self.kill: tuple[int | None, KillCause] | None = None
        self.revoking: deque[list[int]] = deque()
        self.stuck = False
        self.taken: tuple[int, float] | None = None
        self.shown: tuple[int, float] | None = None
        self.is_looked_at = False
        self.is_used = False
        self.wake_at: float | None = None
        self.head_at = 0.0
        self.late_at: float | None = None
        self.boot_detail = ""
        self.cpu_seconds = 0.0
        self.worn: str | None = None
        self.retires_for: str | None = None
        self.handed = 0
        self.kept_bytes = 0
        self.restrict(NO_LIMITS, NO_LIMITS)

    def restrict(self, soft: Limits, hard: Limits) -> None:
        """Give the process these limits."""
        self.soft, self.hard = soft, hard
        self.quota = soft.jobs
        self.old_at = soft.age_at

    @property
    def takes_jobs(self) -> bool:
        """Whether jobs may be sent to it now."""
        return (
            self.phase is Phase.READY
            and not self.stuck
            and not self.revoking
            and not self.kill
            and self.handed < self.quota
        )

    @property
    def is_idle(self) -> bool:
        """Whether it takes jobs and has none."""
        return not self.window and self.takes_jobs

    @property
    def head(self) -> Flight | None:
        """The flight that runs, or will next."""
        for flight in self.window.values():
            return flight
        return None

    @property
    def threads(self) -> int:
        """How many slots of the pool its jobs take: nothing shares a window with a wide one."""
        head = self.head
        return 0 if head is None else head.kind.policy.threads

    def waiting(self) -> list[Flight]:
        """The flights behind the head that have not started, in order."""
        flights = iter(self.window.values())
        next(flights, None)
        return [flight for flight in flights if not flight.is_taken]

    def put(self, flight: Flight) -> None:
        """Add a flight at the end of the window."""
        self.window[flight.ticket] = flight
        self.handed += 1
        self.is_used = True
        self.early_deaths = 0
        self.is_looked_at = False
        self.load += flight.cost
        self.payload_bytes += len(flight.claim.job.payload)
        kind = flight.kind
        count = self.kinds.get(kind, 0)
        self.kinds[kind] = count + 1
        kind.sent += 1
        if not count:
            kind.holders += 1

    def pop(self, ticket: int) -> Flight | None:
        """Take a flight out of the window; None if it is not there."""
        flight = self.window.pop(ticket, None)
        if flight is None:
            return None
        self.load = self.load - flight.cost if self.window else 0.0
        self.payload_bytes -= len(flight.claim.job.payload)
        kind = flight.kind
        kind.sent -= 1
        count = self.kinds[kind] - 1
        if count:
            self.kinds[kind] = count
        else:
            del self.kinds[kind]
            kind.holders -= 1
        return flight
