"""What a storage must do about jobs that nobody needs after some moment."""
# ruff: noqa: S101, D102, PLR2004 - these are tests: their names say what they state

from knock.core.job import JobState, Spent
from knock.storage.base import Storage
from knock.testing.build import NOW, a_job, claim_ids, claim_one, record, retry, settlement


class ExpireContract:
    """``expires_at``, and ``Claimed.expired``."""

    def test_an_expired_job_becomes_dead_and_is_told(self, storage: Storage) -> None:
        storage.enqueue([a_job(1, expires_at=NOW + 5.0), a_job(2)], now=NOW)
        claimed = storage.claim(0, now=NOW + 5.0)
        [expired] = claimed.expired
        assert (expired.spec.id, expired.state, expired.reason) == (1, JobState.DEAD, "expired")
        assert expired.finished_at == NOW + 5.0
        assert record(storage) == expired
        assert claim_ids(storage, now=NOW + 5.0) == [2]

    def test_an_expiry_is_told_once_and_waited_for(self, storage: Storage) -> None:
        storage.enqueue([a_job(1, run_at=NOW + 9.0, expires_at=NOW + 5.0)], now=NOW)
        assert storage.claim(1, now=NOW).next_at == NOW + 5.0
        assert len(storage.claim(1, now=NOW + 6.0).expired) == 1
        after = storage.claim(1, now=NOW + 10.0)
        assert (after.jobs, after.expired, after.next_at) == ([], [], None)

    def test_a_job_that_is_processing_does_not_expire(self, storage: Storage) -> None:
        storage.enqueue([a_job(expires_at=NOW + 5.0)], now=NOW)
        [claim] = storage.claim(1, now=NOW).jobs
        later = storage.claim(1, now=NOW + 6.0)
        assert (later.expired, later.next_at) == ([], None)
        assert storage.settle([settlement(claim)], now=NOW + 6.0) == []

    def test_a_released_job_can_still_expire(self, storage: Storage) -> None:
        storage.enqueue([a_job(expires_at=NOW + 5.0)], now=NOW)
        [claim] = storage.claim(1, now=NOW).jobs
        storage.claim(1, now=NOW + 6.0)
        storage.settle([settlement(claim, JobState.QUEUED)], now=NOW + 6.0)
        claimed = storage.claim(1, now=NOW + 6.0)
        assert claimed.jobs == []
        assert [expired.spec.id for expired in claimed.expired] == [1]

    def test_a_retried_job_can_still_expire(self, storage: Storage) -> None:
        jobs = [a_job(i, expires_at=NOW + 5.0) for i in (1, 2)]
        storage.enqueue(jobs, now=NOW)
        due, delayed = storage.claim(2, now=NOW).jobs
        storage.settle([retry(due, NOW), retry(delayed, NOW + 99.0)], now=NOW)
        assert storage.claim(0, now=NOW).next_at == NOW + 5.0
        claimed = storage.claim(2, now=NOW + 5.0)
        assert claimed.jobs == []
        assert sorted(expired.spec.id for expired in claimed.expired) == [1, 2]

    def test_an_expired_job_is_told_with_what_it_has_behind_it(self, storage: Storage) -> None:
        storage.enqueue([a_job(expires_at=NOW + 5.0)], now=NOW)
        storage.settle([retry(claim_one(storage), NOW)], now=NOW)
        attempts = record(storage).attempts
        [expired] = storage.claim(1, now=NOW + 5.0).expired
        assert len(expired.attempts) == 1
        assert (expired.attempts, expired.spent) == (attempts, Spent(failures=1))

    def test_all_that_expired_are_told_whatever_the_limit(self, storage: Storage) -> None:
        jobs = [a_job(i, expires_at=NOW + 1.0 + i % 3) for i in range(1, 301)]
        storage.enqueue([*jobs, a_job(999)], now=NOW)
        claimed = storage.claim(1, now=NOW + 5.0)
        assert [claim.job.id for claim in claimed.jobs] == [999]
        assert sorted(expired.spec.id for expired in claimed.expired) == list(range(1, 301))
        assert storage.counts(now=NOW + 5.0).dead == 300
        assert storage.claim(1, now=NOW + 5.0).expired == []
