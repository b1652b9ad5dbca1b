import pickle

import pytest

from knock.core.job import (
    AttemptOutcome,
    Death,
    JobOptions,
    JobRecord,
    JobSpec,
    JobState,
    Spent,
)
from knock.errors import (
    JobCancelledError,
    JobDiscardedError,
    JobExpiredError,
    JobFailedError,
    JobLostError,
    JobTimeoutError,
    OutOfMemoryError,
    ProcessorNotFoundError,
    RemoteJobError,
    ResultDecodeError,
    WorkerCrashedError,
)
from knock.outcome import Outcome, failure_of, value_of
from tests.report.build import SEGFAULT, a_dead, a_record, an_attempt, an_error

DEATHS = [
    # the record                                                    what is raised
    (a_dead(AttemptOutcome.TIMEOUT), JobTimeoutError),
    (a_dead(AttemptOutcome.TIMEOUT, death=Death(stderr="stack")), JobTimeoutError),
    (a_dead(AttemptOutcome.CRASH, reason="poison", death=SEGFAULT), WorkerCrashedError),
    (a_dead(AttemptOutcome.CRASH), WorkerCrashedError),
    (a_dead(AttemptOutcome.OUT_OF_MEMORY, reason="poison", death=SEGFAULT), OutOfMemoryError),
    (a_dead(AttemptOutcome.LOST, reason="lost"), JobLostError),
    (a_dead(AttemptOutcome.ERROR, reason="discarded: no such file"), JobDiscardedError),
    (a_dead(AttemptOutcome.ERROR, reason="discarded"), JobDiscardedError),
    (a_dead(AttemptOutcome.ERROR, reason="not_retryable"), JobFailedError),
    (a_dead(AttemptOutcome.ERROR, error=an_error(KeyError("k"))), KeyError),
    (a_dead(AttemptOutcome.ERROR, error=an_error(KeyError("k"), b"junk")), RemoteJobError),
    (a_dead(AttemptOutcome.ERROR, error=an_error(SystemExit(3))), RemoteJobError),
    (a_record(JobState.DEAD, reason="expired"), JobExpiredError),
    (a_record(JobState.DEAD, an_attempt(AttemptOutcome.ERROR), reason="expired"), JobExpiredError),
    (a_record(JobState.DEAD, reason="unknown_type"), ProcessorNotFoundError),
    (a_record(JobState.DEAD), JobFailedError),
    (a_record(JobState.CANCELLED), JobCancelledError),
    (a_record(JobState.CANCELLED, an_attempt(AttemptOutcome.CANCELLED)), JobCancelledError),
    (a_record(JobState.QUEUED), JobFailedError),
    (a_record(JobState.PROCESSING), JobFailedError),
]


@pytest.mark.parametrize("record, expected", DEATHS)
def test_each_way_to_fail_has_its_exception(record, expected):
    outcome = Outcome(0, "item", record)
    with pytest.raises(expected) as caught:
        _ = outcome.value
    assert type(caught.value) is expected
    assert type(outcome.exception()) is expected
    assert not outcome.ok
    assert outcome.error.type_name
    if isinstance(caught.value, JobFailedError):
        assert "7" in str(caught.value) or isinstance(caught.value, RemoteJobError)
        assert (caught.value.job_id, caught.value.job_type) == (7, "render")


def test_a_value_is_unpickled_once_when_first_asked_for():
    outcome = Outcome(3, "item", a_record(value=[1, 2]))
    assert outcome.ok
    assert outcome.value == [1, 2]
    assert outcome.value is outcome.value
    assert (outcome.error, outcome.exception()) == (None, None)


def test_a_value_that_cannot_be_unpickled_says_so():
    with pytest.raises(ResultDecodeError):
        value_of(a_record(result=b"\x80junk"))


def test_an_outcome_tells_of_its_last_attempt():
    attempts = (an_attempt(AttemptOutcome.ERROR, wall=9.0), an_attempt(wall=0.5))
    outcome = Outcome(3, "item", a_record(JobState.COMPLETED, *attempts))
    assert outcome.attempts == attempts
    assert (outcome.index, outcome.item, outcome.job_id, outcome.job_type) == (
        3,
        "item",
        7,
        "render",
    )
    assert (outcome.state, outcome.outcome) == (JobState.COMPLETED, AttemptOutcome.SUCCESS)
    assert (outcome.wall_seconds, outcome.cpu_seconds, outcome.queue_wait_seconds) == (
        0.5,
        0.25,
        0.125,
    )
    assert (outcome.peak_rss_bytes, outcome.rss_before_bytes) == (200 << 20, 100 << 20)
    assert outcome.worker_pid == 42


