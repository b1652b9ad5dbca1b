"""How a queue starts, stops, pauses and fails, wherever the supervisor runs."""

import asyncio
import os
import threading
import time

import pytest

from knock.core.job import JobState
from knock.errors import (
    QueueClosedError,
    WorkerBootError,
)
from knock.storage.memory import InMemoryStorage
from tests.queue import jobs
from tests.queue.wait import wait_for

pytestmark = pytest.mark.process


def test_stop_lets_running_jobs_finish_and_keeps_the_rest(make_queue, tmp_path):
    queue = make_queue(concurrency=1)
    queue.process("mark", jobs.mark_and_sleep)
    path = tmp_path / "f"
    running, waiting = queue.add_many("mark", [(str(path), 0.5)] * 2)
    queue.start()
    wait_for(path)
    queue.stop()
    assert queue.get_job(running).state is JobState.COMPLETED
    assert queue.get_job(waiting).state is JobState.QUEUED
    assert queue.result(running) is None
    stats = queue.get_stats()
    assert (stats.queued, stats.completed, stats.processing, stats.workers) == (1, 1, 0, 0)
    with pytest.raises(QueueClosedError, match="stopped"):
        queue.result(waiting)
    with pytest.raises(QueueClosedError, match="stopped"):
        queue.add("mark", (str(path), 0))


def test_what_completes_while_the_queue_stops_is_counted_even_if_not_kept(make_queue, tmp_path):
    queue = make_queue(concurrency=1, retention=0.0)
    queue.process("mark", jobs.mark_and_sleep)
    path = tmp_path / "f"
    queue.add("mark", (str(path), 0.5))
    queue.start()
    wait_for(path)
    queue.stop()
    assert queue.get_stats().completed == 1


def test_what_runs_over_the_deadline_of_a_stop_is_released_uncharged(queue, tmp_path):
    queue.process("mark", jobs.mark_and_sleep)
    path = tmp_path / "f"
    job_id = queue.add("mark", (str(path), 60))
    queue.start()
    wait_for(path)
    started = time.monotonic()
    queue.stop(timeout=0.2)
    assert time.monotonic() - started < 10
    record = queue.get_job(job_id)
    assert (record.state, sum(record.spent)) == (JobState.QUEUED, 0)


def test_a_stopped_queue_can_be_started_again(queue):
    queue.process("double", jobs.double)
    first = queue.add("double", 1)
    queue.start()
    queue.start()
    queue.join(30)
    queue.stop()
    queue.stop()
    queue.start()
    assert queue.result(queue.add("double", 2), 30) == 4
    assert queue.result(first, 30) == 2
    assert queue.get_stats().completed == 2


def test_the_storage_that_was_given_shows_what_became_of_its_jobs(make_queue):
    storage = InMemoryStorage()
    queue = make_queue(storage=storage)
    queue.process("double", jobs.double)
    queue.start()
    queue.join(30)
    job_id = queue.add("double", 1)
    queue.result(job_id, 30)
    queue.stop()
    [record] = storage.get([job_id])
    assert record is not None
    assert record.state is JobState.COMPLETED


def test_a_paused_queue_starts_nothing(queue):
    queue.process("double", jobs.double)
    queue.pause()
    queue.start()
    job_id = queue.add("double", 1)
    with pytest.raises(TimeoutError):
        queue.result(job_id, 0.5)
    assert queue.get_stats().is_paused
    queue.resume()
    assert queue.result(job_id, 30) == 2
    queue.pause()
    assert queue.is_paused
    with pytest.raises(TimeoutError):
        queue.result(queue.add("double", 1), 0.3)
    queue.resume()
    queue.join(30)


def test_a_with_block_starts_does_what_is_queued_and_stops(make_queue):
    with make_queue() as queue:
        queue.process("double", jobs.double)
        ids = queue.add_many("double", range(20))
    assert [queue.result(i) for i in ids] == [2 * n for n in range(20)]
    with pytest.raises(QueueClosedError):
        queue.add("double", 1)


