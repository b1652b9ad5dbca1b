"""The limits of one attempt, as whoever sets them meets them."""

import re
import sys

import pytest

import knock
from knock.core.job import AttemptOutcome, JobState
from knock.errors import (
    ConfigError,
    JobTimeoutError,
    OutOfMemoryError,
    SerializationError,
    SoftTimeoutError,
)
from tests.run import jobs

pytestmark = pytest.mark.process

MIB = 1 << 20
linux = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")


def run(fn, *items, **options):
    """Run each item in one worker, so that the next one meets what the one before has left."""
    options = {"workers": 1, "progress": False, "retry_delay": 0.01} | options
    return knock.run_pool(fn, items, **options).outcomes


# --- soft_timeout ---------------------------------------------------------------------------------


def test_a_job_that_catches_its_warning_has_a_value():
    [outcome, after] = run(jobs.clean_up_when_warned, "a", "b", soft_timeout=0.05)
    assert outcome.value == "cleaned up after a"
    assert after.value == "cleaned up after b"
    assert outcome.worker_pid == after.worker_pid


def test_a_job_that_lets_its_warning_pass_ends_as_a_timeout():
    [outcome] = run(jobs.sleep_for_ever, None, soft_timeout=0.05, retry_attempts=1)
    assert (outcome.state, outcome.outcome) == (JobState.DEAD, AttemptOutcome.TIMEOUT)
    assert [attempt.outcome for attempt in outcome.attempts] == [AttemptOutcome.TIMEOUT] * 2
    error = outcome.exception()
    assert isinstance(error, JobTimeoutError)
    assert error.limit == "soft_timeout"
    assert str(error).endswith("the job has run for its soft_timeout of 0.05 s")
    assert "in sleep_for_ever\n" in error.detail
    assert "in sleep_for_ever\n" in str(error.__cause__)


def test_a_warning_that_was_caught_is_not_said_again():
    [outcome] = run(jobs.count_warnings, 0.3, soft_timeout=0.05)
    assert outcome.value == 1


def test_a_warning_that_comes_late_does_not_hit_the_next_job():
    # While C code holds the GIL it waits, and the job ends with it pending.
    outcomes = run(jobs.hold_the_gil, 1.3, 0.0, 0.0, 0.0, soft_timeout=1.0)
    assert [outcome.ok for outcome in outcomes[1:]] == [True] * 3


def test_a_job_that_ignores_its_warning_is_killed():
    [outcome] = run(jobs.swallow_everything, None, soft_timeout=0.05, timeout=0.3)
    error = outcome.exception()
    assert isinstance(error, JobTimeoutError)
    assert error.limit == "timeout"
    assert "in swallow_everything\n" in error.detail


def test_a_warning_cancels_a_job_that_awaits(witness):
    [outcome] = run(jobs.sleep_in_asyncio, witness, soft_timeout=0.05)
    assert witness.facts() == ["cleaned up"]
    assert outcome.outcome is AttemptOutcome.TIMEOUT
    assert outcome.exception().limit == "soft_timeout"


def test_a_warning_is_not_lost_when_the_worker_is_held_up_at_the_start():
    options = {"soft_timeout": 0.3, "timeout": 5, "initializer": jobs.begin_late}
    [outcome] = run(jobs.sleep_for_ever, None, **options)
    assert outcome.exception().limit == "soft_timeout"


@linux
def test_a_job_that_cannot_be_warned_is_not_killed_by_the_warning():
    options = {"soft_timeout": 0.05, "timeout": 0.5}
    [outcome] = run(jobs.become_another_program, 60, **options)
    assert outcome.outcome is AttemptOutcome.TIMEOUT
    assert outcome.exception().limit == "timeout"
    assert "it had changed its signal handlers" in outcome.attempts[-1].death.cause


def test_a_warning_is_no_error_of_the_system():
    # Those who expect one of a file or a socket must not take it for that.
    assert not issubclass(SoftTimeoutError, OSError)
    assert knock.SoftTimeoutError is SoftTimeoutError


# --- stall_timeout --------------------------------------------------------------------------------


def test_a_job_without_progress_is_killed():
    [outcome] = run(jobs.stall_after_progress, 3, stall_timeout=0.3)
    assert outcome.outcome is AttemptOutcome.TIMEOUT
    error = outcome.exception()
    assert isinstance(error, JobTimeoutError)
    assert error.limit == "stall_timeout"
    assert "told of no progress for its stall_timeout" in str(error)
    assert "in stall_after_progress\n" in error.detail


def test_a_job_that_goes_on_making_progress_may_take_longer_than_that():
    [outcome] = run(jobs.progress_slowly, 25, stall_timeout=2.0)
    assert outcome.value == 25
    assert outcome.wall_seconds > 2.0


# --- memory_limit ---------------------------------------------------------------------------------


