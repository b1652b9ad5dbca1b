"""Nothing is left of a pool, however it went."""

import ast
import os

import pytest

from knock.pool import nursery_client
from knock.pool.handle import Handle
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


@pytest.mark.parametrize("method", ["forkserver", "fork"])
def test_what_another_thread_forks_meanwhile_holds_nothing_of_a_pool(monkeypatch, method):
    # Forked at the worst moments: when all ends of a nursery, or of a worker, are open here.
    found = []

    def fork_and_look(then):
        def instead(*args):
            # The ledger's page cannot be kept private; a reader of it harms nobody.
            new = things_of_a_child() - before
            found.append({thing for thing in new if "ledger" not in thing})
            return then(*args)

        return instead

    before = jobs.open_things()
    monkeypatch.setattr(nursery_client, "_execute", fork_and_look(nursery_client._execute))
    monkeypatch.setattr(nursery_client, "_fork", fork_and_look(nursery_client._fork))
    monkeypatch.setattr(Handle, "worker_fds", fork_and_look(Handle.worker_fds))
    one_life(method)
    assert found == [set()] * 3


def things_of_a_child() -> set[str]:
    """What a child forked here holds of sockets, pipes and shared pages."""
    read_fd, write_fd = os.pipe()
    pid = os.fork()
    if not pid:
        os.close(read_fd)
        own = os.fstat(write_fd).st_ino
        things = [thing for thing in jobs.open_things() if not thing.endswith(f" {own}")]
        os.write(write_fd, repr(set(things)).encode())
        os._exit(0)
    os.close(write_fd)
    with os.fdopen(read_fd, "rb") as file:
        things = file.read()
    os.waitpid(pid, 0)
    return set(ast.literal_eval(things.decode())) if things != b"set()" else set()


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
