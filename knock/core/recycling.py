"""Recycling: which worker is replaced though nothing has gone wrong with it, and how.

Rule 1: what runs is never cut: a worker that retires is given nothing more, what has not started
        is taken back, and it is told to end when it holds nothing.
Rule 2: its end is nobody's fault: no boot has failed, and no job is charged.
"""

from collections.abc import Iterator, Sequence

from knock.core.commands import Command, KillCause, StopWorker
from knock.core.dispatch import revoke
from knock.core.events import WorkerWorn
from knock.core.slot import Phase, Slot

# How long a worker that was told to end may take (exit handlers of libraries).
STOP_SECONDS = 5.0


class Recycling:
    """Retires workers. ``is_on``: there may be one to retire."""

    def __init__(self, slots: Sequence[Slot]) -> None:
        self._slots = slots
        self.is_on = False

    def worn(self, slot: Slot, event: WorkerWorn) -> None:
        """A worker asks to be replaced; it may be heard before its boot is told."""
        if slot.worn is None:
            slot.worn = event.reason
            self.is_on = True

    def turn(self, now: float) -> Iterator[Command]:
        """Retire those whose time has come, and end those that are through."""
        for slot in self._slots:
            if slot.phase is Phase.READY and slot.worn is not None:
                slot.phase = Phase.RETIRING
                slot.retires_for = slot.worn
            if slot.phase is Phase.RETIRING and not slot.revoking:
                yield from self._wind_up(slot, now)

    def _wind_up(self, slot: Slot, now: float) -> Iterator[Command]:
        unstarted = [ticket for ticket, flight in slot.window.items() if not flight.is_taken]
        if unstarted:
            yield revoke(slot, unstarted)
        elif not slot.window:
            yield tell_to_end(slot, now)


def tell_to_end(slot: Slot, now: float) -> StopWorker:
    """Order that a worker that holds nothing ends, and see to it that it does."""
    slot.phase = Phase.STOPPING
    slot.wake_at = now + STOP_SECONDS
    return StopWorker(slot.number, slot.generation)


def recycled_for(slot: Slot) -> str | None:
    """Why the process of the slot, which is gone, was recycled; None if it was not.

    If it died at work, by itself or by a kill for its job, then that is what is told of it.
    """
    is_late = slot.kill == (None, KillCause.RELEASED)
    return slot.retires_for if slot.phase is Phase.STOPPING or is_late else None
