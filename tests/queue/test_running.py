"""What becomes of jobs, wherever the supervisor runs."""

import threading
import time

import pytest

from knock.core.breaker import BreakerState
from knock.core.job import AttemptOutcome, DeathReason, JobState
from knock.core.policy import BreakerPolicy
from knock.errors import (
    JobCancelledError,
    JobDiscardedError,
    JobExpiredError,
    JobTimeoutError,
    ProcessorNotFoundError,
    SerializationError,
    WorkerCrashedError,
)
from tests.queue import jobs
from tests.queue.wait import wait_for

pytestmark = pytest.mark.process

# --- results --------------------------------------------------------------------------------------


def test_jobs_added_before_and_after_the_start_are_run(queue):
    queue.process("double", jobs.double)
    before = queue.add("double", 1)
    queue.start()
    after = queue.add_many("double", [2, 3])
    assert [queue.result(i, timeout=30) for i in (before, *after)] == [2, 4, 6]
    record = queue.get_job(before)
    assert record.state is JobState.COMPLETED
    assert [attempt.outcome for attempt in record.attempts] == [AttemptOutcome.SUCCESS]


def test_a_processor_sees_its_job(queue):
    queue.process("tell", jobs.tell)
    job_id = queue.add("tell", priority="low")
    queue.start()
    assert queue.result(job_id, 30) == (job_id, "tell", 1, 2)


def test_a_coroutine_is_awaited(queue):
    queue.process("awaited", jobs.awaited)
    queue.start()
    assert queue.result(queue.add("awaited", 2), 30) == 6


def test_a_job_without_a_value_gives_none(queue, tmp_path):
    queue.process("append", jobs.append)
    queue.start()
    assert queue.result(queue.add("append", (str(tmp_path / "f"), "x")), 30) is None


def test_an_exception_of_a_job_is_raised_where_its_result_is_asked_for(queue):
    queue.process("refuse", jobs.refuse, retry_attempts=0)
    queue.start()
    job_id = queue.add("refuse", "no")
    with pytest.raises(jobs.RefusedError, match="no"):
        queue.result(job_id, 30)
    assert queue.get_job(job_id).reason == DeathReason.RETRIES_EXHAUSTED


def test_retries_are_made_and_counted(queue):
    queue.process("refuse_twice", jobs.refuse_twice)
    queue.start()
    job_id = queue.add("refuse_twice")
    assert queue.result(job_id, 30) == 3
    assert len(queue.get_job(job_id).attempts) == 3


def test_a_job_overrides_the_retries_of_its_type(queue):
    queue.process("refuse_twice", jobs.refuse_twice)
    queue.start()
    job_id = queue.add("refuse_twice", retry_attempts=1)
    with pytest.raises(jobs.RefusedError, match="attempt 2"):
        queue.result(job_id, 30)


@pytest.mark.parametrize("retry_on", [ValueError, lambda exc: False])
def test_what_is_not_worth_a_retry_is_not_retried(queue, retry_on):
    queue.process("refuse", jobs.refuse, retry_on=retry_on)
    queue.start()
    job_id = queue.add("refuse", "no")
    with pytest.raises(jobs.RefusedError):
        queue.result(job_id, 30)
    record = queue.get_job(job_id)
    assert (record.reason, len(record.attempts)) == (DeathReason.NOT_RETRYABLE, 1)


@pytest.mark.parametrize("how", [jobs.crash, jobs.leave])
def test_a_crash_is_told_as_one(queue, how):
    queue.process("crash", how, retry_crashes=0)
    queue.process("double", jobs.double)
    queue.start()
    crash = queue.add("crash")
    others = queue.add_many("double", range(20))
    with pytest.raises(WorkerCrashedError):
        queue.result(crash, 30)
    assert [queue.result(i, 30) for i in others] == [2 * n for n in range(20)]


def test_a_timeout_kills_and_is_told_as_one(queue):
    queue.process("sleep", jobs.sleep, timeout=0.2, retry_attempts=0)
    queue.start()
    slow = queue.add("sleep", 60)
    with pytest.raises(JobTimeoutError):
        queue.result(slow, 30)
    assert queue.result(queue.add("sleep", 0.3, timeout=None), 30) == 0.3


def test_discard_and_retry_later(queue, tmp_path):
    queue.process("discard", jobs.discard)
    queue.process("come_later", jobs.come_later, retry_attempts=0)
    queue.start()
    with pytest.raises(JobDiscardedError, match="not wanted"):
        queue.result(queue.add("discard"), 30)
    assert queue.result(queue.add("come_later", str(tmp_path / "f")), 30) == "came"


def test_waiting_for_a_result_can_run_out_of_time(queue):
    queue.process("sleep", jobs.sleep)
    queue.start()
    job_id = queue.add("sleep", 60)
    with pytest.raises(TimeoutError) as caught:
        queue.result(job_id, timeout=0.1)
    assert type(caught.value) is TimeoutError
    with pytest.raises(TimeoutError):
        queue.join(timeout=0.1)


