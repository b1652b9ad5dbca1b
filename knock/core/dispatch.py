"""Which claimed job goes to which worker, and which is taken back from one."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum, auto

from knock.core.admission import Demand, Room, admits
from knock.core.commands import (
    Command,
    ResumeType,
    RevokePermits,
    SendJobs,
)
from knock.core.handout import Dispatch
from knock.core.job import Priority
from knock.core.kind import MAX_WINDOW, WINDOW_SECONDS, Kind
from knock.core.limit import START_SECONDS, first_look
from knock.core.slot import AT_WORK, Flight, Slot
from knock.core.width import Waiting, Width, has_slots

# What may wait behind a running job, in bytes of payload.
WINDOW_BYTES = 1 << 20
# A head that runs this long loses what waits behind it: others may be free sooner.
PATIENCE_SECONDS = 0.02
# Less work than this behind a head is not worth the way to an idle worker.
STEAL_SECONDS = 0.0005

_Settle = Callable[[Flight], None]


class _Fit(Enum):
    """Whether a flight can go to a slot now."""

    FITS = auto()
    SLOT_FULL = auto()
    HELD_BACK = auto()


@dataclass(slots=True)
class _Batch:
    """What goes to one slot in this turn."""

    flights: list[Flight] = field(default_factory=list)
    resumed: list[str] = field(default_factory=list)


@dataclass(slots=True)
class _Turn:
    """One sharing out.

    ``queue`` has the next job last; ``kept`` are those that have to wait. ``urgent`` is the
    priority of the most urgent job that waits in a window and could go elsewhere; None until
    somebody asks. ``free`` counts the slots that no job takes; None where that does not matter.
    """

    now: float
    best: int
    queue: list[Flight]
    expire: _Settle
    free: int | None
    urgent: int | None = None
    kept: list[Flight] = field(default_factory=list)
    batches: dict[Slot, _Batch] = field(default_factory=dict)


class Dispatcher:
    """Claimed jobs that no worker holds yet, and the rules by which workers get them.

    Rule U: no job is ahead of a more urgent one: before an urgent job is sent, less urgent ones
            that have not started are taken back from the windows.
    Rule R: nothing less urgent is sent while a more urgent job waits in a window and could go to
            another worker.

    Rules W and K, for jobs that take several slots: see ``core/width.py``.
    """

    def __init__(
        self, slots: Sequence[Slot], *, has_stop_rule: bool, wide: Sequence[Kind] = ()
    ) -> None:
        self._slots = slots
        self._width = Width(slots, wide)
        self._has_stop_rule = has_stop_rule
        self._last_ticket = 0
        self.ready: list[Flight] = []
        self.waiting: Waiting | None = None
        self._by_priority: dict[int, int] = {}

    def add(self, flights: Iterable[Flight]) -> None:
        """Take flights into the order of those that wait for a worker."""
        was_empty = not self.ready
        self.ready.extend(flights)
        if not was_empty:
            self.ready.sort(key=_order)

    def add_returned(self, flights: Iterable[Flight]) -> None:
        """Take flights that come back from windows, in any order."""
        self.ready.extend(flights)
        self.ready.sort(key=_order)

    def clear(self) -> list[Flight]:
        """Give up all that waits here."""
        flights, self.ready = self.ready, []
        return flights

    def pop(self, slot: Slot, ticket: int) -> Flight | None:
        """Take a flight out of a slot's window."""
        flight = slot.pop(ticket)
        if flight is not None:
            self._by_priority[flight.claim.job.priority] -= 1
        return flight

    def pop_all(self, slot: Slot, tickets: Iterable[int]) -> list[Flight]:
        """Take those of these flights out of a slot's window that are there."""
        return [flight for t in tickets if (flight := self.pop(slot, t)) is not None]

    @property
    def least_urgent(self) -> int | None:
        """The least urgent priority in the windows and here; None if there is nothing."""
        priorities = [priority for priority, count in self._by_priority.items() if count]
        if self.ready:
            priorities.append(self.ready[-1].claim.job.priority)
        return max(priorities, default=None)

    def room(self, held_back: int) -> int:
        """How many more jobs are worth claiming now.

        ``held_back`` of those that wait here have no place: they are in nobody's way.
        """
        typical = self._typical_cost()
        room = 0
        for slot in self._width.open_slots() if self._width.is_tight else self._slots:
            if slot.takes_jobs:
                free = max(int((WINDOW_SECONDS - slot.load) / typical), 0 if slot.window else 1)
                room += int(min(free, slot.quota - slot.handed))
        most = MAX_WINDOW * len(self._slots)
        here = len(self.ready) - held_back
        waiting = self.waiting
        if waiting is not None and here < most:
            # What is behind it waits anyway; what is ahead of it shall come.
            here = max(0, waiting.ahead - held_back)
        return min(room, most) - here

    def find_waiting(self, now: float) -> None:
        """See for which job slots are kept now, once this turn has sent what it can."""
        self.waiting = self._width.waits_for(self.ready, now) if self._width.is_tight else None

    def behind(self) -> Mapping[Kind, int]:
        """Count, by type, the job for which slots are kept, and those behind it."""
        if self.waiting is None:
            return {}
        return Counter(flight.kind for flight in self.ready[self.waiting.ahead :])

    def _typical_cost(self) -> float:
        for slot in self._slots:
            head = slot.head
            if head is not None:
                return head.kind.cost
        return WINDOW_SECONDS if not self.ready else self.ready[0].kind.cost

    def assign(self, now: float, expire: _Settle) -> list[Command]:
        """Send what can be sent; take back what has to be. ``expire`` buries a job too old to run.

        The commands come in the order in which they must be obeyed.
        """
        if not self.ready:
            return self._steal(now)
        if len(self._by_priority) > 1 or self.ready[0].claim.job.priority not in self._by_priority:
            revoke, is_forbidden = self._restore_order(now)
            if revoke:
                return revoke
            if is_forbidden:
                return self._steal(now)
        slots = sorted((slot for slot in self._slots if slot.takes_jobs), key=_load)
        if not slots:
            return []
        return self._send(self._share_out(slots, now, expire))

    def _restore_order(self, now: float) -> tuple[list[Command], bool]:
        """Rules U and R: what to take back first, and whether to wait."""
        self._by_priority = {p: n for p, n in self._by_priority.items() if n}
        first = self.ready[0].claim.job.priority
        if not any(priority != first for priority in self._by_priority):
            return [], False
        commands: list[Command] = []
        is_forbidden = False
        for slot in self._slots:
            waiting = slot.waiting()
            if not waiting:
                continue
            is_forbidden |= any(
                f.claim.job.priority < first and f.kind.is_open_to_more(now) for f in waiting
            )
            if slot.phase in AT_WORK and not slot.revoking and not slot.kill:
                best = self._most_urgent_for(slot, now)
                less = [f.ticket for f in waiting if f.claim.job.priority > best]
                if less:
                    commands.append(revoke(slot, less))
        return commands, is_forbidden

    def _most_urgent_for(self, slot: Slot, now: float) -> int:
        """The priority of the first job that could go to the slot, were there room."""
        return next(
            (f.claim.job.priority for f in self.ready if not self._is_held_back(slot, f, now)),
            Priority.LOW,
        )

    def _share_out(self, slots: list[Slot], now: float, expire: _Settle) -> dict[Slot, _Batch]:
        best = self.ready[0].claim.job.priority
        share = max(1, len(self.ready) // len(slots))
        free = self._width.free() if self._width.is_tight else None
        turn = _Turn(now, best, self.ready[::-1], expire, free)
        while turn.queue and slots:
            for slot in slots.copy():
                if not self._fill(slot, share, turn):
                    slots.remove(slot)
        queue, kept = turn.queue[::-1], turn.kept
        self.ready = sorted(kept + queue, key=_order) if kept else queue
        return turn.batches

    def _fill(self, slot: Slot, share: int, turn: _Turn) -> bool:
        """Give ``slot`` its share of the queue; False when there is no more for it."""
        queue, now = turn.queue, turn.now
        passed: list[Flight] = []  # what only another worker may have
        refused: set[Kind] = set()
        given = 0
        # Never more than the process may still run: what was sent may start at once.
        room = min(share, slot.quota - slot.handed)
        while queue and given < room:
            flight = queue[-1]
            if flight.kind in refused:
                passed.append(queue.pop())
                continue
            if self._would_overtake(flight, turn):
                turn.kept.extend(reversed(queue))
                queue.clear()
                break
            expires_at = flight.claim.job.expires_at
            if expires_at is not None and expires_at <= now:
                turn.expire(queue.pop())
                continue
            fit = self._fit(slot, flight, turn)
            if fit is _Fit.SLOT_FULL:
                break
            queue.pop()
            if fit is _Fit.HELD_BACK:
                refused.add(flight.kind)
                passed.append(flight)
            else:
                self._put(slot, flight, turn)
                given += 1
        queue.extend(reversed(passed))
        return given == share

    def _would_overtake(self, flight: Flight, turn: _Turn) -> bool:
        """Whether a more urgent job waits in some window that could go elsewhere."""
        priority = flight.claim.job.priority
        if priority <= turn.best:
            return False
        if turn.urgent is None:
            turn.urgent = min(
                (
                    other.claim.job.priority
                    for slot in self._slots
                    for other in slot.waiting()
                    if other.kind.is_open_to_more(turn.now)
                ),
                default=Priority.LOW,
            )
        return priority > turn.urgent

    def _fit(self, slot: Slot, flight: Flight, turn: _Turn) -> _Fit:
        kind, job = flight.kind, flight.claim.job
        # A job with an expiry is never sent ahead: it must not start after it.
        if slot.window and (
            slot.load + kind.cost > WINDOW_SECONDS
            or slot.payload_bytes + len(job.payload) > WINDOW_BYTES
            or job.expires_at is not None
        ):
            return _Fit.SLOT_FULL
        if self._is_held_back(slot, flight, turn.now):
            return _Fit.HELD_BACK
        if turn.free is not None and not has_slots(slot, kind, turn.free):
            return _Fit.SLOT_FULL  # nothing behind it may go to the slot instead
        return _Fit.FITS

    def _is_held_back(self, slot: Slot, flight: Flight, now: float) -> bool:
        """Whether the job's type has no place at this worker, full or not."""
        kind = flight.kind
        if not kind.is_bounded:
            return False
        is_holder = kind in slot.kinds
        if is_holder and kind.is_probing:
            return True
        places = kind.places(now)
        # A worker that holds the type already keeps its place.
        free = None if places is None else places - kind.holders + is_holder
        return not admits(Demand(), Room(places=free))

    def _put(self, slot: Slot, flight: Flight, turn: _Turn) -> None:
        kind, now = flight.kind, turn.now
        batch = turn.batches.setdefault(slot, _Batch())
        self._last_ticket += 1
        flight.ticket = self._last_ticket
        flight.is_taken = False
        flight.is_guarded = self._has_stop_rule or kind.breaker is not None
        flight.cost = kind.cost
        flight.sent_at = now
        if kind.breaker is not None:
            flight.epoch = kind.breaker.admit(now)
        if kind in slot.held:
            slot.held.discard(kind)
            batch.resumed.append(kind.name)
        was_idle = not slot.window
        if turn.free is not None and was_idle:
            turn.free -= kind.policy.threads
        slot.put(flight)
        priority = flight.claim.job.priority
        self._by_priority[priority] = self._by_priority.get(priority, 0) + 1
        batch.flights.append(flight)
        if was_idle:
            watch_head(slot, now)
            return
        if turn.urgent is not None and priority < turn.urgent and kind.is_open_to_more(now):
            turn.urgent = priority
        if slot.wake_at is None or slot.wake_at > now + PATIENCE_SECONDS:
            slot.wake_at = now + PATIENCE_SECONDS

    def _send(self, batches: dict[Slot, _Batch]) -> list[Command]:
        commands: list[Command] = []
        for slot, batch in batches.items():
            commands.extend(
                ResumeType(slot.number, slot.generation, name) for name in batch.resumed
            )
            jobs = [
                Dispatch(f.ticket, f.claim.job, f.claim.attempt, f.is_guarded)
                for f in batch.flights
            ]
            commands.append(SendJobs(slot.number, slot.generation, jobs))
        return commands

    def _steal(self, now: float) -> list[Command]:
        """Take the later half of the longest window for a worker that has nothing to do."""
        if not any(slot.is_idle for slot in self._slots):
            return []
        if any(slot.revoking for slot in self._slots):
            return []
        if self._width.is_tight and self._width.free() < 1:
            return []
        victim, loot = None, list[Flight]()
        for slot in self._slots:
            if len(slot.window) > 1 and slot.phase in AT_WORK and not slot.kill:
                flights = slot.waiting()
                movable = [f for f in flights[len(flights) // 2 :] if f.kind.is_open_to_more(now)]
                if len(movable) > len(loot):
                    victim, loot = slot, movable
        if victim is None or sum(f.cost for f in loot) < STEAL_SECONDS:
            return []
        return [revoke(victim, [f.ticket for f in loot])]


def revoke(slot: Slot, tickets: list[int]) -> RevokePermits:
    """Order that these be taken back; nothing is sent to the slot until the answer."""
    slot.revoking.append(tickets)
    slot.is_looked_at = False
    return RevokePermits(slot.number, slot.generation, tickets)


def watch_head(slot: Slot, now: float) -> None:
    """Set the moment to look at the slot, its window having another head since ``now``."""
    slot.stuck = False
    slot.taken = slot.shown = None
    head = slot.head
    if head is None:
        slot.wake_at = None
        return
    slot.head_at = now
    slot.late_at = None
    wake_at = first_look(head, now)
    patience = PATIENCE_SECONDS if len(slot.window) > 1 else START_SECONDS
    if wake_at is None or wake_at > now + patience:
        wake_at = now + patience
    slot.wake_at = wake_at


def _order(flight: Flight) -> tuple[int, float, int]:
    return flight.order


def _load(slot: Slot) -> float:
    return slot.load
