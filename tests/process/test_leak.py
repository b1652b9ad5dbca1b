"""Nothing is left of a pool, however it went."""

import os

import pytest

from tests.conftest import open_fds
from tests.process import jobs
from tests.process.harness import Drive
from tests.witness import is_zombie

pytestmark = pytest.mark.process


@pytest.mark.slow
def test_fifty_pools_leave_no_descriptor_and_no_child():
    one_life("fork")
    before = open_fds()
    for number in range(50):
        # Forking is the quickest; the others take the same way from there.
        one_life("fork" if number % 10 else "forkserver")
    assert open_fds().keys() == before.keys()
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)


def one_life(method: str) -> None:
    drive = Drive(start_method=method)
    drive.start(0, 1)
    drive.values(drive.send((jobs.square, 2)))
    drive.send((jobs.leave, 0), worker=1)
    drive.exit(1)
    drive.close()


def test_a_pool_that_respawns_again_and_again_keeps_its_descriptors(make_drive):
    drive = make_drive(start_method="forkserver")
    counts = []
    for generation in range(1, 21):
        drive.start(generation=generation)
        drive.send((jobs.leave, 0), generation=generation)
        drive.until(lambda wanted=generation: len(drive.exits()) == wanted)
        counts.append(len(open_fds()))
    assert len(set(counts)) == 1


def test_the_dead_are_buried(drive):
    drive.start(0, 1, 2)
    pids = set(drive.pool.pids().values())
    for worker in range(3):
        drive.send((jobs.leave, 0), worker=worker)
        drive.exit(worker)
    assert not [pid for pid in pids if is_zombie(pid) or os.path.exists(f"/proc/{pid}")]


def test_a_worker_holds_no_descriptor_of_another(drive):
    inherited = jobs.open_things()
    drive.start(0, 1)
    held = [drive.values(drive.send((jobs.open_things,), worker=w))[0] - inherited for w in (0, 1)]
    assert held[0]
    assert not held[0] & held[1]
