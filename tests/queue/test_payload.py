"""Data that does something when it is pickled: it is refused, and nothing of it is stored."""

import os
import signal
import threading
from typing import Any

import pytest

from knock.errors import ForkedProcessError, SerializationError
from knock.queue import Queue
from tests.queue import jobs
from tests.witness import Witness

pytestmark = pytest.mark.process


class Hostile:
    """Does something when it is pickled; what is unpickled is the number 5."""

    def __init__(self, act: Any) -> None:
        self.act = act

    def __reduce__(self) -> tuple[Any, ...]:
        self.act()
        return int, (5,)


def see(job: Any) -> Any:
    return job.data


class NoticedError(Exception):
    """Raised by a signal's handler."""


def raises(kind: type[BaseException]) -> Any:
    def act() -> None:
        raise kind("not me")

    return act


def loop() -> None:
    while True:
        pass


@pytest.fixture(params=["stored", "running"])
def filled(request: pytest.FixtureRequest, make_queue: Any) -> Queue:
    """A queue with one job, before its start or after."""
    queue: Queue = make_queue(max_payload_bytes=10_000)
    queue.process("double", jobs.double)
    if request.param == "running":
        queue.start()
    queue.add("double", 1)
    return queue


def assert_only_one(queue: Queue) -> None:
    """Nothing was stored but the first job, and the queue works on."""
    assert queue.add("double", 2) == 2
    queue.start()
    assert [queue.result(1, 30), queue.result(2, 30)] == [2, 4]
    stats = queue.get_stats()
    assert (stats.completed, stats.queued, stats.processing) == (2, 0, 0)


@pytest.mark.parametrize("kind", [ValueError, MemoryError])
def test_data_whose_pickling_raises_is_refused(filled, kind):
    with pytest.raises(SerializationError, match="not me"):
        filled.add("double", {"deep": [Hostile(raises(kind))]})
    with pytest.raises(SerializationError, match=r"data\[1\]"):
        filled.add_many("double", [1, Hostile(raises(kind)), 3])
    assert_only_one(filled)


@pytest.mark.parametrize("kind", [SystemExit, KeyboardInterrupt])
def test_what_is_no_error_passes_through_and_stores_nothing(filled, kind):
    with pytest.raises(kind):
        filled.add("double", Hostile(raises(kind)))
    assert_only_one(filled)


def test_data_whose_pickling_never_ends_can_be_interrupted(filled):
    def notice(*_: object) -> None:
        raise NoticedError

    before = signal.signal(signal.SIGALRM, notice)
    try:
        # Again and again: the first may come before the pickling.
        signal.setitimer(signal.ITIMER_REAL, 0.2, 0.2)
        with pytest.raises((NoticedError, SerializationError), match=r"^$|NoticedError"):
            filled.add("double", Hostile(loop))
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert_only_one(filled)


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_data_whose_pickling_forks_is_stored_once(queue, tmp_path):
    queue.process("double", jobs.double)
    queue.start()
    parent, children = os.getpid(), Witness(str(tmp_path / "children"))

    def fork() -> None:
        if pid := os.fork():
            children.note(pid)

    try:
        job_id = queue.add("double", Hostile(fork))
    except ForkedProcessError:
        if os.getpid() != parent:
            os._exit(17)
        raise
    if os.getpid() != parent:
        os._exit(0)
    [child] = map(int, children.facts())
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 17
    assert queue.result(job_id, 30) == 10
    queue.join(30)
    assert queue.get_stats().completed == 1


def test_data_that_is_too_large_is_refused(filled):
    for data in (bytes(20_000), ["x" * 20_000], {"n": list(range(20_000))}):
        with pytest.raises(SerializationError, match=r"more than max_payload_bytes=10000"):
            filled.add("double", data)
    with pytest.raises(SerializationError, match=r"data\[1\] has .* max_payload_bytes=10000"):
        filled.add_many("double", [1, bytes(20_000)])
    assert_only_one(filled)


def test_one_bad_item_of_ten_thousand_is_named_and_none_is_stored(filled):
    items: list[Any] = list(range(10_000))
    items[7_654] = threading.Lock()
    with pytest.raises(SerializationError, match=r"data\[7654\]"):
        filled.add_many("double", items)
    assert_only_one(filled)


def test_what_becomes_of_an_object_after_it_was_added_changes_no_job(filled):
    data = {"n": [1]}
    filled.process("see", see)
    job_id = filled.add("see", data)
    data["n"].append(2)
    data.clear()
    filled.start()
    assert filled.result(job_id, 30) == {"n": [1]}
