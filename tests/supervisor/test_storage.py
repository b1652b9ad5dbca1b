"""Storages that make difficulties."""

import pytest

from knock.core.job import JobState
from tests.process import jobs as make
from tests.supervisor.storages import Unreliable

pytestmark = pytest.mark.process


def test_nothing_is_lost_when_the_storage_is_away_now_and_then(call_up, witness):
    caller = call_up(storage=Unreliable(seed=4))
    caller.subscribe(finished=True)
    ids = caller.add(*[(make.note, witness, n) for n in range(200)])
    caller.hear(lambda: len(caller.finished()) == 200)
    assert sorted(record.spec.id for record in caller.finished()) == ids
    assert {record.state for record in caller.finished()} == {JobState.COMPLETED}
    assert sorted(map(int, witness.facts())) == list(range(200))