@linux
def test_a_job_that_wants_too_much_memory_meets_a_memory_error_and_its_worker_lives():
    outcomes = run(jobs.allocate, 400 * MIB, MIB, memory_limit="200MiB", retry_oom=1)
    guilty, spared = outcomes
    assert spared.value == MIB
    assert (guilty.state, guilty.outcome) == (JobState.DEAD, AttemptOutcome.OUT_OF_MEMORY)
    assert len(guilty.attempts) == 2
    assert guilty.record.reason == "poison"
    assert isinstance(guilty.exception(), MemoryError)
    assert guilty.worker_pid == spared.worker_pid


@linux
def test_the_limit_holds_for_one_job_only():
    [outcome, other] = run(jobs.allocate_and_tell_limit, MIB, MIB, memory_limit="500MiB")
    assert outcome.value == other.value
    [free] = run(jobs.allocate, 400 * MIB)
    assert free.value == 400 * MIB


@linux
def test_no_job_pays_for_what_others_left_behind():
    # Each keeps a third of what the limit allows, and has room for that in any worker it is given.
    report = knock.run_pool(
        jobs.keep, [60 * MIB] * 8, workers=1, memory_limit="200MiB", progress=False
    )
    assert report.results == [60 * MIB] * 8
    assert report.facts.workers_recycled == {"jobs left too much memory for a memory_limit": 3}
    assert not any(outcome.record.spent.out_of_memory for outcome in report.outcomes)


@linux
def test_a_worker_that_was_never_small_enough_is_not_replaced_for_ever():
    outcomes = run(
        jobs.length, b"x", b"x", initializer=jobs.keep, initargs=(100 * MIB,), memory_limit="20MiB"
    )
    assert [outcome.value for outcome in outcomes] == [1, 1]


@linux
def test_a_job_that_has_too_much_memory_is_killed():
    # What is shared is none of the process's own data, so nothing refuses it.
    [outcome, after] = run(jobs.share_memory, 300 * MIB, MIB, memory_limit="150MiB")
    assert after.ok
    assert outcome.outcome is AttemptOutcome.OUT_OF_MEMORY
    error = outcome.exception()
    assert isinstance(error, OutOfMemoryError)
    assert error.cause == "killed by SIGKILL (ordered: memory_limit)"
    assert error.peak_rss_bytes > 150 * MIB
    assert "in share_memory\n" in error.detail


@linux
def test_the_memory_of_its_children_counts():
    [outcome] = run(jobs.let_children_allocate, 3 * 60 * MIB, memory_limit="150MiB")
    assert outcome.outcome is AttemptOutcome.OUT_OF_MEMORY


@linux
def test_what_forked_children_share_counts_once():
    [outcome] = run(jobs.fork_and_wait, 80 * MIB, memory_limit="250MiB")
    assert outcome.value == 4


# --- sizes ----------------------------------------------------------------------------------------


def test_a_result_that_is_too_large_is_refused_in_the_worker():
    outcomes = run(jobs.make_bytes, 2000, 10, max_result_bytes=1000, retry_attempts=3)
    large, small = outcomes
    assert len(small.value) == 10
    assert (large.state, len(large.attempts)) == (JobState.DEAD, 1)
    assert isinstance(large.exception(), SerializationError)
    assert re.search("has 20.. bytes, more than max_result_bytes=1000", str(large.exception()))


def test_an_item_that_is_too_large_is_refused_here():
    outcomes = run(jobs.length, b"x" * 5000, b"x", max_payload_bytes="4KB")
    large, small = outcomes
    assert small.value == 1
    assert large.attempts == ()
    error = large.exception()
    assert isinstance(error, SerializationError)
    assert re.search(r"item 0 has 50.. bytes .* more than max_payload_bytes=4000", str(error))


# --- what is refused ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "options, message",
    [
        ({"soft_timeout": 2, "timeout": 2}, "soft_timeout=2 must be less than timeout=2"),
        ({"soft_timeout": 0}, "soft_timeout must be between 0.001"),
        ({"stall_timeout": -1}, "stall_timeout must be between"),
        ({"stall_timeout": "5"}, "stall_timeout must be a number of seconds or None, not '5'"),
        ({"memory_limit": 512}, r"memory_limit must be at least 1 MiB \(a number is in bytes\)"),
        ({"memory_limit": "lots"}, "memory_limit must be a size such as '512MiB', not 'lots'"),
        ({"max_result_bytes": 0}, "max_result_bytes must be at least 1 byte"),
        ({"max_payload_bytes": 1.5}, "max_payload_bytes must be a whole number"),
    ],
)
def test_a_limit_that_cannot_be(options, message):
    with pytest.raises(ConfigError, match=message):
        run(jobs.square, 1, **options)


def test_limits_change_nothing_for_those_within_them():
    outcomes = run(
        jobs.square,
        *range(200),
        timeout=60,
        soft_timeout=50,
        stall_timeout=40,
        memory_limit="4GiB",
        max_result_bytes="1MiB",
        max_payload_bytes="1MiB",
    )
    assert [outcome.value for outcome in outcomes] == [n * n for n in range(200)]
