"""Each way in which a worker can end under a job: who is to blame, and what is told."""

import os
import signal

import pytest

from knock.core.events import (
    WorkerExited,
)
from knock.core.job import AttemptOutcome
from tests.process import jobs
from tests.witness import is_alive, wait_for

pytestmark = pytest.mark.process

CRASHES = {
    # what happens: the call, signal or exit code, cause
    "SIGKILL": (
        (jobs.kill_oneself, signal.SIGKILL),
        -signal.SIGKILL,
        "killed by SIGKILL, not by knock; possibly out of memory",
    ),
    "SIGTERM": ((jobs.kill_oneself, signal.SIGTERM), -signal.SIGTERM, "killed by SIGTERM"),
    "a real-time signal": ((jobs.kill_oneself, 40), -40, "killed by signal 40"),
    "null pointer": ((jobs.read_null,), -signal.SIGSEGV, "killed by SIGSEGV"),
    "abort": ((jobs.abort,), -signal.SIGABRT, "killed by SIGABRT"),
    "exit code 0": ((jobs.leave, 0), 0, "exited with code 0 without a result"),
    "exit code 9": ((jobs.leave, 9), 9, "exited with code 9 without a result"),
    "exit while unpickling": (
        (jobs.square, jobs.EndsWhenUnpickled()),
        5,
        "exited with code 5 without a result",
    ),
}


@pytest.mark.parametrize("name", CRASHES)
def test_a_crash_is_charged_to_the_guilty_job_only(drive, name):
    call, code, cause = CRASHES[name]
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
    assert (death.cause, death.pid, death.is_infrastructure) == (cause, pid, False)
    assert death.peak_rss_bytes > 1 << 20
    assert death.cpu_seconds > 0


@pytest.mark.parametrize("fn", [jobs.read_null, jobs.abort])
def test_a_crash_tells_where_it_was(drive, fn):
    drive.start().send((fn,))
    stack = drive.exit().death.stderr
    assert "Fatal Python error" in stack
    assert f"in {fn.__name__}" in stack


def test_a_job_that_closes_all_descriptors_keeps_its_files_and_is_a_crash(make_drive, tmp_path):
    drive = make_drive().start()
    file = tmp_path / "file"
    first, guilty, last = drive.send(
        (jobs.square, 2), (jobs.put_files_in_place, str(file), 1000), (jobs.square, 3)
    )
    exited = drive.exit()
    assert drive.guilty() == {guilty}
    assert drive.values([first]) == [4]
    assert exited.unstarted == [last]
    assert exited.death.cause == "exited with code 113: a job closed the descriptors of its worker"
    assert file.read_bytes() == b""


def test_a_job_that_closes_small_descriptors_harms_nobody(drive, tmp_path):
    file = tmp_path / "file"
    call = (jobs.put_files_in_place, str(file), 100)
    tickets = drive.start().send(call, (jobs.square, 3))
    assert drive.values(tickets) == [str(file), 9]
    assert file.read_bytes() == b""


def test_sys_exit_is_an_error_of_the_job_and_no_crash(drive):
    drive.start()
    [ticket] = drive.send((jobs.exit_politely, 3))
    drive.until(drive.ended)
    ended = drive.ended()[ticket]
    assert ended.outcome is AttemptOutcome.ERROR
    assert (ended.error.type_name, ended.error.message) == ("SystemExit", "3")
    drive.pool.resume_type(0, 1, "do")
    assert drive.values(drive.send((jobs.square, 3))) == [9]


def test_a_freeze_while_the_result_is_pickled_can_be_killed(drive, witness):
    drive.start()
    first, guilty, last = drive.send(
        (jobs.square, 2), (jobs.frozen_result, witness), (jobs.square, 3)
    )
    witness.wait(1)
    drive.kill(guilty)
    exited = drive.exit()
    assert drive.guilty() == {guilty}
    assert (exited.unstarted, exited.death.signal) == ([last], signal.SIGKILL)
    assert drive.values([first]) == [4]


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
