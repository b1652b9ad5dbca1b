"""Storages that make difficulties."""

import pytest

from knock.core.job import JobState
from knock.errors import KnockError
from knock.supervisor.messages import Enqueue, Failed, Stop
from tests.process import jobs as make
from tests.supervisor.storages import Buggy, Unreliable
from tests.witness import LIMIT_SECONDS, wait_gone

pytestmark = pytest.mark.process


def test_nothing_is_lost_when_the_storage_is_away_now_and_then(call_up, witness):
    caller = call_up(storage=Unreliable(seed=4))
    caller.subscribe(finished=True)
    ids = caller.add(*[(make.note, witness, n) for n in range(200)])
    caller.hear(lambda: len(caller.finished()) == 200)
    assert sorted(record.spec.id for record in caller.finished()) == ids
    assert {record.state for record in caller.finished()} == {JobState.COMPLETED}
    assert sorted(map(int, witness.facts())) == list(range(200))


@pytest.mark.parametrize("verb", ["claim", "settle", "get", "counts", "find"])
def test_a_storage_with_a_mistake_ends_the_pool_and_is_told(call_up, verb):
    caller = call_up(storage=Buggy(verb), retention=0.05)
    caller.subscribe(finished=True)
    pids = set(caller.client.call("pids").values())
    later = caller.specs((make.square, 1), run_at=caller.clock.now() + 1000)
    caller.client.post(Enqueue(None, later + caller.specs((make.square, 2))))
    with pytest.raises(KnockError, match="a mistake"):
        caller.client.wait_idle(LIMIT_SECONDS)
    assert isinstance(caller.hear_last(Failed).error, KnockError)
    wait_gone(pids, 5)


@pytest.mark.parametrize("place", ["process"])
def test_a_storage_that_cannot_come_back_is_told_of(call_up):
    caller = call_up(storage=Buggy("pickle"))
    caller.value(*caller.add((make.square, 2)))
    caller.client.post(Stop(None))
    failed = caller.hear_last(Failed)
    assert "TypeError('a mistake')" in str(failed.error)
