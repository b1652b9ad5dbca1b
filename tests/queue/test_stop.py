"""What is accepted while a queue stops, and how it ends when something goes wrong at the end."""

import logging
import os
import signal
import threading
import time

import pytest

from knock.core.job import JobState
from knock.errors import KnockError, QueueClosedError, SupervisorLostError
from knock.queue import Queue
from knock.storage.base import Counts
from knock.storage.memory import InMemoryStorage
from tests.queue import jobs
from tests.queue.wait import wait_for

pytestmark = pytest.mark.process


def test_no_job_that_is_accepted_while_the_queue_stops_is_lost(queue):
    queue.process("double", jobs.double)
    queue.start()
    accepted, errors = [], []

    def add_until_refused():
        try:
            while True:
                accepted.append(queue.add("double", 1))
                time.sleep(0.0001)  # else the mailbox is full, and all adders wait there
        except Exception as exc:
            errors.append(exc)

    threads = [threading.Thread(target=add_until_refused) for _ in range(3)]
    for thread in threads:
        thread.start()
    queue.result(queue.add("double", 1), 30)
    queue.stop()
    for thread in threads:
        thread.join(30)
    assert [type(error) for error in errors] == [QueueClosedError] * 3
    states = {queue.get_job(job_id).state for job_id in accepted}
    assert states <= {JobState.QUEUED, JobState.COMPLETED}
    stats = queue.get_stats()
    assert stats.queued + stats.completed == len(accepted) + 1


def test_a_pause_while_the_queue_stops_is_for_the_next_start(queue, tmp_path):
    queue.process("mark", jobs.mark_and_sleep)
    queue.start()
    path = tmp_path / "f"
    queue.add("mark", (str(path), 1.0))
    wait_for(path)
    thread = threading.Thread(target=queue.stop)
    thread.start()
    queue.pause()
    thread.join(30)
    assert queue.is_paused


def test_a_with_block_whose_queue_was_stopped_in_it_ends_in_peace(make_queue):
    with make_queue() as queue:
        queue.process("double", jobs.double)
        queue.add("double", 1, delay=1000)
        queue.stop()
    assert queue.get_stats().queued == 1


def test_ctrl_c_while_a_with_block_waits_for_its_jobs_stops_the_queue(place, start):
    program = start(
        f"""
        import time
        from knock.queue import Queue
        with Queue(supervisor={place!r}, concurrency=1) as queue:
            queue.process("work", lambda job: (print("working", flush=True), time.sleep(60)))
            queue.add_many("work", range(3))
        """
    )
    assert program.line() == "working"
    program.process.send_signal(signal.SIGINT)
    code, output = program.end()
    assert code == -signal.SIGINT
    assert "working" not in output


def test_a_queue_whose_supervisor_was_lost_says_so_at_the_next_start(make_queue):
    queue = make_queue(supervisor="process")
    queue.process("double", jobs.double)
    queue.start()
    assert queue.result(queue.add("double", 1), 30) == 2
    os.kill(queue._runtime.desk._client.pid, signal.SIGKILL)
    queue._runtime.desk.wait_over(30)
    with pytest.raises(SupervisorLostError):
        queue.start()


def test_a_logging_handler_that_raises_costs_the_queue_nothing(queue, capfd):
    class Broken(logging.Handler):
        def emit(self, record):
            raise RuntimeError("broken handler")

    handler, logger = Broken(), logging.getLogger("knock.job")
    logger.addHandler(handler)
    level = logger.level
    logger.setLevel(logging.INFO)
    try:
        queue.process("log", jobs.log)
        queue.process("double", jobs.double)
        queue.start()
        queue.result(queue.add("log"), 30)
        assert queue.result(queue.add("double", 2), 30) == 4
        queue.stop()
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)
    assert queue.get_stats().completed == 2
    assert "broken handler" in capfd.readouterr().err


class Mine(InMemoryStorage):
    """As if of the caller's script."""


Mine.__module__ = "__main__"


class Slim:
    """A storage without a dictionary of its own."""

    __slots__ = ()


for _name, _method in vars(InMemoryStorage).items():
    if not _name.startswith("_"):
        setattr(Slim, _name, _method)
# The queue asks these two before its start.
Slim.find = lambda self, **filters: []
Slim.counts = lambda self, now: Counts()


@pytest.mark.parametrize("kind", [Mine, Slim])
def test_a_storage_that_cannot_go_to_another_process_and_back_is_refused_at_the_start(kind):
    queue = Queue(kind(), supervisor="process")
    with pytest.raises(KnockError, match=r"supervisor='thread'"):
        queue.start()


def test_a_signal_handler_may_add_jobs(place, start):
    program = start(
        f"""
        import signal
        from knock.queue import Queue
        queue = Queue(supervisor={place!r}, concurrency=1)
        queue.process("double", lambda job: 2 * job.data)
        queue.start()
        added = []
        signal.signal(signal.SIGALRM, lambda *_: added.append(queue.add("double", 1)))
        signal.setitimer(signal.ITIMER_REAL, 0.001, 0.001)
        mine = [queue.add("double", n) for n in range(3000)]
        signal.setitimer(signal.ITIMER_REAL, 0)
        queue.join()
        print(len(added) > 10, queue.get_stats().completed == 3000 + len(added))
        """
    )
    assert program.end() == (0, "True True\n")
