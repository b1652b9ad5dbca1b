"""Entries become records of the caller's, whatever its handlers do."""

import logging
import sys
import threading

import pytest

from knock.protocol.logline import LogLine, Origin
from knock.supervisor.joblog import JobLog
from knock.supervisor.messages import LogEntry, Logged
from tests.witness import wait_for

LOGGER = logging.getLogger("shop.joblog")


def entries(*texts):
    origin = Origin(LOGGER.name)
    return [LogEntry(LogLine(1, 0.25, 30, text, origin), 42, 1, "do", 1) for text in texts]


@pytest.fixture
def job_log():
    log = JobLog()
    yield log
    log.close()
    assert not [t for t in threading.enumerate() if t.name == "knock-log"]


@pytest.fixture
def handle():
    """Give the logger a handler."""
    handler = logging.Handler()

    def use(emit):
        handler.emit = emit
        LOGGER.addHandler(handler)

    yield use
    LOGGER.removeHandler(handler)


def test_what_was_posted_is_logged_in_order_before_the_end(job_log, caplog):
    job_log.post(Logged(entries("one", "two")))
    job_log.post(Logged(entries("three"), 7))
    job_log.close()
    assert [record.getMessage() for record in caplog.records] == [
        "one",
        "two",
        "three",
        "7 log lines dropped: workers logged faster than they were handled",
    ]
    assert [record.created for record in caplog.records[:3]] == [0.25] * 3


def test_a_handler_that_raises_without_a_standard_error_ends_nothing(job_log, handle, monkeypatch):
    class Closed:
        def write(self, text):
            raise ValueError("closed")

    seen = []

    def emit(record):
        seen.append(record.getMessage())
        raise RuntimeError(seen[-1])

    monkeypatch.setattr(sys, "stderr", Closed())
    handle(emit)
    job_log.post(Logged(entries("one", "two")))
    job_log.close()
    assert seen == ["one", "two"]


def test_who_posts_does_not_wait_for_a_handler(job_log, handle):
    leave, seen = threading.Event(), []

    def emit(record):
        seen.append(record.getMessage())
        leave.wait(30)

    handle(emit)
    job_log.post(Logged(entries("one")))
    wait_for(lambda: seen)
    job_log.post(Logged(entries("two")))
    assert seen == ["one"]
    leave.set()
    job_log.close()
    assert seen == ["one", "two"]


def test_a_handler_may_close_what_calls_it(job_log, handle):
    seen = []

    def emit(record):
        job_log.close()
        seen.append(record.getMessage())

    handle(emit)
    job_log.post(Logged(entries("one", "two")))
    wait_for(lambda: len(seen) == 2)
