"""What a storage must do when jobs are cancelled, or taken up again."""
# ruff: noqa: S101, D102, PLR2004 - these are tests: their names say what they state

from knock.core.job import NOTHING_SPENT, JobState
from knock.storage.base import Storage
from knock.testing.build import (
    NOW,
    a_job,
    claim_ids,
    claim_one,
    finish,
    record,
    retry,
    settlement,
)


class CancelContract:
    """``cancel`` and ``requeue``."""

    def test_only_queued_jobs_are_cancelled(self, storage: Storage) -> None:
        storage.enqueue([a_job(1), a_job(2), a_job(3, run_at=NOW + 10.0)], now=NOW)
        claim_one(storage)
        assert sorted(storage.cancel([1, 2, 3, 99], now=NOW + 1.0)) == [2, 3]
        assert record(storage, 2).finished_at == NOW + 1.0
        assert storage.cancel([2], now=NOW + 1.0) == []
        assert claim_ids(storage, now=NOW + 20.0) == []

    def test_what_is_cancelled_is_not_waited_for(self, storage: Storage) -> None:
        jobs = [a_job(1, run_at=NOW + 10.0), a_job(2, run_at=NOW + 5.0, expires_at=NOW + 7.0)]
        storage.enqueue(jobs, now=NOW)
        storage.cancel([1, 2], now=NOW)
        claimed = storage.claim(1, now=NOW)
        assert (claimed.next_at, claimed.has_more) == (None, False)
        assert storage.claim(1, now=NOW + 8.0).expired == []

    def test_many_cancelled_jobs_are_skipped(self, storage: Storage) -> None:
        storage.enqueue([a_job(i) for i in range(1, 301)], now=NOW)
        doomed = [i for i in range(1, 301) if i % 10]
        assert len(storage.cancel(doomed, now=NOW)) == 270
        assert claim_ids(storage, 5) == [10, 20, 30, 40, 50]
        assert storage.counts(now=NOW).queued == 25

    def test_a_requeued_job_is_due_now_with_budgets_afresh(self, storage: Storage) -> None:
        storage.enqueue([a_job(expires_at=NOW + 5.0)], now=NOW)
        dead = claim_one(storage)
        storage.settle([settlement(dead, JobState.DEAD)], now=NOW)
        assert storage.requeue([1], now=NOW + 100.0) == [1]
        found = record(storage)
        assert (found.state, found.run_at, found.spent) == (
            JobState.QUEUED,
            NOW + 100.0,
            NOTHING_SPENT,
        )
        assert len(found.attempts) == 1
        assert (found.reason, found.finished_at, found.spec.expires_at) == (None, None, None)
        claim = claim_one(storage, now=NOW + 100.0)
        assert claim.token > dead.token
        assert claim.spent == NOTHING_SPENT

    def test_a_requeued_job_that_had_expired_is_handed_out_once(self, storage: Storage) -> None:
        storage.enqueue([a_job(1, expires_at=NOW + 1.0), a_job(2)], now=NOW)
        storage.claim(0, now=NOW + 1.0)
        storage.requeue([1], now=NOW + 2.0)
        assert claim_ids(storage, now=NOW + 2.0) == [2, 1]

    def test_only_dead_jobs_are_requeued(self, storage: Storage) -> None:
        finish(storage, JobState.COMPLETED, 1)
        finish(storage, JobState.CANCELLED, 2)
        storage.enqueue([a_job(3)], now=NOW)
        assert storage.requeue([1, 2, 3, 99], now=NOW) == []
        assert claim_ids(storage) == [3]

    def test_jobs_that_wait_again_are_cancelled_too(self, storage: Storage) -> None:
        storage.enqueue([a_job(i) for i in (1, 2, 3, 4)], now=NOW)
        due, delayed, released, dead = storage.claim(4, now=NOW).jobs
        batch = [
            retry(due, NOW),
            retry(delayed, NOW + 9.0),
            settlement(released, JobState.QUEUED),
            settlement(dead, JobState.DEAD),
        ]
        storage.settle(batch, now=NOW)
        storage.requeue([4], now=NOW)
        assert sorted(storage.cancel([1, 2, 3, 4], now=NOW)) == [1, 2, 3, 4]
        claimed = storage.claim(10, now=NOW)
        assert (claimed.jobs, claimed.next_at) == ([], None)
        assert claim_ids(storage, now=NOW + 9.0) == []
        assert storage.counts(now=NOW + 9.0).cancelled == 4

    def test_a_requeued_job_remembers_its_attempts_in_order(self, storage: Storage) -> None:
        storage.enqueue([a_job()], now=NOW)
        storage.settle([settlement(claim_one(storage), JobState.DEAD)], now=NOW)
        storage.requeue([1], now=NOW)
        storage.settle([settlement(claim_one(storage))], now=NOW)
        outcomes = [attempt.outcome.value for attempt in record(storage).attempts]
        assert outcomes == ["error", "success"]
