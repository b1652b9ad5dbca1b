"""Job types whose jobs take several worker slots."""

import os
from pathlib import Path

import pytest

from knock.errors import ConfigError
from knock.queue import Queue
from tests.queue import jobs

pytestmark = pytest.mark.process


def small(job):
    """Fail if a wide job runs at the same time."""
    folder, n = job.data
    mine = Path(folder, f"small-{n}")
    mine.touch()
    assert not Path(folder, "wide").exists()
    sum(range(100_000))
    mine.unlink()
    return n


def wide(job):
    """Fail if anything else runs at the same time."""
    folder, n = job.data
    mine = Path(folder, "wide")
    os.close(os.open(mine, os.O_CREAT | os.O_EXCL))
    for _ in range(20):
        assert os.listdir(folder) == ["wide"]
        sum(range(10_000))
    mine.unlink()
    return n


def wait_for_gate(job):
    witness, gate = job.data
    witness.note("started")
    gate.pass_through()


def test_job_of_all_slots_runs_alone_and_gets_its_turn(make_queue, tmp_path):
    queue = make_queue(concurrency=3, retry_attempts=0)
    queue.process("small", small)
    queue.process("wide", wide, threads=3)
    folder = str(tmp_path)
    ids = []
    for n in range(5):
        ids += queue.add_many("small", [(folder, 100 * n + i) for i in range(20)])
        ids.append(queue.add("wide", (folder, n)))
    queue.start()
    for n in range(5, 10):
        ids.append(queue.add("wide", (folder, n)))
        ids += queue.add_many("small", [(folder, 100 * n + i) for i in range(20)])
    for job_id in ids:
        queue.result(job_id, 60)


def test_slots_that_a_job_does_not_take_are_used(make_queue, witness, gate):
    queue = make_queue(concurrency=3)
    queue.process("pair", wait_for_gate, threads=2)
    queue.process("double", jobs.double)
    queue.start()
    waiting = queue.add("pair", (witness, gate))
    witness.wait(1)
    assert queue.result(queue.add("double", 4), 30) == 8
    gate.open()
    queue.result(waiting, 30)


def test_more_threads_than_workers_are_refused_with_the_numbers():
    queue = Queue(concurrency=2)
    with pytest.raises(ConfigError, match="threads=4 takes 4 worker slots, and the pool has 2"):
        queue.process("fit", jobs.double, threads=4)
    with pytest.raises(ConfigError, match="threads must be between 1 and"):
        queue.process("fit", jobs.double, threads=0)


def test_threads_of_a_type_do_not_change_while_the_queue_is_started(make_queue):
    queue = make_queue(concurrency=2)
    queue.process("double", jobs.double)
    queue.process("double", jobs.double, threads=2)
    queue.start()
    with pytest.raises(ConfigError, match="threads of 'double' cannot change from 2 to 1"):
        queue.process("double", jobs.double)
    queue.process("double", jobs.double, threads=2, timeout=5.0)
    assert queue.result(queue.add("double", 2), 30) == 4
