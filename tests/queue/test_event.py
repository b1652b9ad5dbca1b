"""Events and log lines reach the caller, and handlers cannot hurt the queue."""

import logging
import threading
import time
from collections.abc import Callable, Iterator
from queue import SimpleQueue

import pytest

from knock.errors import ConfigError
from knock.queue import Queue, QueueEvent, handlers
from knock.queue.handlers import Handlers
from tests.queue import jobs


def event(name: str = "dead", job_id: int = 1) -> QueueEvent:
    return QueueEvent(name, 0.0, job_id)


@pytest.fixture
def table() -> Iterator[Handlers]:
    table = Handlers()
    yield table
    table.close(10)


# --- without workers ------------------------------------------------------------------------------


def test_handlers_are_called_in_order_on_another_thread(table):
    called: SimpleQueue[tuple[int | None, str]] = SimpleQueue()
    table.add("dead", lambda ev: called.put((ev.job_id, threading.current_thread().name)))
    table.post([event(job_id=n) for n in range(3)])
    assert [called.get(timeout=10) for _ in range(3)] == [(n, "knock-events") for n in range(3)]


def test_a_handler_that_raises_is_logged_and_the_next_one_called(table, caplog):
    called = threading.Event()

    def fail(ev: QueueEvent) -> None:
        raise SystemExit(f"no {ev.name}")

    table.add("dead", fail)
    table.add("dead", lambda ev: called.set())
    table.post([event()])
    assert called.wait(10)
    assert "a handler of 'dead' failed" in caplog.text
    assert "no dead" in caplog.text


def test_a_handler_that_blocks_is_logged_and_blocks_nobody(table, caplog, monkeypatch):
    monkeypatch.setattr(handlers, "SLOW_SECONDS", 0.0)
    entered, leave = threading.Event(), threading.Event()
    table.add("dead", lambda ev: (entered.set(), leave.wait(30)))
    table.post([event()])
    assert entered.wait(10)
    table.post([event()])
    table.warn_if_slow()
    assert not table.close(0.01)
    leave.set()
    assert "a handler of 'dead' still runs" in caplog.text


def test_what_a_blocking_handler_piles_up_is_bounded(table, caplog, monkeypatch):
    monkeypatch.setattr(handlers, "MAX_WAITING", 10)
    leave = threading.Event()
    seen: list[int | None] = []
    table.add("dead", lambda ev: (leave.wait(30), seen.append(ev.job_id)))
    for n in range(100):
        table.post([event(job_id=n)])
    leave.set()
    assert table.close(10)
    assert 10 <= len(seen) <= 11
    assert caplog.text.count("are dropped") == 1


def test_an_unknown_event_is_refused_with_those_that_there_are():
    with pytest.raises(ConfigError, match=r"finished.*completed"):
        Queue().on("finished", print)
    with pytest.raises(ConfigError, match="handler"):
        Queue().on("dead", 5)


def test_cancelling_before_the_start_is_an_event_too():
    queue = Queue()
    heard: SimpleQueue[QueueEvent] = SimpleQueue()
    queue.on("cancelled")(heard.put)
    job_id = queue.add("a")
    queue.cancel(job_id)
    told = heard.get(timeout=10)
    assert (told.name, told.job_id, told.job_type) == ("cancelled", job_id, "a")


# --- with workers ---------------------------------------------------------------------------------


@pytest.fixture
def hear(queue: Queue) -> Callable[..., SimpleQueue[QueueEvent]]:
    def subscribe(*names: str) -> SimpleQueue[QueueEvent]:
        heard: SimpleQueue[QueueEvent] = SimpleQueue()
        for name in names:
            queue.on(name, heard.put)
        return heard

    return subscribe


@pytest.mark.process
def test_each_end_of_a_job_is_an_event(queue, hear):
    heard = hear("completed", "retrying", "dead", "cancelled", "worker_exited")
    queue.process("double", jobs.double)
    queue.process("refuse", jobs.refuse, retry_attempts=1)
    queue.process("leave", jobs.leave, retry_crashes=0)
    queue.start()
    done = queue.add("double", 1)
    dead = queue.add("refuse", "no")
    crashed = queue.add("leave")
    cancelled = queue.add("double", 1, delay=60)
    queue.cancel(cancelled)
    queue.join(30)
    queue.stop()
    events = [heard.get_nowait() for _ in range(heard.qsize())]
    told = {(ev.name, ev.job_id) for ev in events if ev.job_id is not None}
    assert told == {
        ("completed", done),
        ("retrying", dead),
        ("dead", dead),
        ("dead", crashed),
        ("cancelled", cancelled),
    }
    assert [ev.reason for ev in events if ev.job_id == dead] == [None, "retries_exhausted"]
    assert any(ev.name == "worker_exited" and ev.death is not None for ev in events)


