"""Processes that a job leaves behind are gone before its answer is there, and are counted."""

import os

import pytest

from knock.pool import leftovers
from tests.process import jobs, litter
from tests.witness import is_alive, wait_gone

pytestmark = [pytest.mark.process, pytest.mark.platform]

# These fall to whoever adopts orphans.
ADOPTED = pytest.mark.needs("subreaper")
KINDS = [
    litter.leave_plain,
    litter.leave_in_own_session,
    pytest.param(litter.leave_forked_twice, marks=ADOPTED),
    pytest.param(litter.leave_daemon, marks=ADOPTED),
    litter.leave_deaf,
    litter.leave_with_thread,
]


def left_by(drive, *call):
    """Run one job; return its answer's count of processes."""
    [ticket] = drive.send(call)
    drive.until(lambda: ticket in drive.ended())
    return drive.ended()[ticket].usage.leftover_processes


@pytest.mark.parametrize("leave", KINDS, ids=lambda kind: kind.__name__)
def test_a_process_left_behind_is_dead_when_the_answer_comes(drive, witness, leave):
    drive.start()
    assert left_by(drive, leave, witness) == 1
    [pid] = map(int, witness.facts())
    assert not is_alive(pid)
    assert left_by(drive, jobs.square, 2) == 0


@pytest.mark.needs("subreaper")
def test_a_tree_of_sessions_is_taken_whole(drive, witness):
    drive.start()
    count = left_by(drive, litter.leave_tree, witness, 6)
    pids = set(map(int, witness.facts()))
    assert len(pids) == 6
    # The last fork of the chain notes nothing.
    assert count == 7
    assert not any(map(is_alive, pids))


def test_a_job_that_fails_leaves_nothing_behind_either(make_drive, witness):
    drive = make_drive().start()
    assert left_by(drive, litter.leave_and_raise, witness) == 1
    assert not is_alive(int(witness.facts()[0]))


def test_a_child_that_has_ended_is_reaped_and_not_counted(make_drive):
    drive = make_drive().start()
    assert left_by(drive, litter.leave_ended) == 0
    [left] = drive.values(drive.send((jobs.children_of_oneself,)))
    assert left == []


def test_what_threads_go_on_starting_is_gone_before_a_later_job(make_drive, witness):
    drive = make_drive().start()
    count = left_by(drive, litter.leave_by_threads, witness, 5)
    pids = set(map(int, witness.wait(10)))
    count += left_by(drive, jobs.square, 2)
    assert count == 10
    assert not any(map(is_alive, pids))


def test_a_job_that_replaces_functions_of_os_is_cleaned_up_after(make_drive, witness):
    drive = make_drive().start()
    assert left_by(drive, litter.break_everything, witness) == 1
    assert not is_alive(int(witness.facts()[0]))


def test_children_are_found_and_counted_once_when_descriptors_run_out(make_drive, witness):
    drive = make_drive().start()
    assert left_by(drive, litter.leave_without_descriptors, witness) == 3
    assert not any(is_alive(int(pid)) for pid in witness.facts())


@pytest.mark.needs("subreaper")
def test_children_of_the_initializer_stay(make_drive, witness):
    drive = make_drive(initializer=litter.start_helper, initargs=(witness,)).start()
    pids = set(map(int, witness.wait(2)))
    assert left_by(drive, litter.leave_plain, witness) == 1
    assert all(map(is_alive, pids))
    assert not is_alive(int(witness.facts()[2]))
    drive.close()
    wait_gone(pids, 1.0)


@pytest.mark.needs("subreaper")
def test_a_forked_process_that_comes_back_kills_nothing(make_drive, witness):
    drive = make_drive().start()
    # It ends as a script would, and its own child falls to the worker.
    assert left_by(drive, litter.come_back_with_helper, witness) == 1
    assert not is_alive(int(witness.facts()[0]))


def test_the_death_of_a_worker_takes_what_has_fallen_to_it(drive, witness, gate):
    drive.start()
    [ticket] = drive.send((jobs.wait_with_orphan, witness, gate))
    [orphan] = map(int, witness.wait(1))
    drive.kill(ticket)
    drive.exit()
    wait_gone({orphan}, 1.0)


