"""What a storage must do about supervisors that are gone, and when it is closed."""
# ruff: noqa: S101, D102, PLR2004 - these are tests: their names say what they state

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial

from knock.core.job import JobState
from knock.errors import StorageError
from knock.storage.base import Storage
from knock.testing.build import NOW, a_job, claim_ids, settlement


class LeaseContract:
    """``heartbeat``, ``reclaim`` and ``close``."""

    def test_jobs_of_a_silent_supervisor_are_reclaimed_under_a_new_token(
        self, storage: Storage
    ) -> None:
        storage.enqueue([a_job()], now=NOW)
        [old] = storage.claim(1, now=NOW, supervisor="gone").jobs
        assert storage.reclaim(now=NOW + 9.0, lease_seconds=10.0) == []
        [claim] = storage.reclaim(now=NOW + 10.0, lease_seconds=10.0)
        assert claim.job == old.job
        assert claim.token > old.token
        assert storage.settle([settlement(old)], now=NOW + 11.0) == [1]
        assert storage.settle([settlement(claim, JobState.QUEUED)], now=NOW + 11.0) == []
        assert claim_ids(storage, now=NOW + 11.0) == [1]

    def test_a_heartbeat_prolongs_the_hold_of_its_supervisor_only(self, storage: Storage) -> None:
        storage.enqueue([a_job(1), a_job(2)], now=NOW)
        storage.claim(1, now=NOW, supervisor="alive")
        storage.claim(1, now=NOW, supervisor="gone")
        storage.heartbeat("alive", now=NOW + 8.0)
        reclaimed = storage.reclaim(now=NOW + 12.0, lease_seconds=10.0)
        assert [claim.job.id for claim in reclaimed] == [2]

    def test_a_job_claimed_after_the_last_heartbeat_is_held_from_its_claim(
        self, storage: Storage
    ) -> None:
        storage.enqueue([a_job()], now=NOW)
        storage.heartbeat("s", now=NOW)
        storage.claim(1, now=NOW + 8.0, supervisor="s")
        assert storage.reclaim(now=NOW + 12.0, lease_seconds=10.0) == []

    def test_a_reclaimed_job_is_not_reclaimed_again_at_once(self, storage: Storage) -> None:
        storage.enqueue([a_job()], now=NOW)
        storage.claim(1, now=NOW, supervisor="gone")
        assert len(storage.reclaim(now=NOW + 20.0, lease_seconds=10.0)) == 1
        assert storage.reclaim(now=NOW + 20.0, lease_seconds=10.0) == []
        assert len(storage.reclaim(now=NOW + 30.0, lease_seconds=10.0)) == 1

    def test_what_is_not_processing_is_not_reclaimed(self, storage: Storage) -> None:
        storage.enqueue([a_job(1), a_job(2)], now=NOW)
        [claim] = storage.claim(1, now=NOW, supervisor="gone").jobs
        storage.settle([settlement(claim)], now=NOW)
        assert storage.reclaim(now=NOW + 99.0, lease_seconds=10.0) == []

    def test_all_that_silent_supervisors_had_is_reclaimed(self, storage: Storage) -> None:
        storage.enqueue([a_job(i) for i in range(1, 301)], now=NOW)
        for supervisor in ("alive", "gone", "lost"):
            storage.claim(100, now=NOW, supervisor=supervisor)
        storage.heartbeat("alive", now=NOW + 8.0)
        reclaimed = storage.reclaim(now=NOW + 12.0, lease_seconds=10.0)
        assert sorted(claim.job.id for claim in reclaimed) == list(range(101, 301))

    def test_a_lease_of_no_length_ends_at_once(self, storage: Storage) -> None:
        storage.enqueue([a_job(1), a_job(2)], now=NOW)
        storage.claim(2, now=NOW, supervisor="s")
        storage.heartbeat("s", now=NOW)
        assert len(storage.reclaim(now=NOW, lease_seconds=0.0)) == 2

    def test_a_supervisor_that_comes_back_does_not_hold_what_was_reclaimed(
        self, storage: Storage
    ) -> None:
        storage.enqueue([a_job()], now=NOW)
        storage.claim(1, now=NOW, supervisor="back")
        assert len(storage.reclaim(now=NOW + 10.0, lease_seconds=10.0)) == 1
        storage.heartbeat("back", now=NOW + 15.0)
        assert len(storage.reclaim(now=NOW + 20.0, lease_seconds=10.0)) == 1

    def test_a_reclaimed_job_is_not_handed_out(self, storage: Storage) -> None:
        storage.enqueue([a_job()], now=NOW)
        storage.claim(1, now=NOW, supervisor="gone")
        storage.reclaim(now=NOW + 10.0, lease_seconds=10.0)
        assert claim_ids(storage, now=NOW + 10.0) == []

    def test_one_thread_after_another_may_call(self, storage: Storage) -> None:
        storage.enqueue([a_job(1), a_job(2)], now=NOW)
        with ThreadPoolExecutor(1) as first, ThreadPoolExecutor(1) as second:
            assert first.submit(claim_ids, storage, 1).result() == [1]
            assert second.submit(claim_ids, storage).result() == [2]
        assert storage.counts(now=NOW).processing == 2

    def test_a_closed_storage_refuses_everything_but_close(self, storage: Storage) -> None:
        storage.close()
        storage.close()
        calls: list[Callable[[], object]] = [
            partial(storage.enqueue, [a_job()], now=NOW),
            partial(storage.claim, 1, now=NOW),
            partial(storage.settle, [], now=NOW),
            partial(storage.cancel, [1], now=NOW),
            partial(storage.requeue, [1], now=NOW),
            partial(storage.get, [1]),
            partial(storage.find, state=JobState.DEAD),
            partial(storage.counts, now=NOW),
            partial(storage.purge),
            partial(storage.heartbeat, "s", now=NOW),
            partial(storage.reclaim, now=NOW, lease_seconds=1.0),
        ]
        for call in calls:
            try:
                call()
            except StorageError:
                continue
            raise AssertionError(f"{call} worked on a closed storage")
