"""What ``add`` takes, before anything runs."""

import threading
from typing import Any

import pytest

from knock.core.job import JobState, Priority
from knock.errors import ConfigError, SerializationError
from knock.queue import Queue
from knock.storage.memory import InMemoryStorage


@pytest.fixture
def queue() -> Queue:
    return Queue(supervisor="thread")


def test_ids_count_from_one(queue):
    assert [queue.add("a"), queue.add("a", 1), queue.add("b")] == [1, 2, 3]


def test_a_job_is_stored_as_it_was_added(queue):
    job_id = queue.add("a", [1], priority="high", delay=5, expires_in=60, timeout=7)
    spec = queue.get_job(job_id).spec
    assert (spec.type, spec.priority) == ("a", Priority.HIGH)
    assert spec.run_at == pytest.approx(spec.created_at + 5)
    assert spec.expires_at == pytest.approx(spec.created_at + 60)
    assert spec.options.timeout == 7.0


def test_a_job_without_a_limit_differs_from_one_that_names_none(queue):
    assert queue.get_job(queue.add("a", timeout=None)).spec.options.timeout is None
    assert queue.get_job(queue.add("a")).spec.options.timeout is not None


def test_data_is_pickled_when_it_is_added(queue):
    data = [1]
    job_id = queue.add("a", data)
    before = queue.get_job(job_id).spec.payload
    data.append(2)
    assert queue.get_job(job_id).spec.payload == before


def test_a_key_names_one_job(queue):
    first = queue.add("a", 1, key="k")
    assert queue.add("a", 2, key="k") == first
    assert queue.enqueue_once("k", "a", 3) == first
    assert queue.get_stats().queued == 1


def test_enqueue_is_add(queue):
    assert queue.enqueue("a", 1, priority=Priority.LOW) == 1
    assert queue.get_job(1).spec.priority == Priority.LOW


@pytest.mark.parametrize(
    "options, name",
    [
        ({"priority": "urgent"}, "priority"),
        ({"priority": 0}, "priority"),
        ({"delay": -1}, "delay"),
        ({"delay": True}, "delay"),
        ({"delay": float("nan")}, "delay"),
        ({"delay": "1"}, "delay"),
        ({"expires_in": -1}, "expires_in"),
        ({"timeout": 0}, "timeout"),
        ({"timeout": -1}, "timeout"),
        ({"retry_attempts": -1}, "retry_attempts"),
        ({"retry_attempts": 1.5}, "retry_attempts"),
        ({"key": 5}, "key"),
        ({"key": ""}, "key"),
    ],
)
def test_what_makes_no_sense_is_refused_by_name(queue, options: dict[str, Any], name: str):
    with pytest.raises(ConfigError, match=name):
        queue.add("a", **options)
    assert queue.get_stats().queued == 0


@pytest.mark.parametrize("job_type", ["", 5, None, ["a"], "a\n"])
def test_a_job_type_is_text(queue, job_type: Any):
    with pytest.raises(ConfigError, match="job type"):
        queue.add(job_type)


def test_what_cannot_be_pickled_is_named(queue):
    with pytest.raises(SerializationError, match=r"data\['lock'\]"):
        queue.add("a", {"lock": threading.Lock()})


def test_many_are_added_in_order(queue):
    assert queue.add_many("a", range(5)) == [1, 2, 3, 4, 5]
    assert queue.add_many("a", []) == []
    assert queue.add_many("a", (n for n in "xy"), priority="low") == [6, 7]
    assert queue.get_job(7).spec.priority == Priority.LOW


def test_many_are_all_or_none_and_the_index_is_named(queue):
    with pytest.raises(SerializationError, match=r"data\[2\]"):
        queue.add_many("a", [1, 2, threading.Lock(), 4])
    assert queue.get_stats().queued == 0
    assert queue.add("a") == 1


def test_many_have_a_key_each(queue):
    assert queue.add_many("a", "xy", keys=["p", "q"]) == [1, 2]
    assert queue.add_many("a", "yz", keys=["q", "r"])[0] == 2
    with pytest.raises(ConfigError, match="keys"):
        queue.add_many("a", "xyz", keys=["s"])
    with pytest.raises(ConfigError, match=r"keys\[1\]"):
        queue.add_many("a", "xy", keys=["s", None])


@pytest.mark.parametrize("key", ["", 5, "\ud800"])
def test_what_is_no_key_is_refused(queue, key: Any):
    with pytest.raises(ConfigError, match="key"):
        queue.add("a", key=key)
    with pytest.raises(ConfigError, match=r"keys\[1\]"):
        queue.add_many("a", [1, 2], keys=["k", key])


def test_ids_go_on_after_those_of_a_storage_that_was_given():
    storage = InMemoryStorage()
    first = Queue(storage)
    first.add_many("a", range(3))
    first.cancel(3)
    with pytest.raises(ConfigError, match="another queue's"):
        Queue(storage)
    del first
    assert Queue(storage).add("a") == 4


def test_threads_add_without_losing_any(queue):
    def add() -> None:
        for _ in range(200):
            queue.add("a", {"n": 1})

    threads = [threading.Thread(target=add) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert queue.get_stats().queued == 1600
    assert queue.get_job(1600).state is JobState.QUEUED


def test_data_may_add_a_job_while_it_is_pickled(queue):
    class Nested:
        def __reduce__(self) -> tuple[Any, ...]:
            queue.add("inner")
            return int, (5,)

    queue.add("outer", Nested())
    assert queue.get_stats().queued == 2
