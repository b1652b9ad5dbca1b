"""Modules that are preloaded run in the nursery, and may do anything there."""

import os
import signal
import sys

import pytest

from knock.core.events import (
    WorkerReady,
)
from tests.process import jobs
from tests.witness import ROOT, is_alive, script, wait_gone

pytestmark = [pytest.mark.process, pytest.mark.platform]

ASYNCIO = """
import asyncio, signal
async def main():
    asyncio.get_running_loop().add_signal_handler(signal.SIGCHLD, print)
asyncio.run(main())
"""
DISARMED = {
    "an event loop with a signal handler": ASYNCIO,
    "no handler": "import signal; signal.signal(signal.SIGCHLD, signal.SIG_DFL)",
    "ignored": "import signal; signal.signal(signal.SIGCHLD, signal.SIG_IGN)",
    "no wakeup": "import signal; signal.set_wakeup_fd(-1)",
    "blocked": "import signal; signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGCHLD])",
}


@pytest.fixture
def preload(make_drive, tmp_path):
    def start(code, **settings):
        (tmp_path / "preloaded_module.py").write_text(code)
        path = (str(tmp_path), ROOT, *sys.path)
        return make_drive(sys_path=path, preload=("preloaded_module",), **settings)

    return start


@pytest.mark.parametrize("name", DISARMED)
def test_a_death_is_told_whatever_a_preloaded_module_does_to_signals(preload, name):
    drive = preload(DISARMED[name]).start()
    os.kill(drive.pid(), signal.SIGKILL)
    assert drive.exit().death.signal == signal.SIGKILL


DISARMS_LATER = """
import ctypes, signal, threading
from tests.witness import Gate, Witness
def disarm():
    Gate({gate!r}).pass_through()
    ctypes.CDLL(None).signal(signal.SIGCHLD, {handler})
    Witness({witness!r}).note("disarmed")
threading.Thread(target=disarm, daemon=True).start()
"""


@pytest.mark.needs("pidfd")
@pytest.mark.parametrize(
    "handler, seen",
    [(signal.SIG_DFL, "killed by SIGKILL"), (signal.SIG_IGN, "ended unseen")],
    ids=["none", "ignored"],
)
def test_a_death_is_told_though_a_thread_of_a_preloaded_module_has_disarmed_signals(
    preload, witness, gate, handler, seen
):
    code = DISARMS_LATER.format(gate=gate.path, witness=witness.path, handler=int(handler))
    drive = preload(code).start()
    gate.open()
    witness.wait(1)
    pid = drive.pid()
    os.kill(pid, signal.SIGKILL)
    death = drive.exit().death
    assert death.cause.startswith(seen)
    assert death.pid == pid


HANGS = """
import os, threading
from tests.witness import Witness
Witness({witness!r}).note(os.getpid())
threading.Event().wait()
"""


@pytest.mark.parametrize("method", ["forkserver", "spawn", "fork"])
def test_a_module_that_hangs_is_told_in_time(preload, witness, method):
    code = HANGS.format(witness=witness.path)
    drive = preload(code, start_method=method, boot_timeout=3.0)
    drive.pool.start_worker(0, 1)
    drive.pool.start_worker(1, 1)
    for worker in (0, 1):
        death = drive.exit(worker).death
        assert death.cause == "preloading preloaded_module was not done after 3 s"
        assert not death.is_infrastructure
    wait_gone(set(map(int, witness.facts())), 1.0)
    assert drive.pool.next_deadline() is None


def test_a_module_that_ends_the_nursery_is_named_and_to_blame(preload):
    drive = preload("import os; os._exit(7)")
    drive.pool.start_worker(0, 1)
    death = drive.exit().death
    cause = "the process that was preloading preloaded_module exited with code 7"
    assert (death.cause, death.is_infrastructure) == (cause, False)


HOLDER = """
import sys
from tests.process.harness import Drive
path = (sys.argv[2], *sys.path)
drive = Drive(start_method=sys.argv[1], sys_path=path, preload=("preloaded_module",))
for worker in range(3):
    drive.pool.start_worker(worker, 1)
print("ready", flush=True)
sys.stdin.readline()
"""


@pytest.mark.needs("f_setsig")
@pytest.mark.parametrize("method", ["forkserver", "fork"])
def test_a_module_that_hangs_does_not_outlive_the_caller(tmp_path, witness, method):
    (tmp_path / "preloaded_module.py").write_text(HANGS.format(witness=witness.path))
    with script("-c", HOLDER, method, str(tmp_path)) as running:
        assert running.line() == "ready"
        # With the orders for three workers waiting in its socket it is still importing.
        [nursery] = map(int, witness.wait(1))
        assert is_alive(nursery)
        running.kill(signal.SIGKILL)
        running.wait_descendants_gone(1.0)


def test_orders_that_come_while_it_imports_do_not_kill_a_nursery(preload, witness, gate):
    code = f"""
from tests.witness import Gate, Witness
Witness({witness.path!r}).note("imports")
Gate({gate.path!r}).pass_through()
"""
    drive = preload(code)
    drive.pool.start_worker(0, 1)
    witness.wait(1)
    drive.pool.start_worker(1, 1)
    gate.open()
    drive.until(lambda: len(drive.all(WorkerReady)) == 2)
    assert not drive.exits()


def test_what_a_preloaded_module_has_started_lives_on_and_its_end_harms_nobody(preload, witness):
    code = f"""
import subprocess
from tests.witness import Witness
subprocess.Popen(["true"])
VALUE = subprocess.Popen(["sleep", "1000"]).pid
Witness({witness.path!r}).note(VALUE)
"""
    drive = preload(code).start()
    os.kill(drive.pid(), signal.SIGKILL)
    drive.exit()
    drive.start(generation=2)
    [helper] = map(int, witness.facts())
    assert os.path.exists(f"/proc/{helper}")
    assert drive.values(drive.send((jobs.square, 3), generation=2)) == [9]
