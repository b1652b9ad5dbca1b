"""What a storage must tell of its jobs, and what it may delete."""
# ruff: noqa: S101, D102, PLR2004 - these are tests: their names say what they state

import sys

from knock.core.job import JobState
from knock.storage.base import Counts, Storage
from knock.testing.build import NOW, a_job, claim_one, finish, record, retry, settlement


def found_ids(storage: Storage, state: JobState, **options: object) -> list[int]:
    """Return the ids of the jobs in that state, in the order of ``find``."""
    return [found.spec.id for found in storage.find(state=state, **options)]  # type: ignore[arg-type]


class ReadContract:
    """``get``, ``find``, ``counts`` and ``purge``."""

    def test_get_keeps_the_order_and_tells_what_is_unknown(self, storage: Storage) -> None:
        storage.enqueue([a_job(1), a_job(2)], now=NOW)
        found = storage.get([2, 99, 1, 2])
        assert [None if f is None else f.spec.id for f in found] == [2, None, 1, 2]

    def test_find_goes_by_when_jobs_came_into_the_state(self, storage: Storage) -> None:
        for moment, job_id in enumerate([3, 1, 2]):
            finish(storage, JobState.DEAD, job_id, now=NOW + moment)
        assert found_ids(storage, JobState.DEAD) == [2, 1, 3]
        assert found_ids(storage, JobState.DEAD, newest_first=False) == [3, 1, 2]
        assert found_ids(storage, JobState.DEAD, limit=2) == [2, 1]
        assert found_ids(storage, JobState.DEAD, limit=0) == []
        assert found_ids(storage, JobState.COMPLETED) == []

    def test_find_returns_as_many_as_it_is_asked_for(self, storage: Storage) -> None:
        storage.enqueue([a_job(i) for i in range(1, 601)], now=NOW)
        for limit, found in ((550, 550), (5000, 600), (sys.maxsize, 600)):
            assert len(found_ids(storage, JobState.QUEUED, limit=limit)) == found
        assert len(found_ids(storage, JobState.QUEUED)) == 100

    def test_find_and_get_tell_the_same(self, storage: Storage) -> None:
        storage.enqueue([a_job(1), a_job(2)], now=NOW)
        storage.settle([retry(claim_one(storage), NOW + 5.0)], now=NOW)
        finish(storage, JobState.COMPLETED, 2)
        for job_id, state in ((1, JobState.QUEUED), (2, JobState.COMPLETED)):
            assert storage.find(state=state) == [record(storage, job_id)]

    def test_find_keeps_to_a_type(self, storage: Storage) -> None:
        storage.enqueue([a_job(i, type="ab"[i % 2]) for i in range(1, 7)], now=NOW)
        assert sorted(found_ids(storage, JobState.QUEUED, job_type="a")) == [2, 4, 6]
        assert len(found_ids(storage, JobState.QUEUED, job_type="b", limit=2)) == 2

    def test_find_knows_what_is_processing(self, storage: Storage) -> None:
        storage.enqueue([a_job(1), a_job(2)], now=NOW)
        storage.claim(1, now=NOW)
        assert found_ids(storage, JobState.PROCESSING) == [1]
        assert found_ids(storage, JobState.QUEUED) == [2]

    def test_counts_tell_how_many_are_where(self, storage: Storage) -> None:
        assert storage.counts(now=NOW) == Counts()
        finish(storage, JobState.COMPLETED, 1)
        finish(storage, JobState.DEAD, 2)
        finish(storage, JobState.CANCELLED, 3)
        storage.enqueue([a_job(4), a_job(5), a_job(6, run_at=NOW + 5.0)], now=NOW)
        storage.claim(1, now=NOW)
        assert storage.counts(now=NOW) == Counts(
            queued=2, delayed=1, processing=1, completed=1, dead=1, cancelled=1
        )
        assert storage.counts(now=NOW + 5.0).delayed == 0

    def test_jobs_that_wait_again_are_counted_as_they_wait(self, storage: Storage) -> None:
        storage.enqueue([a_job(i) for i in (1, 2, 3, 4)], now=NOW)
        due, delayed, released, dead = storage.claim(4, now=NOW).jobs
        batch = [
            retry(due, NOW),
            retry(delayed, NOW + 5.0),
            settlement(released, JobState.QUEUED),
            settlement(dead, JobState.DEAD),
        ]
        storage.settle(batch, now=NOW)
        assert storage.counts(now=NOW) == Counts(queued=3, delayed=1, dead=1)
        storage.requeue([4], now=NOW)
        assert storage.counts(now=NOW + 4.0) == Counts(queued=4, delayed=1)
        assert storage.counts(now=NOW + 5.0) == Counts(queued=4)

    def test_a_reclaimed_job_counts_as_processing(self, storage: Storage) -> None:
        storage.enqueue([a_job()], now=NOW)
        storage.claim(1, now=NOW, supervisor="gone")
        storage.reclaim(now=NOW, lease_seconds=0.0)
        assert storage.counts(now=NOW) == Counts(processing=1)
        assert found_ids(storage, JobState.PROCESSING) == [1]

    def test_a_purge_of_no_ids_deletes_nothing(self, storage: Storage) -> None:
        finish(storage, JobState.COMPLETED)
        assert storage.purge([]) == 0
        assert storage.purge([], state=JobState.COMPLETED, before=NOW + 1.0) == 0
        assert record(storage).state is JobState.COMPLETED

    def test_purge_deletes_final_jobs_only(self, storage: Storage) -> None:
        finish(storage, JobState.COMPLETED, 1)
        finish(storage, JobState.DEAD, 2)
        finish(storage, JobState.CANCELLED, 3)
        storage.enqueue([a_job(4), a_job(5)], now=NOW)
        [claim] = storage.claim(1, now=NOW).jobs
        assert storage.purge([4, 5, 99]) == 0
        assert storage.purge(state=JobState.QUEUED) == 0
        assert storage.purge(state=JobState.PROCESSING) == 0
        assert storage.purge() == 3
        assert storage.get([1, 2, 3]) == [None, None, None]
        assert storage.settle([settlement(claim)], now=NOW) == []

    def test_purge_keeps_to_every_condition(self, storage: Storage) -> None:
        for job_id in (1, 2, 3):
            finish(storage, JobState.DEAD, job_id, now=NOW + job_id)
        finish(storage, JobState.COMPLETED, 4, now=NOW + 4.0)
        assert storage.purge([1], state=JobState.COMPLETED) == 0
        assert storage.purge([1, 1, 2], before=NOW + 2.0) == 1
        assert storage.purge(before=NOW + 2.0) == 0
        assert storage.purge(job_type="other") == 0
        assert storage.purge(state=JobState.DEAD, job_type="resize", before=NOW + 3.0) == 1
        assert found_ids(storage, JobState.DEAD) == [3]
        assert found_ids(storage, JobState.COMPLETED) == [4]

    def test_an_id_is_free_again_once_purged(self, storage: Storage) -> None:
        finish(storage, JobState.CANCELLED, 1)
        storage.purge([1])
        storage.enqueue([a_job(1, payload=b"new")], now=NOW)
        [claim] = storage.claim(5, now=NOW).jobs
        assert claim.job.payload == b"new"

    def test_any_number_of_ids_may_be_named(self, storage: Storage) -> None:
        ids = list(range(1, 1002))
        storage.enqueue([a_job(i) for i in ids], now=NOW)
        dead = [settlement(claim, JobState.DEAD) for claim in storage.claim(1001, now=NOW).jobs]
        assert storage.settle(dead, now=NOW) == []
        assert sorted(storage.requeue(ids, now=NOW)) == ids
        assert sorted(storage.cancel(ids, now=NOW)) == ids
        assert [found.spec.id for found in storage.get(ids) if found] == ids
        assert storage.purge(ids) == len(ids)
