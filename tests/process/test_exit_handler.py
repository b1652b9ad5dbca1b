"""What runs at the end of a worker: what was registered there, and nothing that it inherited."""

import os
import sys

import pytest

from tests.process import jobs
from tests.witness import ROOT, script

pytestmark = pytest.mark.process

CALLER = """
import os, signal, sys
from multiprocessing import Process
from tests.process import jobs
from tests.process.harness import Drive
from tests.witness import Witness
witness = Witness(sys.argv[1])
jobs.note_at_exit(witness)
child = Process(target=signal.pause, daemon=True)
child.start()
drive = Drive(start_method="fork").start(0, 1)
for worker in (0, 1):
    drive.values(drive.send((jobs.note_at_exit, witness), worker=worker))
pids = drive.pool.pids()
for worker in (0, 1):
    drive.pool.stop_worker(worker, 1)
codes = [drive.exit(worker).death.exit_code for worker in (0, 1)]
drive.close()
print(os.getpid(), *pids.values(), *codes, child.is_alive(), flush=True)
sys.stdin.readline()
"""


def test_workers_run_their_own_exit_handlers_and_not_the_callers(witness):
    with script("-c", CALLER, witness.path) as running:
        caller, *workers, first, second, has_child = running.line().split()
        in_workers = witness.facts()
        running.say()
        code, _, errors = running.end()
    assert (first, second, has_child, code, errors) == ("0", "0", "True", 0, "")
    kinds = ("atexit", "finalize", "multiprocessing", "logging")
    assert sorted(in_workers) == sorted(f"{kind} {pid}" for kind in kinds for pid in workers)
    assert sorted(witness.facts()[8:]) == sorted(f"{kind} {caller}" for kind in kinds)


def test_what_a_preloaded_module_owns_outlives_the_workers(make_drive, tmp_path):
    (tmp_path / "owning_module.py").write_text(
        "import tempfile\nowner = tempfile.TemporaryDirectory()\nVALUE = owner.name\n"
    )
    path = (str(tmp_path), ROOT, *sys.path)
    drive = make_drive(sys_path=path, preload=("owning_module",)).start(0, 1)
    call = (jobs.import_value, "owning_module")
    [folder] = drive.values(drive.send(call))
    drive.pool.stop_worker(0, 1)
    drive.exit()
    assert drive.values(drive.send((jobs.is_directory, folder), worker=1)) == [True]
    os.rmdir(folder)
