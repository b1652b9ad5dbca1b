"""What must be true of workers that are replaced though nothing has gone wrong with them."""

from collections.abc import Iterator

from knock.core.machine import Machine
from knock.core.recycling import RecycleReason
from knock.core.slot import Slot
from tests.core.checks import Checks
from tests.core.fake_pool import FakePool
from tests.core.fake_worker import Hand
from tests.core.truth import EPSILON

LEAST_PART = 0.8


class Retirement:
    """Asserts who retires, why, and how many at once. ``known``: what the machine was told."""

    def __init__(self, machine: Machine, pool: FakePool, known: Checks) -> None:
        self.machine, self.pool, self.known = machine, pool, known
        self.at_once = max(1, len(pool.hands) // 4)

    def check(self, now: float) -> None:
        known = self.known
        assert known.has_failed or not known.renewed, "a recycled worker is not replaced at once"
        if known.is_stopping or known.has_failed:
            return
        for slot, hand in self._at_work():
            if slot.retires_for is not None and hand.retires_for is None:
                self._retires(slot, hand, now)
        for slot, hand in self._at_work():
            if hand.kill is None:
                self._check_who_stays(slot, hand, now)
                self._check_window(hand)

    def _at_work(self) -> Iterator[tuple[Slot, Hand]]:
        for slot, hand in zip(self.machine._slots, self.pool.hands, strict=True):
            if hand is not None and hand.is_known_ready:
                yield slot, hand

    def _retires(self, slot: Slot, hand: Hand, now: float) -> None:
        """It has just been decided that this worker is to be replaced."""
        reason = hand.retires_for = slot.retires_for
        if hand.is_known_worn:
            assert reason == f"worn in slot {hand.number}", "the worker's own word is not told"
        else:
            assert reason in self._reached(hand, now, LEAST_PART), f"{reason} is no reason"
            is_due = self._reached(hand, now, 1.0)
            assert is_due or len(self.known.renewing) < self.at_once, "too many retire at once"
        self.known.renewing.add(hand.number)

    def _reached(self, hand: Hand, now: float, part: float) -> set[RecycleReason]:
        """The limits of which the worker has come to this part, before this step's jobs."""
        policy, reached = self.pool.recycle, set()
        handed = hand.handed - len(self.known.sent_to.get(hand.number, ()))
        if policy.max_jobs is not None and handed >= part * policy.max_jobs:
            reached.add(RecycleReason.MAX_JOBS)
        memory = policy.max_memory_bytes
        if memory is not None and hand.kept_bytes >= part * memory:
            reached.add(RecycleReason.MAX_MEMORY)
        age = policy.max_age
        if age is not None and now >= hand.ready_at + part * age - (part < 1.0) * EPSILON:
            reached.add(RecycleReason.MAX_AGE)
        return reached

    def _check_who_stays(self, slot: Slot, hand: Hand, now: float) -> None:
        if hand.retires_for is not None:
            return
        assert not hand.is_stopping, "a worker is told to end for nothing"
        assert not hand.is_known_worn, "a worker that asks to be replaced stays"
        assert not self._reached(hand, now, 1.0), "a worker stays at a limit"
        if len(self.known.renewing) < self.at_once:
            handed = hand.handed - len(self.known.sent_to.get(hand.number, ()))
            soft = slot.soft
            is_due = handed >= soft.jobs or hand.kept_bytes >= soft.memory_bytes
            assert not is_due, "a worker stays at its own limit"
            assert now < soft.age_at, "a worker stays at its own age"

    def _check_window(self, hand: Hand) -> None:
        is_worn_out = hand.retires_for is not None and (
            hand.is_known_worn or hand.retires_for is not RecycleReason.MAX_JOBS
        )
        if is_worn_out and not hand.revoking:
            assert not hand.permits, "a job waits for a worker that retires"

    def check_deadline(self, deadline: float | None) -> None:
        """The machine wants to be woken before a worker is too old."""
        age, known = self.pool.recycle.max_age, self.known
        if age is None or known.is_stopping or known.has_failed:
            return
        for _, hand in self._at_work():
            if hand.kill is None and hand.retires_for is None:
                assert deadline is not None, "a worker's age is forgotten"
                assert deadline <= hand.ready_at + age, "a worker's age is seen too late"

    def check_the_retired_end(self) -> None:
        """To be called when the machine has heard everything."""
        for hand in self.pool.hands:
            if hand is not None and hand.retires_for is not None and hand.kill is None:
                assert hand.view or hand.is_stopping, "a retired worker is never told to end"
