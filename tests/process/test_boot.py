"""Births: what a worker finds around it, and what becomes of those that fail."""

import os
import signal
import sys

import pytest

from knock.core.events import (
    WorkerBootFailed,
    WorkerReady,
)
from knock.pool.surroundings import THREAD_VARIABLES
from tests.process import jobs
from tests.witness import ROOT

pytestmark = pytest.mark.process


def surroundings(drive, *names):
    [found] = drive.values(drive.start().send((jobs.surroundings, names)))
    return found


# --- what is there --------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["forkserver", "spawn", "fork"])
def test_a_worker_has_the_surroundings_of_the_call(make_drive, monkeypatch, tmp_path, method):
    monkeypatch.setenv("OF_THE_CALL", "set")
    monkeypatch.delenv("PATH_INFO", raising=False)
    monkeypatch.chdir(tmp_path)
    old = os.umask(0o027)
    try:
        drive = make_drive(start_method=method, argv=("prog", "--option"))
        found = surroundings(drive, "OF_THE_CALL")
    finally:
        os.umask(old)
    assert found == {
        "cwd": str(tmp_path),
        "umask": 0o027,
        "path": [ROOT, *sys.path],
        "argv": ["prog", "--option"],
        "main": None,
        "OF_THE_CALL": "set",
    }


def test_a_second_pool_sees_what_has_changed_since_the_first(make_drive, monkeypatch, tmp_path):
    module = tmp_path / "changing_module.py"
    module.write_text("VALUE = 'first'\n")
    for value in ("first", "second, and longer"):
        module.write_text(f"VALUE = {value!r}\n")
        monkeypatch.setenv("CHANGING", value)
        drive = make_drive(sys_path=(str(tmp_path), ROOT, *sys.path)).start()
        tickets = drive.send(
            (jobs.import_value, "changing_module"), (jobs.surroundings, ("CHANGING",))
        )
        found, around = drive.values(tickets)
        assert (found, around["CHANGING"]) == (value, value)


@pytest.mark.parametrize("method", ["forkserver", "spawn"])
def test_numeric_threads_are_capped_but_the_users_settings_win(make_drive, monkeypatch, method):
    for name in THREAD_VARIABLES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("MKL_NUM_THREADS", "17")
    found = surroundings(make_drive(start_method=method, thread_cap=3), *THREAD_VARIABLES)
    others = dict.fromkeys(THREAD_VARIABLES, "3")
    assert {name: found[name] for name in THREAD_VARIABLES} == others | {"MKL_NUM_THREADS": "17"}
    assert "OMP_NUM_THREADS" not in os.environ


def test_libraries_that_follow_what_the_user_has_set_are_left_to_it(make_drive, monkeypatch):
    for name in THREAD_VARIABLES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("OMP_NUM_THREADS", "17")
    found = surroundings(make_drive(thread_cap=3), *THREAD_VARIABLES)
    assert {name for name in THREAD_VARIABLES if found[name] == "3"} == {
        "NUMBA_NUM_THREADS",
        "VECLIB_MAXIMUM_THREADS",
    }


def test_without_a_cap_the_environment_is_left_alone(make_drive, monkeypatch):
    for name in THREAD_VARIABLES:
        monkeypatch.delenv(name, raising=False)
    found = surroundings(make_drive(), *THREAD_VARIABLES)
    assert {found[name] for name in THREAD_VARIABLES} == {None}


@pytest.mark.parametrize("method", ["forkserver", "spawn", "fork"])
def test_the_initializer_runs_once_in_each_worker_before_its_jobs(make_drive, witness, method):
    initargs = ({"value": 3}, witness)
    drive = make_drive(start_method=method, initializer=jobs.initialize, initargs=initargs)
    drive.start(0, 1)
    for worker in (0, 1):
        tickets = drive.send((jobs.initialized,), (jobs.initialized,), worker=worker)
        assert drive.values(tickets) == [{"value": 3}] * 2
    assert sorted(witness.facts()) == sorted(map(str, drive.pool.pids().values()))


def test_preloaded_modules_are_there_before_the_fork(make_drive, tmp_path):
    (tmp_path / "slow_module.py").write_text("import os\nVALUE = os.getpid()\n")
    path = (str(tmp_path), ROOT, *sys.path)
    drive = make_drive(sys_path=path, preload=("slow_module",)).start(0, 1)
    call = (jobs.import_value, "slow_module")
    [first], [second] = (drive.values(drive.send(call, worker=w)) for w in (0, 1))
    assert first == second
    assert first not in drive.pool.pids().values()


# --- what fails -----------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["forkserver", "spawn", "fork"])
def test_a_preload_that_fails_is_told_with_its_traceback(make_drive, method):
    drive = make_drive(start_method=method, preload=("no_such_module_anywhere",))
    drive.pool.start_worker(0, 1)
    drive.pool.start_worker(1, 1)
    for worker in (0, 1):
        death = drive.exit(worker).death
        assert "module failed" in death.cause
        assert "No module named 'no_such_module_anywhere'" in death.stderr


def test_an_initializer_that_fails_is_told_with_its_traceback(make_drive):
    drive = make_drive(initializer=jobs.fail_to_initialize)
    drive.pool.start_worker(0, 1)
    exited = drive.exit()
    [failed] = drive.all(WorkerBootFailed)
    assert "RuntimeError: the initializer says no" in failed.detail
    assert "in fail_to_initialize" in failed.detail
    assert "knock: raised by the initializer" in failed.detail
    assert exited.death.exit_code == 1
    assert not drive.all(WorkerReady)


def test_an_initializer_that_ends_the_process_is_told_with_its_last_words(make_drive):
    drive = make_drive(initializer=jobs.leave_at_boot)
    drive.pool.start_worker(0, 1)
    death = drive.exit().death
    assert (death.exit_code, death.stderr) == (7, "last words\n")


def test_a_definition_that_cannot_be_imported_is_told(make_drive, monkeypatch, tmp_path):
    (tmp_path / "only_here.py").write_text("def initialize(): pass\n")
    monkeypatch.syspath_prepend(tmp_path)
    initialize = __import__("only_here").initialize
    drive = make_drive(initializer=initialize, sys_path=(ROOT, *sys.path[1:]))
    drive.pool.start_worker(0, 1)
    drive.exit()
    [failed] = drive.all(WorkerBootFailed)
    assert "No module named 'only_here'" in failed.detail
    assert "knock: while a worker loaded the functions" in failed.detail


def test_a_boot_that_hangs_is_killed_in_time(make_drive, witness):
    drive = make_drive(initializer=jobs.hang_at_boot, initargs=(witness,), boot_timeout=3.0)
    drive.pool.start_worker(0, 1)
    death = drive.exit().death
    [pid] = witness.facts()
    assert (death.signal, death.stderr, death.pid) == (
        signal.SIGKILL,
        "about to hang\n",
        int(pid),
    )
    assert death.cause == "killed by SIGKILL: it was not ready after 3 s"
    assert drive.pool.next_deadline() is None


def test_the_time_for_booting_is_over_when_the_worker_is_ready(make_drive):
    drive = make_drive(boot_timeout=60).start()
    assert drive.pool.next_deadline() is None
    assert drive.values(drive.send((jobs.square, 2))) == [4]
