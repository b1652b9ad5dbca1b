"""Jobs that take several worker slots: what is free for them, and for whom it is kept.

Rule W: the threads of all jobs that workers hold are never more than there are workers. A worker
        counts as one for any number of jobs of one thread; a wide job has a worker to itself, and
        takes as many slots as it has threads.
Rule K: when the next job in order lacks slots, nothing behind it is sent, so that the slots become
        free one after the other. What is more urgent still goes first.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from knock.core.admission import Demand, Room, admits
from knock.core.kind import Kind
from knock.core.slot import Flight, Slot


class Width:
    """The slots of a pool as threads. Idle, and free of cost, where no wide job is about."""

    def __init__(self, slots: Sequence[Slot], wide: Sequence[Kind]) -> None:
        self._slots = slots
        self._wide = wide

    @property
    def is_tight(self) -> bool:
        """Whether a wide job is held or waits, so that slots have to be counted."""
        return bool(self._wide) and any(kind.out for kind in self._wide)

    def free(self) -> int:
        """How many slots no job takes."""
        return len(self._slots) - sum(slot.threads for slot in self._slots)

    def open_slots(self) -> Iterator[Slot]:
        """The slots that may be given more: no more idle ones than are free."""
        free = self.free()
        for slot in self._slots:
            threads = slot.threads
            if threads == 1:
                yield slot
            elif not threads and slot.takes_jobs and free > 0:
                free -= 1
                yield slot

    def waits_for(self, ready: Sequence[Flight], now: float) -> "Waiting | None":
        """The first wide job in ``ready`` for which slots are kept, if there is one."""
        for place, flight in enumerate(ready):
            if flight.kind.is_wide and flight.kind.is_open_to_more(now):
                return Waiting(flight, place)
        return None


class Waiting(NamedTuple):
    """A wide job that waits for its slots, and how many jobs here are ahead of it."""

    flight: Flight
    ahead: int


def has_slots(slot: Slot, kind: Kind, free: int) -> bool:
    """Whether a job of this type may go to ``slot`` while ``free`` slots are not taken."""
    if slot.window:
        # No more than its own slot is needed behind a job of one thread.
        return slot.threads == 1 and not kind.is_wide
    return admits(Demand(slots=kind.policy.threads), Room(slots=free))
