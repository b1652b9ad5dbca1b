"""Limits are kept on time, whatever else there is to do."""

import pytest

from knock.core.job import AttemptOutcome, JobState
from knock.core.policy import JobPolicy, RetryPolicy
from tests.process import jobs as make
from tests.witness import is_alive

pytestmark = [pytest.mark.process, pytest.mark.serial]

ONE_SECOND = JobPolicy(timeout=1.0, retry=RetryPolicy())


def test_a_job_that_holds_the_gil_ends_at_its_limit_and_its_neighbour_runs_on(call_up, witness):
    policies = {"do": ONE_SECOND, "other": JobPolicy(retry=RetryPolicy())}
    caller = call_up(policies=policies)
    [neighbour] = caller.add((make.spin, witness), type="other")
    [spared] = witness.wait(1)
    [spinning] = caller.add((make.spin, witness))
    killed = witness.wait(2)[-1]
    record = caller.watch(spinning)
    [attempt] = record.attempts
    assert (record.state, attempt.outcome) == (JobState.DEAD, AttemptOutcome.TIMEOUT)
    assert 1.0 <= attempt.usage.wall_seconds < 1.3
    assert record.finished_at - attempt.usage.started_at < 1.3
    assert not is_alive(int(killed))
    assert is_alive(int(spared))
    assert caller.get(neighbour).state is JobState.PROCESSING


def test_a_limit_begins_when_the_job_starts_not_when_it_was_sent(call_up, witness):
    # Both in the window of one worker: the second waits there for 0.9 s, and has its second then.
    caller = call_up(workers=1, policy=ONE_SECOND)
    first, second = caller.add((make.take_time, 0.9), (make.spin, witness))
    assert caller.watch(first).state is JobState.COMPLETED
    [attempt] = caller.watch(second).attempts
    assert attempt.outcome is AttemptOutcome.TIMEOUT
    assert 1.0 <= attempt.usage.wall_seconds < 1.3


def test_a_limit_holds_under_heavy_traffic(call_up, witness):
    caller = call_up(policies={"do": ONE_SECOND, "other": ONE_SECOND})
    [spinning] = caller.add((make.spin, witness))
    witness.wait(1)
    started = caller.clock.now()
    number = 0
    while caller.clock.now() < started + 1.2:
        caller.add(*[(make.square, n) for n in range(100)], type="other")
        number += 100
    [attempt] = caller.watch(spinning).attempts
    assert 1.0 <= attempt.usage.wall_seconds < 1.3
    caller.client.wait_idle(30)
    assert caller.stats().completed == number
