"""What a storage must do when it hands jobs out."""
# ruff: noqa: S101, D102, PLR2004 - these are tests: their names say what they state

from knock.core.job import JobState
from knock.storage.base import Storage
from knock.testing.build import NOW, a_job, claim_ids, record, settlement


class ClaimContract:
    """``claim``: order, limits, places and delays."""

    def test_claims_go_by_priority_then_due_time_then_id(self, storage: Storage) -> None:
        jobs = [
            a_job(1, priority=2),
            a_job(2, priority=1),
            a_job(3, priority=1, run_at=NOW - 5.0),
            a_job(4, priority=0),
            a_job(6, priority=1, type="other"),
            a_job(5, priority=1),
        ]
        storage.enqueue(jobs, now=NOW)
        assert claim_ids(storage) == [4, 3, 2, 5, 6, 1]

    def test_a_more_urgent_newcomer_goes_first(self, storage: Storage) -> None:
        storage.enqueue([a_job(1), a_job(2)], now=NOW)
        assert claim_ids(storage, 1) == [1]
        storage.enqueue([a_job(3, priority=0)], now=NOW)
        assert claim_ids(storage) == [3, 2]

    def test_a_claim_takes_no_more_than_its_limit(self, storage: Storage) -> None:
        storage.enqueue([a_job(i) for i in range(1, 6)], now=NOW)
        first = storage.claim(3, now=NOW)
        assert [claim.job.id for claim in first.jobs] == [1, 2, 3]
        assert first.has_more
        second = storage.claim(2, now=NOW)
        assert len(second.jobs) == 2
        assert not second.has_more

    def test_a_claim_of_none_tells_that_there_are_some(self, storage: Storage) -> None:
        storage.enqueue([a_job()], now=NOW)
        claimed = storage.claim(0, now=NOW)
        assert claimed.jobs == []
        assert claimed.has_more

    def test_many_jobs_are_each_handed_out_once_in_order(self, storage: Storage) -> None:
        mixed = [i * 7919 % 1009 for i in range(1, 1001)]
        storage.enqueue([a_job(i, priority=i % 3) for i in mixed], now=NOW)
        seen: list[int] = []
        while batch := claim_ids(storage, 70):
            seen += batch
        assert seen == sorted(mixed, key=lambda job_id: (job_id % 3, job_id))

    def test_a_large_claim_takes_all_that_it_may(self, storage: Storage) -> None:
        storage.enqueue([a_job(i) for i in range(1, 1201)], now=NOW)
        assert claim_ids(storage, 1100) == list(range(1, 1101))
        assert claim_ids(storage, 1100) == list(range(1101, 1201))

    def test_a_claimed_job_is_processing_and_not_handed_out_again(self, storage: Storage) -> None:
        storage.enqueue([a_job()], now=NOW)
        assert claim_ids(storage) == [1]
        assert record(storage).state is JobState.PROCESSING
        assert claim_ids(storage) == []

    def test_a_job_that_one_supervisor_has_goes_to_no_other(self, storage: Storage) -> None:
        storage.enqueue([a_job(1), a_job(2), a_job(3)], now=NOW)
        assert claim_ids(storage, 2, supervisor="a") == [1, 2]
        assert claim_ids(storage, supervisor="b") == [3]
        assert claim_ids(storage, supervisor="b", now=NOW + 1e6) == []

    def test_each_claim_raises_the_token(self, storage: Storage) -> None:
        storage.enqueue([a_job()], now=NOW)
        tokens = []
        for _ in range(3):
            [claim] = storage.claim(1, now=NOW).jobs
            tokens.append(claim.token)
            storage.settle([settlement(claim, JobState.QUEUED)], now=NOW)
        assert tokens == sorted(set(tokens))

    def test_a_delayed_job_is_handed_out_at_its_moment_and_not_before(
        self, storage: Storage
    ) -> None:
        storage.enqueue([a_job(1, run_at=NOW + 10.0), a_job(2, run_at=NOW + 20.0)], now=NOW)
        early = storage.claim(10, now=NOW + 9.999)
        assert early.jobs == []
        assert not early.has_more
        assert early.next_at == NOW + 10.0
        due = storage.claim(10, now=NOW + 10.0)
        assert [claim.job.id for claim in due.jobs] == [1]
        assert due.next_at == NOW + 20.0

    def test_a_delayed_job_takes_its_place_by_when_it_was_due(self, storage: Storage) -> None:
        storage.enqueue([a_job(1, run_at=NOW + 10.0)], now=NOW)
        storage.enqueue([a_job(2, run_at=NOW + 12.0)], now=NOW + 12.0)
        assert claim_ids(storage, now=NOW + 15.0) == [1, 2]

    def test_nothing_to_wait_for_is_none(self, storage: Storage) -> None:
        storage.enqueue([a_job(1), a_job(2)], now=NOW)
        assert storage.claim(1, now=NOW).next_at is None

    def test_of_a_type_no_more_than_its_places_are_handed_out(self, storage: Storage) -> None:
        storage.enqueue([a_job(i, type="ab"[i % 2]) for i in range(1, 9)], now=NOW)
        claimed = storage.claim(10, now=NOW, places={"a": 1, "b": 2})
        assert [claim.job.id for claim in claimed.jobs] == [1, 2, 3]
        assert claimed.has_more
        assert claim_ids(storage, places={"a": 0, "b": 0}) == []
        assert claim_ids(storage, 3, places={"a": 5}) == [4, 5, 6]

    def test_places_bound_a_claim_and_not_what_is_processing(self, storage: Storage) -> None:
        storage.enqueue([a_job(i) for i in range(1, 6)], now=NOW)
        assert claim_ids(storage, places={"resize": 2}) == [1, 2]
        assert claim_ids(storage, places={"resize": 2}) == [3, 4]

    def test_a_held_type_does_not_stand_in_the_way_of_others(self, storage: Storage) -> None:
        storage.enqueue([a_job(i, type="held", priority=0) for i in range(1, 100)], now=NOW)
        storage.enqueue([a_job(100, type="free", priority=2)], now=NOW)
        assert claim_ids(storage, places={"held": 0}) == [100]
        assert claim_ids(storage, 2, places={"held": 1}) == [1]
        assert claim_ids(storage, 2) == [2, 3]

    def test_places_are_shared_by_the_priorities_of_a_type(self, storage: Storage) -> None:
        storage.enqueue([a_job(1, priority=2), a_job(2, priority=0), a_job(3)], now=NOW)
        assert claim_ids(storage, places={"resize": 2}) == [2, 3]

    def test_jobs_added_to_a_held_type_wait_too(self, storage: Storage) -> None:
        storage.enqueue([a_job(1)], now=NOW)
        assert claim_ids(storage, places={"resize": 0}) == []
        storage.enqueue([a_job(2, priority=0), a_job(3)], now=NOW)
        assert claim_ids(storage, places={"resize": 0}) == []
        assert claim_ids(storage, places={"resize": 9}) == [2, 1, 3]
