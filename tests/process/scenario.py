"""Rows of the catalogue that are no job's doing. Each has a queue of its own."""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

import knock
from knock.core.job import JobState
from knock.errors import ProcessorNotFoundError, WorkerBootError
from tests.process import hostile
from tests.process.hostile import Scene
from tests.witness import process_state, wait_for

JOBS = 5


@contextmanager
def queue(**settings: Any) -> Iterator[knock.QueueInstance]:
    made = knock.QueueInstance(retry_attempts=0, breaker=None, **{"concurrency": 1} | settings)
    made.process("neighbour", hostile.neighbour)
    try:
        yield made
    finally:
        made.stop(0)


def add(made: knock.QueueInstance, scene: Scene, first: int = 0) -> list[int]:
    numbers = range(first, first + JOBS)
    return made.add_many("neighbour", [(scene, number) for number in numbers])


def assert_done_once(made: knock.QueueInstance, scene: Scene, ids: list[int]) -> None:
    for job_id in ids:
        number = made.result(job_id, timeout=30)
        assert scene.witness.count(f"neighbour {number}") == 1
        assert len(made.get_job(job_id).attempts) == 1


def worker_of(made: knock.QueueInstance, scene: Scene, first: int) -> int:
    """Return the pid of the only worker, which has nothing to do."""
    ids = add(made, scene, first)
    assert_done_once(made, scene, ids)
    pid = made.get_job(ids[-1]).attempts[-1].worker_pid
    assert pid is not None
    return pid


def boot_fails(scene: Scene) -> None:
    _boot_fails(scene, hostile.fails_at_boot, "the initializer says no")


def boot_exits(scene: Scene) -> None:
    _boot_fails(scene, hostile.leaves_at_boot, "exited with code 7")


def _boot_fails(scene: Scene, initializer: Any, told: str) -> None:
    storage = knock.InMemoryStorage()
    with queue(storage=storage, supervisor="thread", initializer=initializer) as made:
        ids = add(made, scene)
        made.start()
        with pytest.raises(WorkerBootError, match=told):
            made.result(ids[0], timeout=60)
    records = storage.get(ids)
    states = {record.state for record in records if record is not None}
    attempts = [record.attempts for record in records if record is not None]
    assert (states, attempts) == ({JobState.QUEUED}, [()] * JOBS)
    assert scene.witness.facts() == []


def no_processor(scene: Scene) -> None:
    with queue() as made:
        unknown = made.add("renamed", None)
        ids = add(made, scene)
        made.start()
        with pytest.raises(ProcessorNotFoundError, match="renamed"):
            made.result(unknown, timeout=30)
        assert_done_once(made, scene, ids)


def killed_when_idle(scene: Scene) -> None:
    with queue() as made:
        made.start()
        pid = worker_of(made, scene, 0)
        os.kill(pid, signal.SIGKILL)
        assert_done_once(made, scene, add(made, scene, JOBS))


def killed_unbegun(scene: Scene) -> None:
    with queue() as made:
        made.start()
        pid = worker_of(made, scene, 0)
        os.kill(pid, signal.SIGSTOP)
        wait_for(lambda: process_state(pid) == "T")
        ids = add(made, scene, JOBS)
        wait_for(lambda: made.get_stats().processing)
        os.kill(pid, signal.SIGKILL)
        assert_done_once(made, scene, ids)


def boots_slowly(scene: Scene) -> None:
    with queue(initializer=hostile.waits_at_boot, initargs=(scene.gate,)) as made:
        ids = add(made, scene)
        made.start()
        wait_for(lambda: made.get_stats().queued == JOBS)
        assert made.get_stats().processing == 0
        scene.gate.open()
        assert_done_once(made, scene, ids)
