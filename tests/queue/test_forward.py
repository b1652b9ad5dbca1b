"""Queues in workers."""

import pytest

from knock.errors import (
    ConfigError,
    ForkedProcessError,
    ProcessorNotFoundError,
    QueueClosedError,
    SerializationError,
    StorageUnavailableError,
)
from knock.pool.job import Job
from knock.protocol.addition import decode_ids, encode_refusal
from knock.queue import Queue
from tests.queue import jobs

pytestmark = pytest.mark.process


def test_a_job_adds_jobs_to_the_queue_that_it_closes_over(queue):
    @queue.process("parent")
    def parent(job: Job) -> list[int]:
        return [queue.add("double", job.data, key="k"), *queue.add_many("double", [5, 6])]

    queue.process("double", jobs.double)
    queue.start()
    ids = queue.result(queue.add("parent", 4), 30)
    assert len(set(ids)) == 3
    assert [queue.result(i, 30) for i in ids] == [8, 10, 12]
    again = queue.result(queue.add("parent", 4), 30)
    assert again[0] == ids[0]
    assert not set(again[1:]) & set(ids)


def test_what_jobs_add_after_a_restart_is_not_taken_for_what_they_added_before(queue):
    @queue.process("parent")
    def parent(job: Job) -> int:
        return queue.add("double", job.data)

    queue.process("double", jobs.double)
    queue.start()
    first = queue.result(queue.add("parent", 4), 30)
    assert queue.result(first, 30) == 8
    queue.stop()
    queue.start()
    second = queue.result(queue.add("parent", 5), 30)
    assert second != first
    assert queue.result(second, 30) == 10


def test_what_a_job_adds_is_bounded_too(make_queue):
    queue = make_queue(max_payload_bytes=1000)

    @queue.process("parent")
    def parent(job: Job) -> float:
        with pytest.raises(SerializationError, match="more than max_payload_bytes=1000"):
            queue.add("double", bytes(2000))
        return queue.add("tell_deadline", deadline=1000)

    queue.process("double", jobs.double)
    queue.process("tell_deadline", jobs.tell_deadline)
    queue.start()
    child = queue.result(queue.add("parent"), 30)
    spec = queue.get_job(child).spec
    assert queue.result(child, 30) == spec.deadline == spec.created_at + 1000


def test_a_job_may_add_delayed_and_limited_jobs(queue):
    @queue.process("parent")
    def parent(job: Job) -> int:
        return queue.add("sleep", 60, delay=0.05, timeout=0.2, retry_attempts=0, priority="low")

    queue.process("sleep", jobs.sleep)
    queue.start()
    child = queue.result(queue.add("parent"), 30)
    with pytest.raises(TimeoutError, match="time limit"):
        queue.result(child, 30)
    spec = queue.get_job(child).spec
    assert (spec.priority, spec.options.timeout) == (2, 0.2)
    assert spec.run_at == pytest.approx(spec.created_at + 0.05)


def test_what_a_job_adds_is_checked_in_the_job(queue):
    @queue.process("parent", retry_attempts=0)
    def parent(job: Job) -> None:
        if job.data == "type":
            queue.add("nosuch", 1)
        queue.add("parent", 1, delay=-1)

    queue.start()
    with pytest.raises(ProcessorNotFoundError, match="nosuch"):
        queue.result(queue.add("parent", "type"), 30)
    with pytest.raises(ConfigError, match="delay"):
        queue.result(queue.add("parent", "delay"), 30)


def test_in_a_worker_a_queue_only_takes_jobs(queue):
    @queue.process("ask", retry_attempts=0)
    def ask(job: Job) -> list[str]:
        refused = []
        for name, args in (("get_job", [1]), ("result", [1]), ("get_stats", []), ("join", [])):
            try:
                getattr(queue, name)(*args)
            except QueueClosedError:
                refused.append(name)
        queue.start()
        queue.pause()
        queue.stop()
        return refused

    queue.start()
    assert queue.result(queue.add("ask"), 30) == ["get_job", "result", "get_stats", "join"]
    assert not queue.is_paused


def test_a_queue_may_travel_as_data_too(queue):
    @queue.process("feed", retry_attempts=0)
    def feed(job: Job) -> int:
        return job.data.add("double", 21)

    queue.process("double", jobs.double)
    queue.start()
    assert queue.result(queue.result(queue.add("feed", queue), 30), 30) == 42


def test_a_queue_does_not_travel_elsewhere(queue):
    made, args = queue.__reduce__()
    with pytest.raises(ForkedProcessError):
        made(*args)


def test_a_module_that_starts_and_feeds_a_queue_can_be_imported_by_its_workers():
    # Imported here, since importing it starts its queue.
    from tests.queue import shop

    try:
        assert shop.queue.result(shop.first, 30) == 70
        ids = shop.queue.result(shop.queue.add("parent", 3), 30)
        assert [shop.queue.result(i, 30) for i in ids] == [30, 10, 20]
        shop.queue.join(30)
        assert shop.queue.get_stats().completed == 5
    finally:
        shop.queue.stop(0.0)


def test_a_job_may_have_a_queue_of_its_own(queue):
    @queue.process("outer", retry_attempts=0)
    def outer(job: Job) -> list[int]:
        with Queue(concurrency=1, supervisor=job.data) as inner:
            inner.process("double", jobs.double)
            ids = inner.add_many("double", [1, 2])
        return [inner.result(i) for i in ids]

    queue.start()
    assert queue.result(queue.add("outer", "process"), 60) == [2, 4]
    assert queue.result(queue.add("outer", "thread"), 60) == [2, 4]


@pytest.mark.parametrize("start_method", ["spawn", "fork"])
def test_other_ways_to_start_workers(make_queue, start_method):
    queue = make_queue(start_method=start_method)

    @queue.process("parent")
    def parent(job: Job) -> int:
        return queue.add("double", job.data)

    queue.process("double", jobs.double)
    queue.start()
    assert queue.result(queue.result(queue.add("parent", 2), 60), 60) == 4


def test_a_preloaded_module_with_a_queue_only_forwards(make_queue):
    queue = make_queue(preload=["tests.queue.shop"])

    @queue.process("parent")
    def parent(job: Job) -> int:
        from tests.queue import shop

        return shop.queue.add("child", job.data)

    queue.process("child", jobs.double)
    queue.start()
    assert queue.result(queue.result(queue.add("parent", 2), 30), 30) == 4
    assert queue.get_stats().completed == 2


@pytest.mark.parametrize(
    "error",
    [
        ConfigError("bad"),
        ProcessorNotFoundError("mail"),
        QueueClosedError("stopping"),
        StorageUnavailableError("away"),
    ],
)
def test_a_refused_addition_is_the_same_error_in_the_job(error):
    with pytest.raises(type(error)) as told:
        decode_ids(encode_refusal(error))
    assert str(told.value) == str(error)
