"""A supervisor that stands still: whoever set a time is told in time, and nothing is lost."""

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from knock.core.job import JobState
from knock.storage.memory import InMemoryStorage
from knock.supervisor.messages import Enqueue
from tests.process import jobs as make
from tests.supervisor.conftest import Caller
from tests.witness import LIMIT_SECONDS, process_state, wait_for, wait_gone

pytestmark = pytest.mark.process


class Blocking(InMemoryStorage):
    """Answers nobody while it is held up. For a supervisor on a thread."""

    def __init__(self) -> None:
        super().__init__()
        self.free = threading.Event()
        self.free.set()
        self.is_held = False

    def counts(self, **kwargs: Any) -> Any:
        self.is_held = not self.free.is_set()
        self.free.wait(LIMIT_SECONDS)
        self.is_held = False
        return super().counts(**kwargs)


@contextmanager
def standing_still(caller: Caller) -> Iterator[None]:
    """Let the supervisor do nothing for the length of the block."""
    storage = caller.storage
    if caller.client.pid is not None:
        os.kill(caller.client.pid, signal.SIGSTOP)
        wait_for(lambda: process_state(caller.client.pid) == "T")
    else:
        storage.free.clear()
        with pytest.raises(TimeoutError):
            caller.client.call("counts", timeout=0.1)
        wait_for(lambda: storage.is_held)
    try:
        yield
    finally:
        if caller.client.pid is not None:
            os.kill(caller.client.pid, signal.SIGCONT)
        else:
            storage.free.set()


@pytest.fixture
def caller(call_up: Callable[..., Caller], place: str) -> Caller:
    return call_up(**({} if place == "process" else {"storage": Blocking()}))


def test_callers_of_a_supervisor_that_stands_still_wait_no_longer_than_they_said(
    caller, witness, gate
):
    [running] = caller.add((make.wait, witness, gate))
    witness.wait(1)
    specs = caller.specs(*[(make.note, witness, f"note {n}") for n in range(100)])
    with standing_still(caller):
        for ask in (
            lambda: caller.client.watch(running, 0.1),
            lambda: caller.client.wait_idle(0.1),
            lambda: caller.client.call("snapshot", timeout=0.1),
        ):
            with pytest.raises(TimeoutError):
                ask()
        caller.client.post(Enqueue(None, specs))
        # Workers go on with what they have.
        gate.open()
    assert caller.value(running) == "waits"
    for spec in specs:
        assert caller.watch(spec.id).state is JobState.COMPLETED
    assert sorted(witness.facts()) == sorted(["waits", *(f"note {n}" for n in range(100))])


def test_a_supervisor_process_that_stands_still_can_be_closed(witness, monkeypatch):
    monkeypatch.setattr("knock.supervisor.process._LEAVE_SECONDS", 0.3)
    caller = Caller("process")
    caller.add((make.spin, witness))
    witness.wait(1)
    pids = {caller.client.pid, *caller.client.call("pids").values()}
    os.kill(caller.client.pid, signal.SIGSTOP)
    caller.client.close()
    wait_gone(pids, 5)