def test_a_sweep_without_children_looks_at_none():
    looked = []
    leftover = leftovers.Leftovers()
    leftover._strays = lambda: looked.append(1) or set()
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)
    assert leftover.sweep() == 0
    assert not looked


# --- libraries that start processes ---------------------------------------------------------------


@pytest.mark.parametrize(
    "use, value",
    [
        (litter.use_subprocess, "42"),
        (litter.use_process, 0),
        (litter.use_executor, [0, 2, 4, 6]),
        (litter.use_pool, [0, 2, 4, 6]),
        (litter.use_asyncio, "42"),
    ],
    ids=lambda item: getattr(item, "__name__", ""),
)
def test_a_job_may_start_processes_that_it_waits_for(drive, use, value):
    drive.start()
    for _ in range(2):
        [ticket] = drive.send((use,))
        assert drive.values([ticket]) == [value]
        assert drive.ended()[ticket].usage.leftover_processes == 0


def test_the_resource_tracker_stays_and_serves_the_next_job(drive):
    drive.start()
    tickets = drive.send((litter.use_shared_memory,), (litter.use_shared_memory,))
    [first, second] = drive.values(tickets)
    assert first == second
    assert is_alive(first)
    assert left_by(drive, litter.leave_ended) == 0
    assert is_alive(first)


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_a_pool_left_open_is_ended_for_good(make_drive, witness, method):
    drive = make_drive().start()
    assert left_by(drive, litter.leave_pool, witness, method) == 2
    assert not any(is_alive(int(pid)) for pid in witness.facts())
    # It started no others, and says so to who comes back to it.
    assert left_by(drive, jobs.square, 2) == 0
    assert drive.values(drive.send((litter.use_left_pool,))) == ["Pool not running"]
    drive.pool.stop_worker(0, 1)
    assert drive.exit().death.exit_code == 0


@pytest.mark.parametrize(
    "open_pool, use",
    [(litter.open_pool, litter.use_open_pool), (litter.open_slow_pool, litter.use_slow_pool)],
)
def test_a_pool_of_the_initializer_goes_on(make_drive, open_pool, use):
    drive = make_drive(initializer=open_pool).start()
    for _ in range(5):
        [ticket] = drive.send((use,))
        assert drive.values([ticket]) == [[0, 2, 4, 6]]
        assert drive.ended()[ticket].usage.leftover_processes == 0


def test_a_pool_of_threads_goes_on(make_drive, witness):
    drive = make_drive().start()
    assert drive.values(drive.send((litter.leave_thread_pool,))) == [[0, 2, 4, 6]]
    assert left_by(drive, litter.leave_plain, witness) == 1
    assert drive.values(drive.send((litter.leave_thread_pool,))) == [[0, 2, 4, 6]]


def test_an_executor_left_open_is_broken_for_the_next_job(make_drive, witness):
    drive = make_drive().start()
    assert left_by(drive, litter.leave_executor, witness) == 2
    assert not any(is_alive(int(pid)) for pid in witness.facts())
    assert drive.values(drive.send((litter.use_left_executor,))) == ["BrokenProcessPool"]
    drive.pool.stop_worker(0, 1)
    assert drive.exit().death.exit_code == 0


@pytest.mark.parametrize("method", ["fork", "spawn", pytest.param("forkserver", marks=ADOPTED)])
def test_multiprocessing_works_on_after_a_process_was_left(make_drive, witness, method):
    drive = make_drive().start()
    for number in range(2):
        # With a forkserver that is started for it.
        assert left_by(drive, litter.leave_process, witness, method) == 1 + (method == "forkserver")
        assert not is_alive(int(witness.facts()[number]))
        assert drive.values(drive.send((litter.active_children,))) == [0]
    drive.pool.stop_worker(0, 1)
    assert drive.exit().death.exit_code == 0


# --- threads --------------------------------------------------------------------------------------


def test_threads_left_are_counted_and_stay(make_drive):
    drive = make_drive().start()
    tickets = drive.send(
        (litter.leave_thread,), (litter.leave_thread,), (jobs.square, 2), (litter.thread_count,)
    )
    drive.values(tickets)
    left = [drive.ended()[ticket].usage.leftover_threads for ticket in tickets]
    assert left == [1, 1, 0, 0]
    assert drive.values(tickets)[-1] == 3
