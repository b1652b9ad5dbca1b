"""How long jobs are kept after their end."""

import pytest

from knock.core.job import JobState
from knock.errors import JobNotFoundError
from tests.queue import jobs
from tests.witness import wait_for

pytestmark = pytest.mark.process


def is_there(queue, job_id):
    try:
        queue.get_job(job_id)
    except JobNotFoundError:
        return False
    return True


def test_dead_letters_are_kept_whatever_the_retention(make_queue):
    queue = make_queue(retention=0.0, retry_attempts=0)
    queue.process("refuse", jobs.refuse)
    queue.process("double", jobs.double)
    queue.start()
    dead, done = queue.add("refuse"), queue.add("double", 1)
    queue.join(30)
    wait_for(lambda: not is_there(queue, done))
    assert [record.spec.id for record in queue.get_dead_letter_items()] == [dead]


def test_what_completed_before_a_restart_is_forgotten_after_it(make_queue):
    queue = make_queue(retention=0.3)
    queue.process("double", jobs.double)
    queue.start()
    job_id = queue.add("double", 1)
    queue.result(job_id, 30)
    queue.stop()
    queue.start()
    wait_for(lambda: not is_there(queue, job_id))


def test_a_dead_job_that_was_retried_and_completed_is_kept_from_then_on(make_queue, tmp_path):
    queue = make_queue(retention=1.0, retry_attempts=0)
    queue.process("late", jobs.refuse_the_first_time)
    queue.start()
    job_id = queue.add("late", str(tmp_path / "f"))
    queue.join(30)
    died_at = queue.get_job(job_id).finished_at
    wait_for(lambda: queue._runtime.clock.now() > died_at + 0.7)
    queue.retry_dead_letters([job_id])
    assert queue.result(job_id, 30) == "came"
    record = queue.get_job(job_id)
    assert record.state is JobState.COMPLETED
    wait_for(lambda: not is_there(queue, job_id))
    assert queue._runtime.clock.now() >= record.finished_at + 1.0
