"""A storage that is away for a while, whatever is asked of it, costs nothing but the while."""

from typing import Any

import pytest

from knock.core.job import JobState
from knock.errors import StorageUnavailableError
from knock.storage.memory import InMemoryStorage
from knock.supervisor.messages import Ended, Enqueue, Stop
from tests.process import jobs as make
from tests.witness import LIMIT_SECONDS, wait_for

pytestmark = pytest.mark.process

VERBS = ("enqueue", "claim", "settle", "cancel", "requeue", "get", "find", "counts", "purge")


class Away(InMemoryStorage):
    """Cannot be reached ``left`` more times by ``verb``. For a supervisor on a thread."""

    def __init__(self) -> None:
        super().__init__()
        self.verb = ""
        self.left = 0
        self.refused = 0

    def __getattribute__(self, name: str) -> Any:
        if name in VERBS and name == self.verb and self.left:
            self.left -= 1
            self.refused += 1
            return _refuse
        return super().__getattribute__(name)


def _refuse(*_: Any, **__: Any) -> None:
    raise StorageUnavailableError("away")


@pytest.fixture
def place() -> str:
    return "thread"


@pytest.fixture
def away() -> Away:
    return Away()


@pytest.fixture
def caller(call_up, away):
    caller = call_up(storage=away, retention=0.05)
    caller.subscribe("completed", "cancelled", finished=True)
    return caller


@pytest.mark.parametrize("verb", VERBS)
def test_jobs_that_were_accepted_are_run_and_told(caller, away, verb):
    away.left, away.verb = 3, verb
    ids = []
    for n in range(20):
        [job] = caller.specs((make.square, n))
        caller.client.post(Enqueue(None, [job], ()))
        ids.append(job.id)
    caller.hear(lambda: len(caller.finished()) == 20)
    assert sorted(record.spec.id for record in caller.finished()) == ids
    caller.hear(lambda: len(caller.events()) == 20)
    assert sorted(event.job_id for event in caller.events()) == ids
    if verb in ("find", "purge"):
        wait_for(lambda: away.refused == 3, what="the third refusal")
    if verb in ("enqueue", "claim", "settle", "get"):
        assert away.refused == 3
    away.verb = ""
    wait_for(lambda: caller.client.call("counts").completed == 0, what="the end of the retention")


def test_who_waits_for_an_answer_is_told_and_may_ask_again(caller, away):
    [later] = caller.add((make.square, 1), run_at=caller.clock.now() + 100)
    for verb, ask in (
        ("get", lambda: caller.client.watch(later)),
        ("get", lambda: caller.client.cancel(later)),
        ("counts", lambda: caller.client.call("snapshot")),
    ):
        away.left, away.verb = 1, verb
        with pytest.raises(StorageUnavailableError):
            ask()
    assert caller.client.cancel(later)


def test_a_cancelled_job_is_cancelled_when_the_storage_is_back(caller, away):
    [later] = caller.add((make.square, 1), run_at=caller.clock.now() + 100)
    away.left, away.verb = 3, "cancel"
    assert caller.client.cancel(later)
    assert away.refused == 3
    caller.hear(lambda: [event.name for event in caller.events()] == ["cancelled"])


def test_who_waits_until_all_is_done_waits_on(caller, away):
    caller.add((make.square, 1))
    away.left, away.verb = 3, "counts"
    caller.client.wait_idle(LIMIT_SECONDS)
    assert away.refused == 3


def test_a_stop_waits_for_what_the_storage_must_still_hear(caller, away):
    away.left, away.verb = 3, "enqueue"
    [job] = caller.specs((make.square, 1), run_at=caller.clock.now() + 100)
    caller.client.post(Enqueue(None, [job], ()))
    caller.client.post(Stop(None))
    caller.hear_last(Ended)
    [record] = away.get([job.id])
    assert record.state is JobState.QUEUED
    assert away.refused == 3


def test_too_much_that_cannot_be_stored_makes_callers_wait_and_nothing_is_lost(
    call_up, away, monkeypatch
):
    monkeypatch.setattr("knock.supervisor.arrears.MAX_JOBS", 5)
    monkeypatch.setattr("knock.supervisor.thread.MAILBOX_JOBS", 5)
    caller = call_up(storage=away)
    caller.subscribe(finished=True)
    away.left, away.verb = 4, "enqueue"
    for n in range(50):
        caller.client.post(Enqueue(None, caller.specs((make.square, n)), ()))
    caller.hear(lambda: len(caller.finished()) == 50)
    assert away.refused == 4