def test_a_job_that_expires_before_it_starts_is_dead(queue):
    queue.process("double", jobs.double)
    job_id = queue.add("double", 1, expires_in=0.0)
    queue.start()
    with pytest.raises(JobExpiredError):
        queue.result(job_id, 30)


def test_a_delayed_job_waits(queue):
    queue.process("double", jobs.double)
    queue.start()
    queue.result(queue.add("double", 1), 30)
    started = time.monotonic()
    assert queue.result(queue.add("double", 1, delay=0.3), 30) == 2
    assert 0.3 <= time.monotonic() - started < 2.0


def test_the_urgent_runs_first(make_queue, tmp_path):
    queue = make_queue(concurrency=1)
    queue.process("append", jobs.append)
    path = tmp_path / "order"
    for priority in ("low", "normal", "high"):
        for number in range(20):
            queue.add("append", (str(path), f"{priority} {number}"), priority=priority)
    queue.start()
    queue.join(30)
    expected = [f"{p} {n}" for p in ("high", "normal", "low") for n in range(20)]
    assert path.read_text().splitlines() == expected


def test_a_key_holds_while_its_job_is_stored(queue):
    queue.process("double", jobs.double)
    queue.start()
    first = queue.add("double", 1, key="k")
    queue.result(first, 30)
    assert queue.add("double", 2, key="k") == first
    assert queue.add_many("double", [3, 4], keys=["k", "l"])[0] == first


# --- types ----------------------------------------------------------------------------------------


def test_a_type_may_be_registered_while_it_runs(queue):
    queue.start()
    with pytest.raises(ProcessorNotFoundError):
        queue.add("double", 1)
    queue.process("double", jobs.double)
    assert queue.result(queue.add("double", 4), 30) == 8


def test_a_type_may_be_registered_anew(queue):
    queue.process("x", jobs.double)
    queue.start()
    assert queue.result(queue.add("x", 2), 30) == 4
    queue.process("x", jobs.awaited)
    assert queue.result(queue.add("x", 2), 30) == 6


def test_a_job_without_a_processor_is_dead_and_warned_of(queue, caplog):
    job_id = queue.add("nobody")
    queue.start()
    with pytest.raises(ProcessorNotFoundError, match="nobody"):
        queue.result(job_id, 30)
    assert queue.get_job(job_id).reason == DeathReason.UNKNOWN_TYPE
    assert "no processor for nobody" in caplog.text


def test_a_processor_that_cannot_be_sent_is_an_error_of_the_call(queue):
    lock = threading.Lock()
    queue.process("locked", lambda job: lock)
    with pytest.raises(SerializationError, match="locked"):
        queue.start()


def test_max_concurrency_bounds_a_type(queue, tmp_path):
    queue.process("one", jobs.mark_and_sleep, max_concurrency=1)
    queue.process("double", jobs.double)
    queue.start()
    path = tmp_path / "f"
    queue.add_many("one", [(str(path), 0.3)] * 2)
    wait_for(path)
    assert queue.result(queue.add("double", 1), 30) == 2
    assert path.stat().st_size == 1
    queue.join(30)


def test_an_open_breaker_holds_its_type_back_and_recovers(queue, tmp_path):
    queue.process(
        "refuse",
        jobs.refuse,
        retry_attempts=0,
        breaker=BreakerPolicy(threshold=2, reset_timeout=0.3),
    )
    queue.process("double", jobs.double)
    opened = threading.Event()
    queue.on("breaker_opened", lambda event: opened.set())
    queue.add_many("refuse", range(50))
    queue.start()
    assert opened.wait(30)
    assert queue.get_stats().breakers["refuse"] is not BreakerState.CLOSED
    assert queue.result(queue.add("double", 1), 30) == 2
    stats = queue.get_stats()
    assert stats.queued + stats.failed + stats.processing == 50
    assert stats.failed <= 4


# --- cancelling, dead letters, stats --------------------------------------------------------------


def test_a_running_job_can_be_cancelled(queue, tmp_path):
    queue.process("mark", jobs.mark_and_sleep)
    queue.start()
    path = tmp_path / "f"
    job_id = queue.add("mark", (str(path), 60))
    wait_for(path)
    assert queue.cancel(job_id)
    with pytest.raises(JobCancelledError):
        queue.result(job_id, 30)
    assert not queue.cancel(job_id)


def test_a_waiting_job_can_be_cancelled(queue):
    queue.process("double", jobs.double)
    queue.start()
    job_id = queue.add("double", 1, delay=60)
    assert queue.cancel(job_id)
    with pytest.raises(JobCancelledError):
        queue.result(job_id, 30)
    queue.join(30)


