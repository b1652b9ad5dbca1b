"""What is promised where the system lacks a mechanism; all of them are masked here."""

import os
import signal
import subprocess
import sys

import pytest

from knock.errors import ConfigError
from knock.pool.kin import child_ends
from knock.pool.mechanism import MECHANISMS, check_masked, has
from knock.pool.usage import UsageMeter
from tests.process import jobs
from tests.process.test_end import nursery_pid
from tests.supervisor.conftest import Caller
from tests.witness import ROOT, is_alive, script, wait_for, wait_gone

pytestmark = [pytest.mark.process, pytest.mark.platform]
METHODS = ["forkserver", "spawn", "fork"]


@pytest.fixture(autouse=True)
def all_masked(monkeypatch):
    monkeypatch.setenv("KNOCK_DISABLE", ",".join(MECHANISMS))


# --- the settings ---------------------------------------------------------------------------------


@pytest.mark.parametrize("name", MECHANISMS)
def test_only_what_is_named_is_masked(monkeypatch, name):
    monkeypatch.setenv("KNOCK_DISABLE", f" {name} ,")
    check_masked()
    assert [other for other in MECHANISMS if not has(other)] == [name]


@pytest.mark.parametrize("place", ["process", "thread"])
def test_an_unknown_name_is_an_error_of_who_starts_a_pool(monkeypatch, place):
    monkeypatch.setenv("KNOCK_DISABLE", "pidfd,pidfs")
    with pytest.raises(ConfigError, match=r"KNOCK_DISABLE names 'pidfs', .* pidfd, subreaper"):
        Caller(place)


LACKING = """
import os, socket, sys
{lack}
import knock
try:
    knock.run_pool(print, [1], progress=False)
except knock.UnsupportedPlatformError as exc:
    print(exc)
"""


@pytest.mark.parametrize(
    "lack, named",
    [
        ("del os.fork", "os.fork"),
        ("del os.register_at_fork, socket.AF_UNIX", "os.register_at_fork, socket.AF_UNIX"),
        ("sys.modules['fcntl'] = None", "the module fcntl"),
        # Found missing by whoever has imported knock before.
        ("import knock.run; del os.setsid", "os.setsid"),
    ],
)
def test_what_nothing_can_replace_is_named(lack, named):
    done = subprocess.run(
        [sys.executable, "-c", LACKING.format(lack=lack)],
        check=False,
        env={**os.environ, "PYTHONPATH": ROOT},
        capture_output=True,
        text=True,
        timeout=60,
    )
    said = f"knock needs {named}, which this platform (linux) lacks\n"
    assert (done.stdout, done.stderr) == (said, "")


# --- the mask arrives -----------------------------------------------------------------------------


@pytest.mark.parametrize("method", METHODS)
def test_nursery_and_workers_know_what_is_masked(make_drive, method):
    drive = make_drive(start_method=method).start()
    [(masked, is_adopter, death_signal)] = drive.values(drive.send((jobs.mechanisms_here,)))
    assert masked == list(MECHANISMS)
    assert (is_adopter, death_signal) == (0, 0)


# --- what holds -----------------------------------------------------------------------------------

HOLDER = """
import sys
from tests.process import jobs
from tests.process.harness import Drive
from tests.witness import Witness
witness = Witness(sys.argv[2])
drive = Drive(start_method=sys.argv[1]).start(0, 1)
for worker in (0, 1):
    drive.send((jobs.breed_here_and_spin, witness), worker=worker)
witness.wait(4)
print("ready", flush=True)
sys.stdin.readline()
"""


@pytest.mark.parametrize("method", METHODS)
def test_what_stayed_in_its_session_does_not_outlive_the_supervisor(method, witness):
    with script("-c", HOLDER, method, witness.path) as running:
        assert running.line() == "ready"
        # A nursery, two workers that hold the GIL in C, a child of each.
        wait_for(lambda: len(running.descendants()) >= 5)
        running.kill(signal.SIGKILL)
        running.wait_descendants_gone(5.0)


def test_a_dead_nursery_is_told_and_no_worker_of_it_lives_on(make_drive, witness):
    drive = make_drive().start(0, 1)
    for worker in (0, 1):
        drive.send((jobs.breed_here_and_spin, witness), worker=worker)
    pids = {*map(int, witness.wait(4)), *drive.pool.pids().values()}
    os.kill(nursery_pid(set(drive.pool.pids().values())), signal.SIGKILL)
    for worker in (0, 1):
        assert drive.exit(worker).death.is_infrastructure
    # Dead before it is told: an attempt that ran on would run beside the next one.
    assert not [pid for pid in pids if is_alive(pid)]
    drive.start(generation=2)
    assert drive.values(drive.send((jobs.square, 3), generation=2)) == [9]


def test_a_kill_lands_and_is_told(make_drive, witness):
    drive = make_drive().start()
    [ticket, last] = drive.send((jobs.breed_here_and_spin, witness), (jobs.square, 2))
    pids = set(map(int, witness.wait(2)))
    drive.kill(ticket)
    exited = drive.exit()
    assert exited.death.signal == signal.SIGKILL
    assert exited.unstarted == [last]
    wait_gone(pids, 1.0)


@pytest.mark.parametrize("masked", ["", "pidfd"])
def test_a_wait_for_a_child_has_a_limit_and_leaves_it_to_be_reaped(monkeypatch, masked):
    monkeypatch.setenv("KNOCK_DISABLE", masked)
    with subprocess.Popen(["sleep", "1000"]) as child:
        assert not child_ends(child.pid, 0.02)
        child.kill()
        assert child_ends(child.pid, 10.0)
        assert os.waitpid(child.pid, 0) == (child.pid, signal.SIGKILL)
        assert child_ends(child.pid, 10.0)
        child.returncode = 0


def test_a_peak_that_no_reset_stands_behind_is_not_called_exact():
    meter = UsageMeter()
    meter.begin()
    held = b"x" * (32 << 20)
    measured = meter.end()
    assert len(held)
    assert not measured.is_exact


def test_files_without_a_name_are_nowhere_to_be_found(make_drive, tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    drive = make_drive().start()
    assert drive.values(drive.send((jobs.square, 3))) == [9]
    assert list(tmp_path.iterdir()) == []
    assert f"{tmp_path}/knock-ledger" in " ".join(open_names())


def test_a_directory_that_takes_no_file_is_named_where_workers_cannot_start(
    make_drive, tmp_path, monkeypatch
):
    monkeypatch.setenv("TMPDIR", str(tmp_path / "nowhere"))
    drive = make_drive()
    drive.pool.start_worker(0, 1)
    death = drive.exit().death
    assert death.is_infrastructure
    assert str(tmp_path / "nowhere") in death.cause


def open_names() -> list[str]:
    names = []
    for fd in os.listdir("/proc/self/fd"):
        try:
            names.append(os.readlink(f"/proc/self/fd/{fd}"))
        except OSError:
            continue
    return names
