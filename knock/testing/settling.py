"""What a storage must do when jobs that were handed out end, or come back."""
# ruff: noqa: S101, D102 - these are tests: their names say what they state

from knock.core.job import NOTHING_SPENT, AttemptOutcome, JobState, Spent
from knock.errors import InvalidTransitionError
from knock.storage.base import Storage
from knock.testing.build import (
    NOW,
    a_job,
    a_run,
    claim_ids,
    claim_one,
    finish,
    record,
    retry,
    settlement,
)


class SettleContract:
    """``settle``."""

    def test_a_success_is_stored_with_its_result_and_attempt(self, storage: Storage) -> None:
        storage.enqueue([a_job()], now=NOW)
        claim = claim_one(storage)
        assert storage.settle([settlement(claim, result=b"\x00value")], now=NOW + 3.0) == []
        found = record(storage)
        assert found.state is JobState.COMPLETED
        assert (found.result, found.finished_at) == (b"\x00value", NOW + 3.0)
        assert found.attempts == (a_run(),)

    def test_a_settlement_under_an_old_token_changes_nothing(self, storage: Storage) -> None:
        storage.enqueue([a_job()], now=NOW)
        late = claim_one(storage)
        storage.settle([settlement(late, JobState.QUEUED)], now=NOW)
        current = claim_one(storage)
        assert storage.settle([settlement(late)], now=NOW) == [1]
        assert record(storage).state is JobState.PROCESSING
        assert record(storage).attempts == ()
        assert storage.settle([settlement(current)], now=NOW) == []

    def test_a_settlement_of_a_job_that_waits_again_changes_nothing(self, storage: Storage) -> None:
        storage.enqueue([a_job()], now=NOW)
        claim = claim_one(storage)
        storage.settle([settlement(claim, JobState.QUEUED)], now=NOW)
        assert storage.settle([settlement(claim)], now=NOW) == [1]
        assert record(storage).state is JobState.QUEUED

    def test_the_second_of_two_settlements_changes_nothing(self, storage: Storage) -> None:
        storage.enqueue([a_job()], now=NOW)
        claim = claim_one(storage)
        both = [settlement(claim), settlement(claim, JobState.DEAD)]
        assert storage.settle(both, now=NOW) == [1]
        assert record(storage).state is JobState.COMPLETED
        assert storage.settle([settlement(claim, JobState.DEAD)], now=NOW) == [1]

    def test_stale_settlements_do_not_stop_the_others(self, storage: Storage) -> None:
        storage.enqueue([a_job(1), a_job(2)], now=NOW)
        first, second = storage.claim(2, now=NOW).jobs
        unknown = settlement(first, job_id=99)
        stale = settlement(first, token=first.token + 1)
        refused = storage.settle([stale, unknown, settlement(second)], now=NOW)
        assert sorted(refused) == [1, 99]
        assert record(storage, 1).state is JobState.PROCESSING
        assert record(storage, 2).state is JobState.COMPLETED

    def test_a_retried_job_waits_for_its_moment(self, storage: Storage) -> None:
        storage.enqueue([a_job()], now=NOW)
        storage.settle([retry(claim_one(storage), NOW + 10.0)], now=NOW + 1.0)
        found = record(storage)
        assert (found.state, found.run_at, found.finished_at) == (
            JobState.QUEUED,
            NOW + 10.0,
            None,
        )
        assert claim_ids(storage, now=NOW + 9.0) == []
        claim = claim_one(storage, now=NOW + 10.0)
        assert (claim.spent, claim.attempt) == (Spent(failures=1), 2)
        assert claim.job == a_job(run_at=NOW + 10.0)

    def test_attempts_are_kept_in_order(self, storage: Storage) -> None:
        storage.enqueue([a_job()], now=NOW)
        for _ in range(2):
            storage.settle([retry(claim_one(storage), NOW)], now=NOW)
        storage.settle([settlement(claim_one(storage), attempt=a_run(number=3))], now=NOW)
        failed = AttemptOutcome.ERROR
        assert record(storage).attempts == (a_run(failed, 1), a_run(failed, 2), a_run(number=3))
        assert record(storage).spent == Spent(failures=2)

    def test_a_released_job_keeps_its_place_and_pays_nothing(self, storage: Storage) -> None:
        storage.enqueue([a_job(1), a_job(2), a_job(3)], now=NOW)
        first, second = storage.claim(2, now=NOW).jobs
        release = [settlement(second, JobState.QUEUED), settlement(first, JobState.QUEUED)]
        assert storage.settle(release, now=NOW + 5.0) == []
        found = record(storage, 1)
        assert (found.run_at, found.attempts, found.spent) == (NOW, (), NOTHING_SPENT)
        assert claim_ids(storage, now=NOW + 5.0) == [1, 2, 3]

    def test_a_dead_job_keeps_its_reason_and_attempt(self, storage: Storage) -> None:
        finish(storage, JobState.DEAD)
        found = record(storage)
        assert (found.state, found.reason) == (JobState.DEAD, "retries_exhausted")
        assert found.attempts == (a_run(AttemptOutcome.ERROR),)
        assert found.result is None
        assert storage.claim(10, now=NOW + 1e6).jobs == []

    def test_a_running_job_can_end_cancelled(self, storage: Storage) -> None:
        storage.enqueue([a_job()], now=NOW)
        assert storage.settle([settlement(claim_one(storage), JobState.CANCELLED)], now=NOW) == []
        assert record(storage).state is JobState.CANCELLED

    def test_an_impossible_move_is_refused_and_nothing_applied(self, storage: Storage) -> None:
        storage.enqueue([a_job(1), a_job(2)], now=NOW)
        first, second = storage.claim(2, now=NOW).jobs
        batch = [settlement(first), settlement(second, JobState.PROCESSING)]
        refused = False
        try:
            storage.settle(batch, now=NOW)
        except InvalidTransitionError:
            refused = True
        assert refused
        assert record(storage, 1).state is JobState.PROCESSING

    def test_a_retry_may_be_due_in_the_past(self, storage: Storage) -> None:
        storage.enqueue([a_job(1), a_job(2)], now=NOW)
        _, second = storage.claim(2, now=NOW).jobs
        storage.enqueue([a_job(3)], now=NOW)
        storage.settle([retry(second, NOW - 5.0)], now=NOW + 1.0)
        assert record(storage, 2).run_at == NOW - 5.0
        assert claim_ids(storage, now=NOW + 1.0) == [2, 3]

    def test_the_attempt_of_a_cancelled_job_is_kept(self, storage: Storage) -> None:
        storage.enqueue([a_job()], now=NOW)
        ended = a_run(AttemptOutcome.CANCELLED)
        cancelled = settlement(claim_one(storage), JobState.CANCELLED, attempt=ended)
        assert storage.settle([cancelled], now=NOW) == []
        assert record(storage).attempts == (ended,)

    def test_a_release_may_tell_of_an_attempt(self, storage: Storage) -> None:
        storage.enqueue([a_job(1), a_job(2)], now=NOW)
        first = claim_one(storage)
        ended = a_run(AttemptOutcome.RELEASED)
        back = settlement(first, JobState.QUEUED, attempt=ended, spent=first.spent, run_at=NOW)
        assert storage.settle([back], now=NOW + 5.0) == []
        found = record(storage, 1)
        assert (found.attempts, found.run_at, found.spent) == ((ended,), NOW, NOTHING_SPENT)
        assert claim_ids(storage, now=NOW + 5.0) == [1, 2]
