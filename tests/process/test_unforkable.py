"""Preloaded modules that leave threads running: their process must not be forked."""

import logging
import os
import sys
import threading
from typing import Any

import pytest

from knock import run_pool
from knock.config import usable_cores
from knock.pool.preloading import count_threads, import_watched
from knock.pool.surroundings import THREAD_VARIABLES
from knock.protocol.logline import LogLine
from knock.queue import Queue
from tests.process import jobs
from tests.witness import ROOT

pytestmark = pytest.mark.process

HOLDS_A_LOCK = """
import threading
LOCK = threading.Lock()
IS_HELD = threading.Event()
def hold():
    with LOCK:
        IS_HELD.set()
        threading.Event().wait()
threading.Thread(target=hold, daemon=True).start()
IS_HELD.wait()
"""
ENDS_SOON = """
import threading
ENDED = threading.Event()
def end():
    import time
    time.sleep(0.02)
    ENDED.set()
threading.Thread(target=end).start()
"""
NATIVE = """
import ctypes
libc = ctypes.CDLL(None)
libc.pthread_create(ctypes.byref(ctypes.c_ulong()), None, libc.pause, None)
"""


def parent_and_modules(names: tuple[str, ...]) -> dict[str, Any]:
    with open(f"/proc/{os.getppid()}/cmdline", encoding="utf-8") as file:
        parent = file.read()
    with open("/proc/self/cmdline", encoding="utf-8") as file:
        # One that is forked has its parent's command line.
        is_forked = file.read() == parent
    return {"is_forked": is_forked, "loaded": [name for name in names if name in sys.modules]}


@pytest.fixture
def modules(tmp_path, monkeypatch):
    """Write modules and let them be found."""

    def write(**codes):
        for name, code in codes.items():
            (tmp_path / f"{name}.py").write_text(code)
        return (str(tmp_path), ROOT, *sys.path)

    monkeypatch.syspath_prepend(str(tmp_path))
    return write


@pytest.fixture
def warned(make_drive):
    """Start a pool; return it and what it says for the caller's log."""

    def start(**settings):
        drive = make_drive(**settings)
        said = []
        drive.pool.on_message = lambda said_: said.append(said_.message)
        return drive.start(0, 1), said

    return start


@pytest.mark.parametrize("method", ["forkserver", "fork"])
@pytest.mark.parametrize("code", [HOLDS_A_LOCK, NATIVE], ids=["python", "native"])
def test_workers_are_executed_and_the_module_is_named(modules, warned, method, code):
    path = modules(harmless="VALUE = 1", threaded=code)
    preload = ("harmless", "threaded", "json")
    drive, said = warned(sys_path=path, preload=preload, start_method=method)
    [line] = said
    assert isinstance(line, LogLine)
    assert (line.origin.name, line.level) == ("knock.pool", logging.WARNING)
    assert "the preloaded module threaded left threads running" in line.text
    for worker in (0, 1):
        tickets = drive.send((parent_and_modules, preload), worker=worker)
        assert drive.values(tickets) == [{"is_forked": False, "loaded": list(preload)}]


def test_a_pool_warns_once_though_its_nursery_is_started_again(modules, warned):
    path = modules(threaded=HOLDS_A_LOCK)
    drive, said = warned(sys_path=path, preload=("threaded",))
    nursery = drive.pool._nursery
    os.kill(nursery.pid, 9)
    drive.until(lambda: len(drive.exits()) == 2)
    drive.start(generation=2)
    assert drive.pool._nursery.pid != nursery.pid
    assert drive.values(drive.send((jobs.square, 3), generation=2)) == [9]
    assert len(said) == 1


@pytest.mark.parametrize("code", ["VALUE = 1", ENDS_SOON], ids=["none", "one that ends"])
def test_modules_that_leave_no_thread_are_forked(modules, warned, code):
    path = modules(quiet=code)
    drive, said = warned(sys_path=path, preload=("quiet",))
    assert said == []
    [found] = drive.values(drive.send((parent_and_modules, ("quiet",))))
    assert found == {"is_forked": True, "loaded": ["quiet"]}


def test_a_module_that_fails_only_in_its_worker_is_told(modules, make_drive, witness):
    code = f"""
from tests.witness import Witness
WITNESS = Witness({witness.path!r})
WITNESS.note("imported")
if len(WITNESS.facts()) > 1:
    raise LookupError("the second time")
"""
    path = modules(threaded=HOLDS_A_LOCK, fails=code)
    drive = make_drive(sys_path=path, preload=("threaded", "fails"))
    drive.pool.start_worker(0, 1)
    drive.exit()
    assert "LookupError: the second time" in str(drive.events)


@pytest.mark.parametrize("cap, is_forked", [(1, True), (2, False)])
@pytest.mark.skipif(usable_cores()[0] < 2, reason="OpenBLAS starts a thread for each core")
def test_numpy_leaves_no_thread_if_it_may_have_one_only(warned, monkeypatch, cap, is_forked):
    for name in THREAD_VARIABLES:
        monkeypatch.delenv(name, raising=False)
    drive, said = warned(preload=("numpy",), thread_cap=cap)
    [found] = drive.values(drive.send((parent_and_modules, ("numpy",))))
    assert found == {"is_forked": is_forked, "loaded": ["numpy"]}
    assert ["numpy left threads" in line.text for line in said] == [True] * (not is_forked)


@pytest.mark.parametrize("place", ["thread", "process"])
def test_the_caller_is_warned_wherever_the_supervisor_runs(modules, caplog, place):
    modules(threaded=HOLDS_A_LOCK)
    with caplog.at_level(logging.WARNING, "knock.pool"):
        report = run_pool(
            jobs.square, [3], preload=["threaded"], supervisor=place, workers=2, progress=False
        )
    assert report.results == [9]
    [record] = [r for r in caplog.records if r.name == "knock.pool"]
    assert "threaded left threads running" in record.getMessage()


def test_a_queue_warns_too(modules, caplog):
    modules(threaded=HOLDS_A_LOCK)
    queue = Queue(concurrency=1, preload=["threaded"])
    with caplog.at_level(logging.WARNING, "knock.pool"):
        queue.process("nothing", nothing)
        queue.start()
        queue.result(queue.add("nothing"), 30)
        queue.stop()
    assert "threaded left threads running" in caplog.text


def nothing(job: Any) -> None:
    return None


def test_threads_are_counted():
    before = count_threads()
    go_on = threading.Event()
    thread = threading.Thread(target=go_on.wait)
    thread.start()
    assert count_threads() == before + 1
    go_on.set()
    thread.join()


def test_a_module_that_cannot_be_imported_raises():
    with pytest.raises(ImportError):
        import_watched(["no_such_module_anywhere"])
