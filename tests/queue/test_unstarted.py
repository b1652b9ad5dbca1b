"""A queue that does not run answers what it can, and says why it cannot do the rest."""

import gc
import logging
import os

import pytest

from knock.core.job import JobState
from knock.errors import (
    ForkedProcessError,
    JobCancelledError,
    JobNotFoundError,
    QueueClosedError,
)
from knock.queue import Queue, QueueStats


@pytest.fixture
def queue() -> Queue:
    return Queue()


def test_waiting_for_what_would_never_come_is_an_error(queue):
    queue.join()
    job_id = queue.add("a")
    with pytest.raises(QueueClosedError, match="never started"):
        queue.join()
    with pytest.raises(QueueClosedError, match="never started"):
        queue.result(job_id, timeout=1)


def test_an_unknown_job_is_not_found(queue):
    for ask in (queue.get_job, queue.result, queue.cancel):
        with pytest.raises(JobNotFoundError):
            ask(5)


def test_a_queued_job_can_be_cancelled_once(queue):
    job_id = queue.add("a")
    assert queue.cancel(job_id)
    assert not queue.cancel(job_id)
    assert queue.get_job(job_id).state is JobState.CANCELLED
    with pytest.raises(JobCancelledError):
        queue.result(job_id)


def test_stats_count_what_is_stored(queue):
    queue.add("a")
    queue.add("a", delay=60)
    queue.cancel(queue.add("a"))
    assert queue.get_stats() == QueueStats(queued=2, delayed=1, cancelled=1)


def test_stopping_and_pausing_need_no_start(queue):
    queue.stop()
    queue.pause()
    assert queue.is_paused
    assert queue.get_stats().is_paused
    queue.resume()
    assert not queue.is_paused


def test_there_are_no_dead_letters(queue):
    assert queue.get_dead_letter_items() == []
    assert queue.retry_dead_letters() == []
    assert queue.purge_dead_letters(older_than=0) == 0


@pytest.fixture
def collected():
    """Queues of other tests are gone: what finalizers let go of takes another round."""
    for _ in range(3):
        gc.collect()


@pytest.mark.usefixtures("collected")
def test_jobs_that_nobody_will_run_are_warned_of(caplog):
    queue = Queue()
    queue.add_many("a", range(3))
    with caplog.at_level(logging.WARNING, "knock.queue"):
        del queue
        gc.collect()
    assert caplog.messages == ["3 jobs were not run: the queue was never started"]


@pytest.mark.usefixtures("collected")
def test_an_empty_queue_is_not_warned_of(caplog):
    queue = Queue()
    queue.cancel(queue.add("a"))
    with caplog.at_level(logging.WARNING, "knock.queue"):
        del queue
        gc.collect()
    assert caplog.messages == []


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_child_may_not_use_it(queue):
    queue.add("a")
    pid = os.fork()
    if pid == 0:
        try:
            queue.add("a")
        except ForkedProcessError:
            os._exit(17)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 17
