"""Deaths of a worker under a job: who is to blame, and what is told. See the catalogue too."""

import os
import signal

import pytest

from knock.core.events import (
    WorkerExited,
)
from tests.process import jobs
from tests.witness import is_alive, wait_for

pytestmark = [pytest.mark.process, pytest.mark.platform]


@pytest.mark.parametrize(
    "call, code",
    [((jobs.kill_oneself, signal.SIGKILL), -signal.SIGKILL), ((jobs.leave, 9), 9)],
    ids=["signal", "exit"],
)
def test_a_crash_is_told_in_full_and_leaves_the_rest_of_the_window(drive, call, code):
    drive.start()
    first, guilty, *rest = drive.send((jobs.square, 2), call, (jobs.pid,), (jobs.pid,))
    pid = drive.pid()
    exited = drive.exit()
    assert drive.guilty() == {guilty}
    assert drive.values([first]) == [4]
    assert exited.unstarted == rest
    assert exited.started_at == pytest.approx(drive.clock.now(), abs=10)
    death = exited.death
    assert (death.exit_code, death.signal) == ((code, None) if code >= 0 else (None, -code))
    assert (death.pid, death.is_infrastructure) == (pid, False)
    assert death.peak_rss_bytes > 1 << 20
    assert death.cpu_seconds > 0


@pytest.mark.parametrize("fn", [jobs.read_null, jobs.abort])
def test_a_crash_tells_where_it_was(drive, fn):
    drive.start().send((fn,))
    stack = drive.exit().death.stderr
    assert "Fatal Python error" in stack
    assert f"in {fn.__name__}" in stack


def test_a_worker_killed_half_way_through_a_large_result_is_judged_by_it(drive, witness):
    # Nobody reads: the result fills the socket, and the worker waits in the middle of a frame.
    drive.start()
    first, guilty, last = drive.send(
        (jobs.note, witness, "runs"), (jobs.long_answer, 64 << 20), (jobs.square, 3)
    )
    witness.wait(1)
    os.kill(drive.pool.pids()[0], signal.SIGKILL)
    exited = drive.exit()
    assert drive.values([first]) == ["runs"]
    assert drive.guilty() <= {guilty}
    assert last in exited.unstarted


def test_an_idle_worker_that_is_killed_blames_nobody(drive):
    drive.start()
    drive.values(drive.send((jobs.square, 2)))
    os.kill(drive.pid(), signal.SIGKILL)
    exited = drive.exit()
    assert (drive.guilty(), exited.unstarted, exited.started_at) == (set(), [], None)
    assert exited.death.cause == "killed by SIGKILL, not by knock; possibly out of memory"


def test_a_crash_leaves_the_neighbour_alone_and_the_slot_can_be_filled_again(drive, witness, gate):
    drive.start(0, 1)
    neighbour = drive.send((jobs.wait, witness, gate), worker=1)
    drive.send((jobs.leave, 0))
    drive.exit()
    drive.start(generation=2)
    assert drive.values(drive.send((jobs.square, 4), generation=2)) == [16]
    gate.open()
    assert drive.values(neighbour) == ["waits"]
    assert len(drive.exits()) == 1


def test_results_in_the_channel_are_told_before_the_death(make_drive, witness):
    drive = make_drive().start()
    *quick, guilty = drive.send(*[(jobs.note, witness, n) for n in range(20)], (jobs.leave, 0))
    pid = drive.pool.pids()[0]
    # Nothing is read until the process is gone.
    wait_for(lambda: not is_alive(pid))
    drive.exit()
    assert list(drive.ended()) == quick
    assert drive.guilty() == {guilty}
    assert isinstance(drive.events[-1], WorkerExited)