def test_dead_letters_can_be_read_tried_again_and_purged(queue):
    queue.process("refuse", jobs.refuse, retry_attempts=0, circuit_breaker_threshold=None)
    queue.process("leave", jobs.leave, retry_crashes=0, circuit_breaker_threshold=None)
    queue.start()
    queue.add_many("refuse", ["a", "b"])
    queue.add("leave")
    queue.join(30)
    assert {r.spec.type for r in queue.get_dead_letter_items()} == {"refuse", "leave"}
    assert len(queue.get_dead_letter_items(1)) == 1
    [letter] = queue.get_dead_letter_items(job_type="leave")
    assert queue.purge_dead_letters([letter.spec.id]) == 1
    ids = queue.retry_dead_letters()
    assert sorted(ids) == [1, 2]
    queue.join(30)
    stats = queue.get_stats()
    assert (stats.dead, stats.failed, stats.completed) == (2, 5, 0)
    assert queue.purge_dead_letters(job_type="leave") == 0
    assert queue.purge_dead_letters(older_than=60) == 0
    assert queue.purge_dead_letters() == 2
    assert queue.get_stats().dead == 0


def test_stats_of_a_running_queue(queue):
    queue.process("double", jobs.double)
    queue.process("refuse", jobs.refuse, retry_attempts=0)
    queue.start()
    queue.add_many("double", range(10))
    queue.add("refuse", "no")
    queue.add("double", 1, delay=60)
    with pytest.raises(TimeoutError):
        queue.join(timeout=1.0)
    stats = queue.get_stats()
    assert (stats.completed, stats.failed, stats.dead) == (10, 1, 1)
    assert (stats.queued, stats.delayed, stats.processing, stats.workers) == (1, 1, 0, 2)
    assert stats.completed_per_second > 0
    assert stats.breakers == {"double": BreakerState.CLOSED, "refuse": BreakerState.CLOSED}


def test_what_is_done_is_forgotten_after_the_retention(make_queue):
    queue = make_queue(retention=0.2)
    queue.process("double", jobs.double)
    queue.start()
    job_id = queue.add("double", 1)
    assert queue.result(job_id, 30) == 2
    deadline = time.monotonic() + 10
    while queue.get_stats().completed and _is_stored(queue, job_id):
        assert time.monotonic() < deadline
    assert queue.get_stats().completed == 1


def _is_stored(queue, job_id: int) -> bool:
    try:
        queue.get_job(job_id)
    except LookupError:
        return False
    return True


# --- deadlines ------------------------------------------------------------------------------------


def test_a_job_that_runs_at_its_deadline_is_killed_and_not_tried_again(queue):
    queue.process("sleep", jobs.sleep, retry_attempts=3)
    queue.start()
    # A worker is ready then, so it starts at once.
    queue.result(queue.add("sleep", 0), 30)
    job_id = queue.add("sleep", 60, deadline=2)
    with pytest.raises(JobTimeoutError, match="ran until its deadline and was killed") as raised:
        queue.result(job_id, 30)
    assert raised.value.limit == "deadline"
    assert "in sleep\n" in raised.value.detail
    record = queue.get_job(job_id)
    assert record.reason == DeathReason.DEADLINE
    assert [attempt.outcome for attempt in record.attempts] == [AttemptOutcome.TIMEOUT]


def test_a_job_that_could_only_be_tried_again_after_its_deadline_is_dead_at_once(queue):
    queue.process("refuse", jobs.refuse, retry_attempts=3, retry_delay=50)
    queue.start()
    job_id = queue.add("refuse", deadline=40)
    with pytest.raises(jobs.RefusedError):
        queue.result(job_id, 30)
    assert queue.get_job(job_id).reason == DeathReason.DEADLINE


def test_a_job_whose_deadline_passes_before_it_starts_expires(queue):
    queue.process("double", jobs.double)
    job_id = queue.add("double", 2, deadline=0.001)
    while time.time() < queue.get_job(job_id).spec.deadline:
        time.sleep(0.001)
    queue.start()
    with pytest.raises(JobExpiredError):
        queue.result(job_id, 30)


def test_a_job_knows_its_deadline(queue):
    queue.process("tell_deadline", jobs.tell_deadline)
    queue.start()
    ids = [queue.add("tell_deadline", deadline=deadline) for deadline in (None, 1000)]
    assert queue.result(ids[0], 30) is None
    assert queue.result(ids[1], 30) == queue.get_job(ids[1]).spec.deadline


def test_limits_of_a_type_hold_for_its_jobs_only(make_queue):
    queue = make_queue(soft_timeout=None, max_payload_bytes=1000)
    queue.process("sleep", jobs.sleep, soft_timeout=0.05, retry_attempts=0)
    queue.process("double", jobs.double)
    queue.start()
    job_id = queue.add("sleep", 60)
    with pytest.raises(JobTimeoutError) as raised:
        queue.result(job_id, 30)
    assert raised.value.limit == "soft_timeout"
    assert queue.result(queue.add("double", 4), 30) == 8
    with pytest.raises(SerializationError, match=r"data has .* more than max_payload_bytes=1000"):
        queue.add("double", bytes(2000))


def test_a_queue_captures_output_if_asked(make_queue):
    queue = make_queue(capture_output=True)
    queue.process("print", jobs.print_data)
    queue.start()
    ids = queue.add_many("print", ["one", "two"])
    for job_id, text in zip(ids, ("one", "two"), strict=True):
        queue.result(job_id, 30)
        assert [a.stdout for a in queue.get_job(job_id).attempts] == [f"{text}\n"]
