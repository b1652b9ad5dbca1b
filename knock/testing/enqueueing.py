"""What a storage must do with new jobs."""
# ruff: noqa: S101, D102, PLR2004 - these are tests: their names say what they state

from typing import Any

from knock.core.job import JobOptions, JobState
from knock.storage.base import Storage
from knock.testing.build import NOW, a_job, claim_ids, finish, record


class EnqueueContract:
    """``enqueue``: ids, repeats, and all or none."""

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

    def test_a_batch_is_stored_whole_or_not_at_all(self, storage: Storage) -> None:
        # A storage need not keep any of these; but if it does not, it keeps none of their batch.
        bad: Any = None
        odd_jobs = [
            a_job(1, payload=bad),
            a_job(2, type="\ud800"),
            a_job(3, key="\ud800"),
            a_job(2**70),
        ]
        stored = 0
        for number, odd in enumerate(odd_jobs):
            jobs = [a_job(10 + number), odd, a_job(20 + number)]
            try:
                storage.enqueue(jobs, now=NOW)
            except Exception:  # noqa: BLE001 - whatever a driver makes of it
                pass
            else:
                stored += len(jobs)
            assert storage.counts(now=NOW).queued == stored
        storage.enqueue([a_job(30, priority=0)], now=NOW)
        assert claim_ids(storage, 1) == [30]
