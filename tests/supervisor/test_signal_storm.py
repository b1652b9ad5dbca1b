"""Signals by the dozen to a supervisor, its nursery and its workers: nothing is lost by them."""

import os
import signal

import pytest

from tests.process import jobs
from tests.process.test_end import nursery_pid
from tests.supervisor.conftest import Caller

pytestmark = pytest.mark.process

# A closed terminal, Ctrl-C, a reader that is gone, and what operators send to services.
IGNORED = [
    signal.SIGINT,
    signal.SIGHUP,
    signal.SIGPIPE,
    signal.SIGUSR1,
    signal.SIGUSR2,
    signal.SIGCHLD,
]
TIMES = 50


@pytest.fixture
def caller():
    caller = Caller("process")
    yield caller
    caller.client.close()


@pytest.mark.parametrize("number", IGNORED, ids=lambda number: number.name)
def test_supervisor_and_nursery_live_through_a_storm(caller, witness, gate, number):
    [running] = caller.add((jobs.wait, witness, gate))
    witness.wait(1)
    workers = set(caller.client.call("pids").values())
    targets = [caller.client.pid, nursery_pid(workers)]
    added = []
    for _ in range(TIMES):
        for pid in targets:
            os.kill(pid, number)
        added += caller.add((jobs.square, len(added)))
    gate.open()
    assert caller.value(running) == "waits"
    assert [caller.value(job) for job in added] == [n * n for n in range(TIMES)]
    # The very same processes.
    assert set(caller.client.call("pids").values()) == workers
    os.kill(caller.client.pid, 0)


def test_workers_leave_ctrl_c_to_their_caller(caller, witness, gate):
    [running] = caller.add((jobs.wait, witness, gate))
    witness.wait(1)
    workers = set(caller.client.call("pids").values())
    for _ in range(TIMES):
        for pid in workers:
            os.kill(pid, signal.SIGINT)
    gate.open()
    assert caller.value(running) == "waits"
    assert set(caller.client.call("pids").values()) == workers
