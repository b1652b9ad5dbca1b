"""Jobs that take several slots: what workers hold of them, counted apart from the machine."""

from collections.abc import Mapping

from knock.core.policy import JobPolicy
from tests.core.fake_pool import FakePool
from tests.core.fake_worker import Hand


def threads_of(policies: Mapping[str, JobPolicy], name: str) -> int:
    policy = policies.get(name)
    return 1 if policy is None else policy.threads


def free_slots(pool: FakePool, policies: Mapping[str, JobPolicy]) -> int:
    """Return how many slots no held job takes."""
    return len(pool.hands) - sum(max(_threads_in(hand, policies), default=0) for hand in pool.hands)


def check_slots(pool: FakePool, policies: Mapping[str, JobPolicy]) -> None:
    """No more threads are held than there are workers, and a wide job is alone in its window."""
    assert free_slots(pool, policies) >= 0, "more threads are held than there are workers"
    for hand in pool.hands:
        threads = _threads_in(hand, policies)
        assert len(threads) < 2 or max(threads) == 1, "a wide job shares a window"


def _threads_in(hand: Hand | None, policies: Mapping[str, JobPolicy]) -> list[int]:
    if hand is None:
        return []
    return [threads_of(policies, run.job.spec.type) for run in hand.view.values()]
