"""How many threads numeric libraries have in a worker, before, in and after a job of several."""

import importlib
import os
import sys
from typing import Any

import pytest

from knock.config import usable_cores
from knock.pool.surroundings import THREAD_VARIABLES

pytestmark = [
    pytest.mark.process,
    # OpenBLAS starts no more threads than there are cores, whatever its variable says.
    pytest.mark.skipif(usable_cores()[0] < 2, reason="needs two cores"),
]

NAMES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS")


def block(module: str) -> None:
    """Let a module be missing in this worker."""
    sys.modules[module] = None  # type: ignore[assignment]


def load_numpy() -> None:
    importlib.import_module("numpy")


def block_and_load() -> None:
    block("threadpoolctl")
    load_numpy()


def seen(loads: bool = True) -> dict[str, Any]:
    """The variables, and the sizes of the pools of numpy's libraries, loaded here if not before."""
    if loads:
        load_numpy()
    blocked = "threadpoolctl" in sys.modules and sys.modules["threadpoolctl"] is None
    if blocked:
        del sys.modules["threadpoolctl"]
    found = importlib.import_module("threadpoolctl").threadpool_info()
    if blocked:
        block("threadpoolctl")
    sizes = {pool["num_threads"] for pool in found}
    return {"variables": [os.environ.get(name) for name in NAMES], "sizes": sizes}


def leave_its_own() -> None:
    os.environ["OMP_NUM_THREADS"] = "7"


def fail() -> None:
    raise ValueError("in a job of several threads")


CAPPED = {"variables": ["1", "1"], "sizes": {1}}
WIDE = {"variables": ["2", "2"], "sizes": {2}}


@pytest.fixture
def start(make_drive, monkeypatch):
    for name in THREAD_VARIABLES:
        monkeypatch.delenv(name, raising=False)

    def start(**settings):
        return make_drive(**({"thread_cap": 1} | settings)).start()

    return start


def run_as(drive, job_type, *call):
    return drive.values(drive.send_as(job_type, call))[0]


@pytest.mark.parametrize("settings", [{}, {"initializer": load_numpy}, {"preload": ("numpy",)}])
def test_libraries_have_the_threads_of_the_job_while_it_runs(start, settings):
    drive = start(**settings)
    for _ in range(2):
        assert run_as(drive, "wide", seen) == WIDE
        assert run_as(drive, "do", seen) == CAPPED


def test_a_library_that_was_loaded_under_the_cap_has_more_threads_later(start):
    drive = start()
    assert run_as(drive, "do", seen) == CAPPED
    assert run_as(drive, "wide", seen) == WIDE


def test_threads_are_taken_back_after_a_failure(start):
    drive = start(initializer=load_numpy)
    [ticket] = drive.send_as("wide", (fail,))
    drive.until(lambda: ticket in drive.ended())
    assert drive.ended()[ticket].error.message == "in a job of several threads"
    assert run_as(drive, "do", seen) == CAPPED


def test_a_cap_that_is_wider_than_the_job_stays(start):
    drive = start(thread_cap=4)
    assert run_as(drive, "wide", seen) == run_as(drive, "do", seen)
    assert run_as(drive, "wide", seen)["variables"] == ["4", "4"]


def test_without_threadpoolctl_a_loaded_library_keeps_its_cap(start):
    drive = start(initializer=block_and_load)
    assert run_as(drive, "wide", seen) == {"variables": ["2", "2"], "sizes": {1}}
    assert run_as(drive, "do", seen) == CAPPED


def test_without_threadpoolctl_a_library_that_the_job_loads_follows_it(start):
    drive = start(initializer=block, initargs=("threadpoolctl",))
    assert run_as(drive, "wide", seen) == WIDE
    # Nobody can take them back: see docs/workers.md.
    assert run_as(drive, "do", seen) == {"variables": ["1", "1"], "sizes": {2}}


@pytest.mark.parametrize("name", NAMES)
def test_what_the_user_has_set_is_left_alone(start, monkeypatch, name):
    monkeypatch.setenv(name, "1")
    drive = start(initializer=load_numpy)
    found = run_as(drive, "wide", seen)
    assert found["sizes"] == {1}
    assert found["variables"][NAMES.index(name)] == "1"


def test_what_a_job_has_set_is_left_alone(start):
    drive = start()
    run_as(drive, "wide", leave_its_own)
    assert run_as(drive, "do", seen)["variables"] == ["7", "1"]
    assert run_as(drive, "wide", seen)["variables"] == ["7", "2"]


def test_threadpoolctl_is_not_imported_for_jobs_of_one_thread(start):
    drive = start()
    names = "threadpoolctl", "numpy"
    assert run_as(drive, "do", loaded, names) == []
    assert run_as(drive, "wide", loaded, names) == ["threadpoolctl"]


def loaded(names: tuple[str, ...]) -> list[str]:
    return [name for name in names if name in sys.modules]
