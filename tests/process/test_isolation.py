"""What a job changes of its process is put back before the next job, as the level says."""

import os

import pytest

from knock.run import run_pool
from tests.process import jobs, state
from tests.witness import script

pytestmark = pytest.mark.process


def found_by_the_next_job(drive, kind):
    """Return what is found before and after a job that changes it, both with the pid."""
    [before] = drive.values(drive.send((state.probe, kind)))
    # Sent together: nothing comes between but what the worker itself does.
    [_, after] = drive.values(drive.send((state.dirty, kind), (state.probe, kind)))
    return before, after


@pytest.mark.parametrize("kind", state.ALWAYS)
def test_the_next_job_finds_it_as_it_was(make_drive, kind):
    before, after = found_by_the_next_job(make_drive().start(), kind)
    assert after == before


def test_a_spawned_worker_is_put_right_too(make_drive):
    drive = make_drive(start_method="spawn").start()
    for kind in state.ALWAYS:
        before, after = found_by_the_next_job(drive, kind)
        assert after == before, kind


def test_without_a_way_to_compare_descriptors_their_files_are_compared(make_drive):
    drive = make_drive(initializer=state.be_of_an_old_kernel).start()
    for kind in ("closed descriptors", "redirected descriptors"):
        before, after = found_by_the_next_job(drive, kind)
        assert after == before, kind


def test_what_the_initializer_has_set_up_stays(make_drive, tmp_path):
    drive = make_drive(initializer=state.set_up, initargs=(str(tmp_path),)).start()
    [before] = drive.values(drive.send((state.set_up_state,)))
    assert before[0] == str(tmp_path)
    [_, after] = drive.values(drive.send((state.undo_set_up,), (state.set_up_state,)))
    # The environment is the jobs' own affair.
    assert after == [*before[:6], None, before[7]]


def test_a_handler_that_raises_when_its_job_is_over_hits_no_other():
    report = run_pool(state.strike_or_square, range(300), workers=1, progress=False)
    assert report.values()[::2] == [number**2 for number in range(0, 300, 2)]
    assert all(len(outcome.attempts) == 1 for outcome in report.outcomes)


@pytest.mark.parametrize("number", [0, 1])
def test_a_directory_that_is_gone_keeps_nobody_from_working(make_drive, tmp_path, number):
    place = tmp_path / "place"
    place.mkdir()
    # Gone before the first job, or by it.
    prepare = state.remove_directory if number == 0 else os.chdir
    drive = make_drive(initializer=prepare, initargs=(str(place),)).start()
    drive.values(drive.send((state.leave_directory, str(place))))
    assert drive.values(drive.send((jobs.square, 3), (jobs.square, 4))) == [9, 16]


def test_what_a_job_prints_after_one_that_closed_stdout_is_seen(tmp_path):
    with script("-c", PRINTER) as running:
        assert running.line() == "the second job"
        assert running.end()[0] == 0


PRINTER = """
import os, sys
import knock
def job(number):
    if number:
        print("the second job")
    else:
        sys.stdout = None
        os.close(1)
knock.run_pool(job, range(2), workers=1, progress=False).raise_if_failed()
"""


def test_a_signal_that_is_blocked_when_it_comes_is_forgotten(make_drive):
    drive = make_drive().start()
    drive.values(drive.send((state.block_and_be_struck,), (jobs.square, 2)))
    [(pid, pending)] = drive.values(drive.send((state.pending_signals,)))
    assert (pid, pending) == (drive.pid(), [])
