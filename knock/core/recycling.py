"""Recycling: which worker is replaced though nothing has gone wrong with it, and how.

Rule 1: what runs is never cut: a worker that retires is given nothing more, and is told to end
        when it holds nothing.
Rule 2: its end is nobody's fault: no boot has failed, and no job is charged.
Rule 3: never all at once: each process draws soft limits, and at these it retires only while few
        others do. At the hard limits, those of the policy, it retires in any case.
Rule 4: nobody runs more than ``max_jobs``, so nobody is sent more.
"""

from collections.abc import Iterator, Sequence
from enum import StrEnum
from math import inf
from random import Random

from knock.core.commands import Command, KillCause, StopWorker
from knock.core.dispatch import revoke
from knock.core.events import WorkerWorn
from knock.core.policy import RecyclePolicy
from knock.core.slot import Limits, Phase, Slot

# How long a worker that was told to end may take (exit handlers of libraries).
STOP_SECONDS = 5.0
# Soft limits are this part of the hard ones at least, 4 / 5.
_LEAST_PART = 0.8


class RecycleReason(StrEnum):
    """Why a worker is recycled that has not asked for it: the name of the option."""

    MAX_JOBS = "max_jobs_per_worker"
    MAX_MEMORY = "max_worker_memory"
    MAX_AGE = "max_worker_age"


class Recycling:
    """Retires workers. ``is_on``: there may be one to retire."""

    def __init__(self, slots: Sequence[Slot], policy: RecyclePolicy | None, rng: Random) -> None:
        self._slots = slots
        self._policy = policy
        self._rng = rng
        self._at_once = max(1, len(slots) // 4)
        self.is_on = policy is not None

    def begin(self, slot: Slot, now: float) -> None:
        """A process is ready: draw its limits."""
        slot.is_renewing = False
        policy = self._policy
        if policy is not None:
            jobs, memory, age = policy.max_jobs, policy.max_memory_bytes, policy.max_age
            hard = Limits(
                inf if jobs is None else jobs,
                inf if memory is None else memory,
                inf if age is None else now + age,
            )
            soft = Limits(
                # Rounded up without a float: that of 35 would be 29.
                inf if jobs is None else self._rng.randint((4 * jobs + 4) // 5, jobs),
                inf if memory is None else memory * self._part(),
                inf if age is None else now + age * self._part(),
            )
            slot.restrict(soft, hard)

    def _part(self) -> float:
        return self._rng.uniform(_LEAST_PART, 1.0)

    def worn(self, slot: Slot, event: WorkerWorn) -> None:
        """A worker asks to be replaced; it may be heard before its boot is told."""
        if slot.worn is None:
            slot.worn = event.reason
            self.is_on = True

    def turn(self, now: float) -> Iterator[Command]:
        """Retire those whose time has come, and end those that are through."""
        for slot in self._slots:
            if slot.phase is Phase.READY:
                reason = self._reason(slot, now)
                if reason is not None:
                    slot.phase = Phase.RETIRING
                    slot.retires_for = reason
                    slot.is_renewing = True
            if slot.phase is Phase.RETIRING and not slot.revoking:
                yield from self._wind_up(slot, now)

    def _reason(self, slot: Slot, now: float) -> str | None:
        """Why the worker is to retire now; None if it is not."""
        must = _reached(slot, slot.hard, now) if slot.worn is None else slot.worn
        if must is not None:
            return must
        may = _reached(slot, slot.soft, now)
        if may is None or sum(other.is_renewing for other in self._slots) < self._at_once:
            return may
        # Others do: it goes on to the hard limit, unless its turn comes before.
        if slot.handed >= slot.soft.jobs:
            slot.quota = slot.hard.jobs
        if now >= slot.soft.age_at:
            slot.old_at = slot.hard.age_at
        return None

    def _wind_up(self, slot: Slot, now: float) -> Iterator[Command]:
        if not slot.window:
            yield tell_to_end(slot, now)
        # What was handed to it within its number of jobs it may run.
        elif slot.worn is not None or slot.retires_for is not RecycleReason.MAX_JOBS:
            unstarted = [ticket for ticket, flight in slot.window.items() if not flight.is_taken]
            if unstarted:
                yield revoke(slot, unstarted)

    def deadlines(self) -> Iterator[float]:
        """Return when ``turn`` has something to do though nothing was heard."""
        if self._policy is not None and self._policy.max_age is not None:
            for slot in self._slots:
                if slot.phase is Phase.READY:
                    yield slot.old_at


def _reached(slot: Slot, limits: Limits, now: float) -> RecycleReason | None:
    if slot.handed >= limits.jobs:
        return RecycleReason.MAX_JOBS
    if slot.kept_bytes >= limits.memory_bytes:
        return RecycleReason.MAX_MEMORY
    return RecycleReason.MAX_AGE if now >= limits.age_at else None


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
    if slot.retires_for is None or not (slot.phase is Phase.STOPPING or is_late):
        return None
    return str(slot.retires_for)
