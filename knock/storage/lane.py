"""A stored job in memory, and the lane in which it waits."""

from collections import deque
from heapq import heapify, heappop, heappush

from knock.core.job import NOTHING_SPENT, Attempt, JobRecord, JobSpec, JobState, Spent

QUEUED = JobState.QUEUED

# A lane or agenda is swept once this many of its items, and half of all, are tombstones.
SWEEP_MINIMUM = 64

# Priority, run_at and id of the job that is next in a lane, and the lane's number.
Head = tuple[int, float, int, int]


class Entry:
    """A stored job.

    ``since`` is when it came into its state. ``lane`` is where it waits or was claimed from; None
    while it is not due. An entry that stops waiting without being claimed stays where it waited,
    as a tombstone; it is never QUEUED again (a requeue makes a new entry).
    """

    __slots__ = (
        "attempts",
        "lane",
        "reason",
        "result",
        "since",
        "spec",
        "spent",
        "state",
        "supervisor",
        "token",
    )

    def __init__(self, spec: JobSpec, since: float) -> None:
        self.spec = spec
        self.since = since
        self.state = QUEUED
        self.token = 0
        self.spent: Spent = NOTHING_SPENT
        self.attempts: tuple[Attempt, ...] = ()
        self.lane: Lane | None = None
        self.result: bytes | None = None
        self.reason: str | None = None
        self.supervisor = ""

    def __lt__(self, other: object) -> bool:
        # Items of a heap tie only with the tombstone of a purged job that had the same id.
        return False

    def record(self) -> JobRecord:
        """Return what the world may see of it."""
        return JobRecord(
            spec=self.spec,
            state=self.state,
            attempts=self.attempts,
            spent=self.spent,
            run_at=self.spec.run_at,
            result=self.result,
            reason=self.reason,
            finished_at=self.since if self.state.is_final else None,
        )


class Lane:
    """The due jobs of one type and priority, ordered by ``(run_at, id)``.

    Most come in that order and wait in ``fifo``: O(1) to add and to take. The rest (retried,
    released, once delayed) wait in the heap ``late``. ``head`` is what the lineup knows of the
    next job: a lower bound, since tombstones are found only when met. None if the lane is empty.
    """

    __slots__ = (
        "fifo",
        "head",
        "is_parked",
        "job_type",
        "late",
        "number",
        "priority",
        "tombstones",
    )

    def __init__(self, number: int, job_type: str, priority: int) -> None:
        self.number = number
        self.job_type = job_type
        self.priority = priority
        self.fifo: deque[Entry] = deque()
        self.late: list[tuple[float, int, Entry]] = []
        self.head: Head | None = None
        self.is_parked = False
        self.tombstones = 0

    def add(self, entry: Entry) -> Head | None:
        """Let it wait here; return the new ``head`` if it is the next of the lane now."""
        spec = entry.spec
        run_at = spec.run_at
        fifo = self.fifo
        entry.lane = self
        if fifo and not _is_in_order(fifo[-1].spec, spec):
            heappush(self.late, (run_at, spec.id, entry))
        else:
            fifo.append(entry)
        head = self.head
        if head is not None and (head[1], head[2]) <= (run_at, spec.id):
            return None
        self.head = head = (self.priority, run_at, spec.id, self.number)
        return head

    def take(self, limit: int, bound: Head | None) -> list[Entry]:
        """Remove and return up to ``limit`` jobs in order, none that comes after ``bound``."""
        if bound is not None and bound[0] > self.priority:
            bound = None
        fifo = self.fifo
        if bound is None and not self.late and not self.tombstones:
            return [fifo.popleft() for _ in range(min(limit, len(fifo)))]
        taken: list[Entry] = []
        while len(taken) < limit and (entry := self._first()) is not None:
            if bound is not None and _is_after(entry.spec, bound):
                break
            if fifo and fifo[0] is entry:
                fifo.popleft()
            else:
                heappop(self.late)
            taken.append(entry)
        return taken

    def refresh_head(self) -> Head | None:
        """Find out which job is next, and return it as the new ``head``."""
        entry = self._first()
        if entry is None:
            self.head = None
        else:
            self.head = (self.priority, entry.spec.run_at, entry.spec.id, self.number)
        return self.head

    def bury_one(self) -> None:
        """One of the jobs here became a tombstone."""
        self.tombstones += 1
        size = len(self.fifo) + len(self.late)
        if self.tombstones > SWEEP_MINIMUM and 2 * self.tombstones > size:
            self.fifo = deque(entry for entry in self.fifo if entry.state is QUEUED)
            self.late = [item for item in self.late if item[2].state is QUEUED]
            heapify(self.late)
            self.tombstones = 0

    def _first(self) -> Entry | None:
        fifo, late = self.fifo, self.late
        while fifo and fifo[0].state is not QUEUED:
            fifo.popleft()
            self.tombstones -= 1
        while late and late[0][2].state is not QUEUED:
            heappop(late)
            self.tombstones -= 1
        if not late:
            return fifo[0] if fifo else None
        if fifo and _is_in_order(fifo[0].spec, late[0][2].spec):
            return fifo[0]
        return late[0][2]


def _is_after(spec: JobSpec, bound: Head) -> bool:
    if spec.run_at == bound[1]:
        return spec.id > bound[2]
    return spec.run_at > bound[1]


def _is_in_order(first: JobSpec, second: JobSpec) -> bool:
    if first.run_at == second.run_at:
        return first.id < second.id
    return first.run_at < second.run_at
