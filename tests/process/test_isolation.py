"""What a job changes of its process is put back before the next job, as the level says."""

import os

import pytest

from knock.core.events import WorkerWorn
from knock.errors import ConfigError
from knock.queue import QueueInstance
from knock.run import run_pool
from tests.process import jobs, litter, state
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


# --- what is put back only where it is asked for --------------------------------------------------


@pytest.mark.parametrize("kind", state.ASKED)
def test_jobs_share_it_unless_it_is_asked_for(make_drive, kind):
    (pid, before), (pid_after, after) = found_by_the_next_job(make_drive().start(), kind)
    assert pid_after == pid
    assert after != before


@pytest.mark.parametrize("kind", state.ALWAYS | state.ASKED)
def test_with_restore_the_next_job_finds_it_as_it_was(make_drive, kind):
    drive = make_drive(isolation="restore").start()
    before, after = found_by_the_next_job(drive, kind)
    assert after == before
    assert not drive.all(WorkerWorn)


def test_with_restore_a_spawned_worker_is_put_right_too(make_drive):
    drive = make_drive(start_method="spawn", isolation="restore").start()
    for kind in state.ALWAYS | state.ASKED:
        before, after = found_by_the_next_job(drive, kind)
        assert after == before, kind


def test_with_restore_what_the_initializer_has_set_up_comes_back(make_drive, tmp_path):
    options = {"initializer": state.set_up, "initargs": (str(tmp_path),)}
    drive = make_drive(isolation="restore", **options).start()
    [before] = drive.values(drive.send((state.set_up_state,)))
    [_, after] = drive.values(drive.send((state.undo_set_up,), (state.set_up_state,)))
    assert after == before
    assert not drive.all(WorkerWorn)


def test_with_restore_a_worker_with_threads_left_starts_nothing_more(make_drive):
    drive = make_drive(isolation="restore").start()
    tickets = drive.send((litter.leave_thread,), (jobs.square, 2), (jobs.square, 3))
    drive.until(lambda: len(drive.handed_back()) == 2)
    assert list(drive.ended()) == tickets[:1]
    assert drive.handed_back() == tickets[1:]
    [worn] = drive.all(WorkerWorn)
    assert worn.reason == "a job left threads"


def test_with_restore_threads_that_end_at_once_are_no_reason(make_drive):
    drive = make_drive(isolation="restore").start()
    for _ in range(3):
        drive.values(drive.send((state.leave_ending_thread, 0.02), (jobs.square, 2)))
    assert not drive.all(WorkerWorn)


@pytest.mark.parametrize("name", ["RLIMIT_CORE", "RLIMIT_NOFILE"])
def test_with_restore_a_limit_that_cannot_be_raised_again_ends_the_worker(make_drive, name):
    drive = make_drive(isolation="restore", initializer=state.drop_privileges).start()
    drive.values(drive.send((state.lower_hard_limit, name)))
    [worn] = drive.until(lambda: drive.all(WorkerWorn))
    assert worn.reason == f"a job lowered the hard limit {name}"


def test_with_restore_what_cannot_be_put_back_ends_the_worker_in_order(make_drive):
    drive = make_drive(isolation="restore").start()
    drive.values(drive.send((state.freeze_warnings,)))
    [worn] = drive.until(lambda: drive.all(WorkerWorn))
    assert worn.reason == "a job left what cannot be put back (TypeError)"


# --- from the outside -----------------------------------------------------------------------------


def test_a_thousand_jobs_that_leave_a_thread_run_in_one_process():
    report = run_pool(state.look_up_shared_thread, range(1000), workers=1, progress=False)
    assert len(set(report.results)) == 1
    assert sum(o.attempts[0].usage.leftover_threads for o in report.outcomes) == 1
    assert not report.facts.workers_recycled
    assert not report.facts.worker_exits


def test_threads_left_by_every_job_recycle_nothing():
    report = run_pool(state.leave_waiting_thread, range(100), workers=1, progress=False)
    assert len(set(report.results)) == 1
    assert all(o.attempts[0].usage.leftover_threads == 1 for o in report.outcomes)


def test_with_restore_each_thread_left_costs_a_process_and_nobody_is_charged():
    report = run_pool(
        state.leave_waiting_thread, range(8), workers=2, isolation="restore", progress=False
    )
    assert len(set(report.results)) == 8
    assert all(len(outcome.attempts) == 1 for outcome in report.outcomes)
    # The last two may have been told to end before they had asked.
    assert report.facts.workers_recycled.keys() == {"a job left threads"}
    assert report.facts.workers_recycled["a job left threads"] >= 6
    assert not report.facts.worker_exits


@pytest.mark.parametrize("supervisor", ["thread", "process"])
def test_fresh_gives_each_attempt_a_process_of_its_own(witness, supervisor):
    report = run_pool(
        state.note_pid_and_fail_once,
        [(witness, number) for number in range(6)],
        workers=2,
        isolation="fresh",
        supervisor=supervisor,
        retry_attempts=1,
        retry_delay=0.0,
        progress=False,
    )
    assert report.results == list(range(6))
    pids = [attempt.worker_pid for outcome in report.outcomes for attempt in outcome.attempts]
    assert len(pids) == 12
    assert len(set(pids)) == 12
    assert sorted(fact.split()[1] for fact in witness.facts()) == sorted(map(str, pids))


def test_a_queue_isolates_as_it_is_told():
    with QueueInstance(concurrency=1, isolation="fresh", circuit_breaker_threshold=None) as queue:
        queue.process("pid", state.pid_of_job)
        queue.start()
        pids = [queue.result(queue.add("pid")) for _ in range(3)]
    assert len(set(pids)) == 3


@pytest.mark.parametrize("level", ["", "Fresh", None, 1, "restored"])
def test_another_level_is_refused_at_the_call(level):
    with pytest.raises(ConfigError, match=r"isolation must be one of shared, restore, fresh, not"):
        run_pool(jobs.square, [1], isolation=level)
    with pytest.raises(ConfigError, match="isolation must be one of"):
        QueueInstance(isolation=level)