def test_an_outcome_without_an_attempt_has_no_figures():
    outcome = Outcome(0, "item", a_record(JobState.CANCELLED))
    figures = (
        outcome.outcome,
        outcome.wall_seconds,
        outcome.cpu_seconds,
        outcome.queue_wait_seconds,
        outcome.peak_rss_bytes,
        outcome.rss_before_bytes,
        outcome.worker_pid,
    )
    assert figures == (None,) * 7


def test_a_jobs_own_exception_has_the_remote_traceback_as_its_cause():
    error = an_error(ValueError("bad frame"))
    failure = failure_of(a_dead(AttemptOutcome.ERROR, error=error))
    assert failure.args == ("bad frame",)
    assert error.traceback in str(failure.__cause__)


def test_a_jobs_attribute_error_is_not_taken_for_a_missing_value():
    record = a_dead(AttemptOutcome.ERROR, error=an_error(AttributeError("nope")))
    with pytest.raises(AttributeError, match="nope"):
        _ = Outcome(0, "item", record).value


def test_a_crash_names_its_signal_process_and_peak():
    failure = failure_of(a_dead(AttemptOutcome.CRASH, reason="poison", death=SEGFAULT))
    assert (failure.pid, failure.signal, failure.exit_code) == (77, 11, None)
    assert failure.peak_rss_bytes == 512 << 20
    assert failure.detail == "Fatal Python error: Segmentation fault"
    assert "SIGSEGV" in str(failure)
    assert "512.0 MiB" in str(failure)


def test_an_exit_with_code_0_is_told_as_such():
    death = Death(exit_code=0, cause="exited with code 0 without a result", pid=5)
    failure = failure_of(a_dead(AttemptOutcome.CRASH, death=death))
    assert (failure.exit_code, failure.signal) == (0, None)
    assert "exited with code 0" in str(failure)


def test_the_text_of_an_error_runs_no_code_of_the_job():
    error = an_error(ValueError("bad"), pickled=pickle.dumps(_Bomb()))
    outcome = Outcome(0, "item", a_dead(AttemptOutcome.ERROR, error=error))
    assert outcome.error is error
    assert _Bomb.exploded == 0


class _Bomb:
    exploded = 0

    def __reduce__(self):
        return _explode, ()


def _explode():
    _Bomb.exploded += 1


def test_hostile_text_stays_on_its_line():
    record = a_dead(
        AttemptOutcome.ERROR, reason="discarded: \x1b]0;title\x07\nforged", job_type="a\nb"
    )
    failure = failure_of(record)
    assert str(failure).isprintable()
    assert failure.detail == "\x1b]0;title\x07\nforged"
    assert repr(Outcome(0, "x", record)).isprintable()


def test_an_outcome_can_be_pickled_before_and_after_its_value_was_read():
    outcome = Outcome(0, "item", a_record(value=5))
    assert pickle.loads(pickle.dumps(outcome)).value == 5
    assert outcome.value == 5
    assert pickle.loads(pickle.dumps(outcome)).value == 5


def test_a_pickled_outcome_is_flat_and_has_everything():
    error = an_error(ValueError("bad"))
    record = JobRecord(
        spec=JobSpec(7, "render", b"p", 2, 1.0, 2.0, 3.0, "key", JobOptions(timeout=5.0)),
        state=JobState.DEAD,
        attempts=(
            an_attempt(AttemptOutcome.ERROR, error=error),
            an_attempt(AttemptOutcome.CRASH, death=SEGFAULT),
        ),
        spent=Spent(1, 1),
        run_at=4.0,
        result=b"r",
        reason="poison",
        finished_at=5.0,
    )
    data = pickle.dumps(Outcome(3, ["item"], record, is_restored=True))
    copy = pickle.loads(data)
    assert (copy.index, copy.item, copy.is_restored, copy.record) == (3, ["item"], True, record)
    assert not [name for name in (b"JobRecord", b"JobSpec", b"Usage") if name in data]