def test_an_exception_in_a_with_block_leaves_what_is_queued(make_queue, tmp_path):
    path = tmp_path / "f"
    queue = make_queue(concurrency=1)
    queue.process("mark", jobs.mark_and_sleep)

    def work() -> None:
        with queue:
            queue.add_many("mark", [(str(path), 60)] * 3)
            wait_for(path)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        work()
    assert queue.get_stats().queued == 3


def test_waiting_threads_are_told_when_the_queue_stops(queue):
    queue.process("double", jobs.double)
    queue.start()
    job_id = queue.add("double", 1, delay=60)
    raised: list[BaseException] = []

    def wait() -> None:
        try:
            queue.result(job_id)
        except QueueClosedError as exc:
            raised.append(exc)

    thread = threading.Thread(target=wait)
    thread.start()
    with pytest.raises(TimeoutError):
        queue.join(0.2)
    queue.stop()
    thread.join(10)
    assert len(raised) == 1


def test_questions_are_answered_while_the_queue_stops(queue, tmp_path):
    queue.process("mark", jobs.mark_and_sleep)
    queue.start()
    path = tmp_path / "f"
    job_id = queue.add("mark", (str(path), 0.3))
    wait_for(path)
    stopping = threading.Thread(target=queue.stop)
    stopping.start()
    states = set()
    while stopping.is_alive():
        states.add(queue.get_job(job_id).state)
        assert queue.get_stats().queued == 0
    assert queue.get_job(job_id).state is JobState.COMPLETED
    assert states <= {JobState.PROCESSING, JobState.COMPLETED}
    queue.join()


def test_workers_that_cannot_boot_are_told_of(make_queue):
    def fail() -> None:
        raise RuntimeError("no such weather")

    queue = make_queue(initializer=fail)
    queue.process("double", jobs.double)
    job_id = queue.add("double", 1)
    queue.start()
    with pytest.raises(WorkerBootError, match="no such weather"):
        queue.result(job_id, 60)
    with pytest.raises(WorkerBootError):
        queue.join(1)
    with pytest.raises(WorkerBootError):
        queue.add("double", 1)
    queue.stop()
    with pytest.raises(WorkerBootError):
        queue.get_job(job_id)


def test_an_initializer_runs_in_each_worker(make_queue):
    queue = make_queue(initializer=_set_answer, initargs=(42,))
    queue.process("ask", lambda job: _answer())
    queue.start()
    assert queue.result(queue.add("ask"), 30) == 42


def _set_answer(value: int) -> None:
    jobs.double.answer = value  # type: ignore[attr-defined]


def _answer() -> int:
    return jobs.double.answer  # type: ignore[attr-defined, no-any-return]


def test_many_threads_may_use_one_queue(queue):
    queue.process("double", jobs.double)
    queue.start()
    wrong: list[tuple[int, int]] = []

    def work(base: int) -> None:
        ids = [queue.add("double", base + n) for n in range(50)]
        values = [queue.result(i, 60) for i in ids]
        wrong.extend((base + n, v) for n, v in enumerate(values) if v != 2 * (base + n))

    threads = [threading.Thread(target=work, args=(1000 * n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_it_works_beside_a_running_event_loop(queue):
    queue.process("double", jobs.double)

    async def main() -> list[int]:
        queue.start()
        ids = queue.add_many("double", range(5))
        return await asyncio.gather(*[asyncio.to_thread(queue.result, i, 30) for i in ids])

    assert asyncio.run(main()) == [0, 2, 4, 6, 8]


def test_a_queue_whose_workers_cannot_start_can_be_stopped(make_queue):
    queue = make_queue(initializer=os._exit, initargs=(70,))
    queue.on("worker_exited", lambda event: None)
    queue.process("double", jobs.double)
    queue.start()
    with pytest.raises(WorkerBootError):
        queue.result(queue.add("double", 1), 30)
    queue.stop()
