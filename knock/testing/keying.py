"""What a storage must do with the keys of jobs."""
# ruff: noqa: S101, D102, PLR2004 - these are tests: their names say what they state

from knock.core.job import JobState
from knock.storage.base import Storage
from knock.testing.build import NOW, a_job, claim_one, record, retry, settlement


def add_again(storage: Storage) -> int:
    """Add a job that has the key ``"k"`` too; return the id that the storage tells."""
    [job_id] = storage.enqueue([a_job(999, key="k")], now=NOW)
    return job_id


class KeyContract:
    """``enqueue`` of jobs with a ``key``."""

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

    def test_a_key_holds_for_all_types(self, storage: Storage) -> None:
        storage.enqueue([a_job(1, key="k")], now=NOW)
        assert storage.enqueue([a_job(2, key="k", type="other")], now=NOW) == [1]

    def test_keys_that_differ_in_the_least_are_different(self, storage: Storage) -> None:
        keys = ["k", "K", "k ", " k", "1", "01", "\N{LATIN SMALL LETTER E WITH ACUTE}", "e\u0301"]
        jobs = [a_job(i, key=key) for i, key in enumerate(keys, 1)]
        assert storage.enqueue(jobs, now=NOW) == list(range(1, len(keys) + 1))

    def test_a_job_that_is_released_or_retried_keeps_its_key(self, storage: Storage) -> None:
        storage.enqueue([a_job(1, key="k")], now=NOW)
        storage.settle([settlement(claim_one(storage), JobState.QUEUED)], now=NOW)
        assert add_again(storage) == 1
        storage.settle([retry(claim_one(storage), NOW)], now=NOW)
        assert add_again(storage) == 1
        claim_one(storage)
        assert add_again(storage) == 1

    def test_a_job_that_dies_and_is_requeued_keeps_its_key(self, storage: Storage) -> None:
        storage.enqueue([a_job(1, key="k")], now=NOW)
        storage.settle([settlement(claim_one(storage), JobState.DEAD)], now=NOW)
        assert add_again(storage) == 1
        storage.requeue([1], now=NOW)
        assert add_again(storage) == 1

    def test_a_cancelled_job_keeps_its_key(self, storage: Storage) -> None:
        storage.enqueue([a_job(1, key="k")], now=NOW)
        storage.cancel([1], now=NOW)
        assert add_again(storage) == 1

    def test_an_expired_job_keeps_its_key(self, storage: Storage) -> None:
        storage.enqueue([a_job(1, key="k", expires_at=NOW)], now=NOW)
        storage.claim(1, now=NOW)
        assert add_again(storage) == 1

    def test_a_reclaimed_job_keeps_its_key(self, storage: Storage) -> None:
        storage.enqueue([a_job(1, key="k")], now=NOW)
        storage.claim(1, now=NOW, supervisor="gone")
        storage.reclaim(now=NOW, lease_seconds=0.0)
        assert add_again(storage) == 1

    def test_a_repeated_call_gives_no_second_key(self, storage: Storage) -> None:
        storage.enqueue([a_job(1, key="k")], now=NOW)
        assert storage.enqueue([a_job(1, key="other")], now=NOW) == [1]
        assert record(storage, 1).spec.key == "k"
        assert storage.enqueue([a_job(2, key="other")], now=NOW) == [2]
        assert add_again(storage) == 1

    def test_a_repeated_call_takes_no_key_away(self, storage: Storage) -> None:
        storage.enqueue([a_job(1, key="k"), a_job(2, key="other")], now=NOW)
        assert storage.enqueue([a_job(2, key="k")], now=NOW) == [1]
        assert storage.enqueue([a_job(3, key="other")], now=NOW) == [2]
        assert add_again(storage) == 1

    def test_a_purge_of_one_job_frees_no_other_key(self, storage: Storage) -> None:
        storage.enqueue([a_job(1, key="k"), a_job(2, key="other")], now=NOW)
        storage.cancel([1, 2], now=NOW)
        storage.purge([2])
        assert add_again(storage) == 1
        assert storage.enqueue([a_job(3, key="other")], now=NOW) == [3]
