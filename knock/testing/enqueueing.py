"""What a storage must do with new jobs."""
# ruff: noqa: S101, D102, PLR2004 - these are tests: their names say what they state

from knock.core.job import JobOptions, JobState
from knock.storage.base import Storage
from knock.testing.build import NOW, a_job, claim_ids, finish, record, settlement


class EnqueueContract:
    """``enqueue``, ids and keys."""

    def test_it_is_a_storage(self, storage: Storage) -> None:
        assert isinstance(storage, Storage)

    def test_ids_come_back_in_the_order_of_the_jobs(self, storage: Storage) -> None:
        assert storage.enqueue([a_job(7), a_job(3), a_job(2**40)], now=NOW) == [7, 3, 2**40]

    def test_an_empty_batch_changes_nothing(self, storage: Storage) -> None:
        assert storage.enqueue([], now=NOW) == []
        assert storage.claim(10, now=NOW).jobs == []

    def test_a_job_comes_back_as_it_was_given(self, storage: Storage) -> None:
        job = a_job(
            type="größe\u202e'; DROP TABLE jobs; --",
            payload=bytes(range(256)) * 3,
            priority=2,
            run_at=NOW - 0.125,
            created_at=NOW - 12345.678901,
            expires_at=NOW + 1e6,
            key="key with 'quotes' and \N{SNOWMAN}",
            options=JobOptions(timeout=None, retry_attempts=4),
        )
        storage.enqueue([job], now=NOW)
        assert record(storage).spec == job
        [claim] = storage.claim(1, now=NOW).jobs
        assert claim.job == job

    def test_a_new_job_is_queued_and_has_spent_nothing(self, storage: Storage) -> None:
        storage.enqueue([a_job()], now=NOW)
        found = record(storage)
        assert found.state is JobState.QUEUED
        assert (found.attempts, sum(found.spent)) == ((), 0)
        assert (found.result, found.reason, found.finished_at) == (None, None, None)
        assert found.run_at == NOW

    def test_a_repeated_call_adds_nothing_and_changes_nothing(self, storage: Storage) -> None:
        storage.enqueue([a_job(1)], now=NOW)
        assert storage.enqueue([a_job(1, payload=b"other"), a_job(2)], now=NOW) == [1, 2]
        assert record(storage, 1).spec.payload == b"payload"
        assert storage.counts(now=NOW).queued == 2

    def test_a_repeated_call_does_not_run_a_finished_job_again(self, storage: Storage) -> None:
        finish(storage, JobState.COMPLETED)
        assert storage.enqueue([a_job(1)], now=NOW) == [1]
        assert storage.claim(10, now=NOW).jobs == []

    def test_a_known_key_returns_the_job_that_has_it(self, storage: Storage) -> None:
        storage.enqueue([a_job(1, key="k")], now=NOW)
        assert storage.enqueue([a_job(2, key="k"), a_job(3, key="other")], now=NOW) == [1, 3]
        assert storage.get([2]) == [None]

    def test_a_key_holds_inside_one_batch(self, storage: Storage) -> None:
        jobs = [a_job(1, key="k"), a_job(2, key="k"), a_job(3)]
        assert storage.enqueue(jobs, now=NOW) == [1, 1, 3]
        assert storage.counts(now=NOW).queued == 2

    def test_a_key_holds_as_long_as_its_job_is_stored(self, storage: Storage) -> None:
        storage.enqueue([a_job(1, key="k")], now=NOW)
        [claim] = storage.claim(1, now=NOW).jobs
        assert storage.enqueue([a_job(2, key="k")], now=NOW) == [1]
        storage.settle([settlement(claim)], now=NOW)
        assert storage.enqueue([a_job(3, key="k")], now=NOW) == [1]
        storage.purge([1])
        assert storage.enqueue([a_job(4, key="k")], now=NOW) == [4]

    def test_many_jobs_are_each_handed_out_once(self, storage: Storage) -> None:
        storage.enqueue([a_job(i, priority=i % 3) for i in range(1, 1001)], now=NOW)
        seen: list[int] = []
        while batch := claim_ids(storage, 70):
            seen += batch
        assert sorted(seen) == list(range(1, 1001))
