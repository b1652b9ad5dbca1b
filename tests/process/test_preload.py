"""Modules that are preloaded run in the nursery, and may do anything there."""

import os
import signal
import sys

import pytest

from tests.process import jobs
from tests.witness import ROOT

pytestmark = pytest.mark.process

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
    ctypes.CDLL(None).signal(signal.SIGCHLD, None)
    Witness({witness!r}).note("disarmed")
threading.Thread(target=disarm, daemon=True).start()
"""


def test_a_death_is_told_though_a_thread_of_a_preloaded_module_has_disarmed_signals(
    preload, witness, gate
):
    drive = preload(DISARMS_LATER.format(gate=gate.path, witness=witness.path)).start()
    gate.open()
    witness.wait(1)
    os.kill(drive.pid(), signal.SIGKILL)
    assert drive.exit().death.signal == signal.SIGKILL


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
