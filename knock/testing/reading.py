"""What a storage must tell of its jobs, and what it may delete."""
# ruff: noqa: S101, D102, PLR2004 - these are tests: their names say what they state

from knock.core.job import JobState
from knock.storage.base import Counts, Storage
from knock.testing.build import NOW, a_job, finish, settlement


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
