"""What no other process could understand, or no job is, is put right or refused at once."""

import enum
from typing import Any

import pytest

from knock.core.job import Priority
from knock.core.policy import BreakerPolicy
from knock.errors import ConfigError
from knock.queue import Queue
from tests.queue import jobs


class Kind(enum.StrEnum):
    DOUBLE = "double"


class Text(str):
    pass


# As if of the caller's script, which no supervisor process loads.
Kind.__module__ = Text.__module__ = "__main__"


@pytest.mark.process
def test_job_types_and_keys_of_the_callers_own_classes_are_texts(queue):
    queue.process(Kind.DOUBLE, jobs.double)
    queue.start()
    job_id = queue.add(Kind.DOUBLE, 2, key=Text("k"))
    assert queue.result(job_id, 30) == 4
    assert queue.add_many(Kind.DOUBLE, [3], keys=[Text("k")]) == [job_id]
    assert queue.get_dead_letter_items(job_type=Kind.DOUBLE) == []
    spec = queue.get_job(job_id).spec
    assert (type(spec.type), type(spec.key)) == (str, str)


@pytest.mark.process
@pytest.mark.parametrize("wrong", [[1], True, "1", 1.0, None])
def test_what_is_no_id_is_refused_and_costs_the_queue_nothing(queue, wrong: Any):
    queue.process("double", jobs.double)
    queue.start()
    job_id = queue.add("double", 1)
    for ask in (queue.result, queue.get_job, queue.cancel):
        with pytest.raises(ConfigError, match="job id"):
            ask(wrong)
    for ask in (queue.retry_dead_letters, queue.purge_dead_letters):
        with pytest.raises(ConfigError, match="job id"):
            ask([wrong])
        with pytest.raises(ConfigError, match="job id"):
            ask("12")
    with pytest.raises(ConfigError, match="job id"):
        queue.result(queue.get_job(job_id))
    assert queue.result(job_id, 30) == 2


def test_a_number_is_no_priority_and_no_truth_a_delay_though_equal_ones_were_seen_before():
    queue = Queue()
    queue.add("a", priority=Priority.HIGH)
    for options in ({"priority": 0}, {"delay": False}, {"priority": ["high"]}):
        with pytest.raises(ConfigError):
            queue.add("a", **options)


def test_what_is_no_event_is_refused():
    for wrong in ("done", ["completed"], None):
        with pytest.raises(ConfigError, match="no event"):
            Queue().on(wrong, print)


def test_a_breaker_policy_of_wrong_numbers_is_refused_by_name():
    with pytest.raises(ConfigError, match=r"breaker\.failure_rate"):
        Queue(breaker=BreakerPolicy(failure_rate="x"))


def test_a_limit_of_workers_that_cannot_be_is_refused_by_name():
    for options in (
        {"max_jobs_per_worker": 0},
        {"max_worker_memory": "5 parsecs"},
        {"max_worker_age": 0.0},
    ):
        [name] = options
        with pytest.raises(ConfigError, match=f"^{name} must be "):
            Queue(**options)


@pytest.mark.process
def test_dead_letters_are_retried_that_match_all_that_is_given(queue):
    queue.process("refuse", jobs.refuse, retry_attempts=0)
    queue.process("discard", jobs.discard)
    queue.start()
    refused, discarded = queue.add("refuse"), queue.add("discard")
    queue.join(30)
    queue.pause()
    assert queue.retry_dead_letters([discarded, refused], job_type="refuse") == [refused]
    assert queue.retry_dead_letters(job_type="nothing") == []