@pytest.mark.process
def test_a_recycled_worker_is_an_event_of_its_own(make_queue):
    heard: SimpleQueue[QueueEvent] = SimpleQueue()
    queue = make_queue(concurrency=1, max_jobs_per_worker=1)
    for name in ("worker_recycled", "worker_exited"):
        queue.on(name, heard.put)
    queue.process("double", jobs.double)
    queue.start()
    assert [queue.result(job_id, 30) for job_id in queue.add_many("double", range(3))] == [0, 2, 4]
    queue.stop()
    events = [heard.get(timeout=30) for _ in range(3)]
    assert heard.empty()
    assert {(ev.name, ev.detail) for ev in events} == {("worker_recycled", "max_jobs_per_worker")}
    assert len({ev.death.pid for ev in events if ev.death is not None}) == 3


@pytest.mark.process
def test_an_old_worker_is_replaced_though_there_is_nothing_to_do(make_queue):
    heard: SimpleQueue[QueueEvent] = SimpleQueue()
    queue = make_queue(concurrency=2, max_worker_age=0.2)
    queue.on("worker_recycled", heard.put)
    queue.process("double", jobs.double)
    queue.start()
    assert {heard.get(timeout=30).detail for _ in range(4)} == {"max_worker_age"}
    assert queue.result(queue.add("double", 4), 30) == 8


@pytest.mark.process
def test_a_handler_may_be_added_while_the_queue_runs_and_may_use_it(queue):
    queue.process("double", jobs.double)
    queue.start()
    values: SimpleQueue[int] = SimpleQueue()
    queue.on("completed", lambda ev: values.put(queue.result(ev.job_id, 30)))
    queue.add("double", 4)
    assert values.get(timeout=30) == 8


@pytest.mark.process
def test_a_handler_may_stop_the_queue(queue):
    queue.process("double", jobs.double)
    stopped = threading.Event()
    queue.on("completed", lambda ev: (queue.stop(), stopped.set()))
    queue.start()
    queue.add("double", 4)
    assert stopped.wait(30)


@pytest.mark.process
def test_a_handler_that_blocks_delays_no_job(queue):
    queue.process("double", jobs.double)
    leave = threading.Event()
    queue.on("completed", lambda ev: leave.wait(60))
    queue.start()
    started = time.monotonic()
    assert [queue.result(queue.add("double", n), 30) for n in range(20)] == list(range(0, 40, 2))
    assert time.monotonic() - started < 30
    leave.set()


@pytest.mark.process
def test_what_a_job_logs_is_logged_in_the_caller(queue, caplog):
    queue.process("log", jobs.log)
    queue.start()
    with caplog.at_level(logging.INFO, "knock.job"):
        queue.result(queue.add("log"), 30)
        queue.stop()
    [record] = [record for record in caplog.records if record.name == "knock.job"]
    assert record.getMessage() == "job 1 (log): hello from the job"
    assert (record.job_id, record.job_type, record.attempt) == (1, "log", 1)


@pytest.mark.process
def test_records_of_jobs_are_logged_in_the_caller_with_their_attempt(queue, caplog):
    queue.process("refuse", jobs.log_and_refuse)
    queue.start()
    job_id = queue.add("refuse", "x", retry_attempts=1)
    with pytest.raises(ValueError, match="refused"):
        queue.result(job_id, 30)
    queue.stop()
    records = [record for record in caplog.records if record.name == "shop"]
    assert [(r.getMessage(), r.job_id, r.job_type, r.attempt) for r in records] == [
        ("refusing 'x'", job_id, "refuse", 1),
        ("refusing 'x'", job_id, "refuse", 2),
    ]
    attempts = queue.get_job(job_id).attempts
    assert [attempt.log for attempt in attempts] == [("WARNING shop: refusing 'x'",)] * 2
    assert [record.worker_pid for record in records] == [a.worker_pid for a in attempts]
