"""What jobs leave behind or hold on to: it ends with its job's worker, and with no other."""

import os
import signal
import time

import pytest

from tests.process import jobs
from tests.process.test_end import nursery_pid
from tests.witness import is_alive, wait_gone

pytestmark = [pytest.mark.process, pytest.mark.platform]


@pytest.mark.needs("subreaper")
def test_a_kill_takes_all_children_of_the_job(drive, witness):
    drive.start()
    [ticket] = drive.send((jobs.breed_and_spin, witness))
    pids = set(map(int, witness.wait(4)))
    drive.kill(ticket)
    drive.exit()
    wait_gone(pids, 1.0)


def test_a_death_leaves_children_of_other_jobs_alone(drive, witness, gate):
    drive.start(0, 1)
    helped = drive.send((jobs.wait_with_orphan, witness, gate))
    [orphan] = map(int, witness.wait(1))
    drive.send((jobs.leave, 0), worker=1)
    drive.exit(1)
    drive.start(1, generation=2)
    drive.values(drive.send((jobs.square, 2), worker=1, generation=2))
    assert is_alive(orphan)
    gate.open()
    drive.values(helped)
    os.kill(drive.pid(0), signal.SIGKILL)
    wait_gone({orphan}, 1.0)


def test_what_a_job_executes_inherits_no_descriptor(drive):
    drive.start()
    inherited = jobs.open_things()
    [found] = drive.values(drive.send((jobs.open_things_of_a_program,)))
    assert found <= inherited


def test_a_job_that_logs_without_end_can_be_killed_at_once(drive, witness):
    drive.start()
    said = []
    drive.pool.on_message = said.append
    [ticket, last] = drive.send((jobs.log_for_ever, witness), (jobs.square, 2))
    witness.wait(1)
    drive.until(lambda: said)
    before = time.monotonic()
    drive.kill(ticket)
    assert time.monotonic() - before < 1.0
    assert drive.exit().unstarted == [last]
    assert drive.guilty() == {ticket}


def test_closing_does_not_wait_for_a_module_that_hangs(make_drive, tmp_path):
    (tmp_path / "hanging_module.py").write_text("import time\ntime.sleep(1000)\n")
    drive = make_drive(sys_path=(str(tmp_path),), preload=("hanging_module",))
    drive.pool.start_worker(0, 1)
    before = time.monotonic()
    drive.close()
    assert time.monotonic() - before < 3.0


def test_a_replaced_nursery_keeps_to_the_surroundings_of_the_call(
    make_drive, monkeypatch, tmp_path
):
    monkeypatch.setenv("OF_THE_CALL", "then")
    monkeypatch.chdir(tmp_path)
    drive = make_drive().start()
    monkeypatch.setenv("OF_THE_CALL", "now")
    monkeypatch.chdir("/")
    os.kill(nursery_pid({drive.pid()}), signal.SIGKILL)
    drive.exit()
    drive.start(generation=2)
    [found] = drive.values(drive.send((jobs.surroundings, ("OF_THE_CALL",)), generation=2))
    assert (found["OF_THE_CALL"], found["cwd"]) == ("then", str(tmp_path))
