"""Deaths from above: whoever dies, nothing below outlives it by much."""

import os
import signal
from dataclasses import replace

import pytest

from tests.process import jobs
from tests.witness import Witness, is_alive, process_state, script, wait_for, wait_gone

pytestmark = [pytest.mark.process, pytest.mark.platform]

HOLDER = """
import sys
from tests.process import jobs
from tests.process.harness import Drive
from tests.witness import Witness
witness = Witness(sys.argv[2])
drive = Drive(start_method=sys.argv[1]).start(0, 1)
for worker in (0, 1):
    drive.send((jobs.breed_and_spin, witness), worker=worker)
witness.wait(8)
print("ready", flush=True)
sys.stdin.readline()
"""


@pytest.fixture(params=["forkserver", "spawn", "fork"])
def holder(request, witness):
    """A process that owns a pool: jobs hold the GIL in C, and have children."""
    with script("-c", HOLDER, request.param, witness.path) as running:
        assert running.line() == "ready"
        # A nursery, two workers, three children of each.
        assert len(running.descendants()) >= 9
        yield running


@pytest.mark.needs("subreaper")
def test_no_process_outlives_its_supervisor(holder):
    holder.kill(signal.SIGKILL)
    holder.wait_descendants_gone(1.0)


@pytest.mark.needs("subreaper")
def test_no_process_outlives_a_supervisor_that_simply_ends(holder):
    holder.say()
    code, _, errors = holder.end()
    holder.wait_descendants_gone(1.0)
    assert (code, errors) == (0, "")


@pytest.mark.needs("pdeathsig")
def test_workers_do_not_outlive_their_nursery(drive, witness, gate):
    drive.start(0, 1)
    spinning = drive.send((jobs.spin, witness))
    waiting, last = drive.send((jobs.wait, witness, gate), (jobs.square, 2), worker=1)
    witness.wait(2)
    pids = set(drive.pool.pids().values())
    os.kill(nursery_pid(pids), signal.SIGKILL)
    wait_gone(pids, 1.0)
    for worker, unstarted in ((0, []), (1, [last])):
        exited = drive.exit(worker)
        assert exited.unstarted == unstarted
        assert exited.death.is_infrastructure
        assert exited.death.cause.startswith("the process that forked it")
    assert not drive.ended()
    assert len([*spinning, waiting]) == 2
    # And on it goes, with another.
    drive.start(generation=2)
    assert drive.values(drive.send((jobs.square, 3), generation=2)) == [9]


def test_a_nursery_that_dies_between_two_births_is_replaced(drive):
    drive.start()
    os.kill(nursery_pid({drive.pid()}), signal.SIGKILL)
    # Not heard of yet: the birth is ordered of the dead one, and told as lost.
    drive.pool.start_worker(1, 1)
    exited = drive.exit(1)
    assert exited.death.is_infrastructure
    drive.exit(0)
    drive.start(1, generation=2)
    assert drive.values(drive.send((jobs.square, 3), worker=1, generation=2)) == [9]


@pytest.mark.needs("subreaper")
def test_closing_with_a_death_unheard_kills_all_the_same(make_drive, tmp_path):
    drive = make_drive().start(0, 1)
    bred = Witness(str(tmp_path / "bred"))
    drive.send((jobs.breed_and_spin, bred))
    bred.wait(4)
    pid = drive.pool.pids()[1]
    os.kill(pid, signal.SIGKILL)
    wait_gone({pid}, 5.0)
    drive.close()
    assert not [pid for pid in map(int, bred.facts()) if is_alive(pid)]


def nursery_pid(workers: set[int]) -> int:
    """The parent of the workers."""
    parents = set()
    for pid in workers:
        with open(f"/proc/{pid}/stat") as file:
            parents.add(int(file.read().rpartition(")")[2].split()[1]))
    [nursery] = parents
    return nursery


def test_a_nursery_that_is_stopped_is_taken_for_dead(make_drive, witness, gate):
    drive = make_drive().start(0, 1)
    [waiting] = drive.send((jobs.wait, witness, gate), worker=1)
    witness.wait(1)
    pids = set(drive.pool.pids().values())
    nursery = nursery_pid(pids)
    os.kill(nursery, signal.SIGSTOP)
    wait_for(lambda: process_state(nursery) == "T")
    os.kill(drive.pid(0), signal.SIGKILL)
    for worker in (0, 1):
        death = drive.exit(worker).death
        assert death.is_infrastructure
        assert death.cause == "the process that forked it told of no death for 5 s"
    assert not is_alive(nursery)
    wait_gone(pids, 1.0)
    assert waiting not in drive.ended()
    drive.start(generation=2)
    assert drive.values(drive.send((jobs.square, 3), generation=2)) == [9]


def test_a_nursery_that_is_stopped_between_two_births_is_taken_for_dead(make_drive):
    drive = make_drive().start()
    # Not before: the first boot has all the time that a busy machine needs.
    drive.pool._settings = replace(drive.pool._settings, boot_timeout=1.0)
    nursery = nursery_pid({drive.pid()})
    os.kill(nursery, signal.SIGSTOP)
    wait_for(lambda: process_state(nursery) == "T")
    drive.pool.start_worker(1, 1)
    death = drive.exit(1).death
    assert death.is_infrastructure
    assert death.cause == "the process that forks workers did not answer for 1 s"
    assert drive.exit(0).death.is_infrastructure
