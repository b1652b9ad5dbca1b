"""What a storage must give back just as it was given."""
# ruff: noqa: S101, D102 - these are tests: their names say what they state

from dataclasses import replace
from itertools import product

from knock.core.job import (
    UNSET,
    Attempt,
    AttemptOutcome,
    Death,
    JobError,
    JobOptions,
    JobState,
    Output,
    Spent,
    Unset,
    Usage,
)
from knock.storage.base import Storage
from knock.testing.build import (
    NOW,
    a_full_job,
    a_job,
    claim_ids,
    claim_one,
    record,
    retry,
    settlement,
)

# As two storages may cut them: at 48 bits, where floats end, and at 63 bits. The second is about
# what jobs that were added by jobs get.
LARGE_IDS = [1, 1_800_000_000_000_000, 2**48 + 1, 2**53 + 1, 2**53 + 2, 2**62, 2**62 + 1]
LARGE = bytes(range(256)) * 4096


class KeepContract:
    """Payloads, results, ids, options, budgets and attempts."""

    def test_large_payloads_and_results_are_kept_whole(self, storage: Storage) -> None:
        storage.enqueue([a_job(payload=LARGE)], now=NOW)
        claim = claim_one(storage)
        assert claim.job.payload == LARGE
        storage.settle([settlement(claim, result=LARGE[::-1])], now=NOW)
        found = record(storage)
        assert found.spec.payload == LARGE
        assert found.result == LARGE[::-1]

    def test_an_empty_payload_or_result_is_not_none(self, storage: Storage) -> None:
        storage.enqueue([a_job(payload=b"")], now=NOW)
        claim = claim_one(storage)
        assert claim.job.payload == b""
        storage.settle([settlement(claim, result=b"")], now=NOW)
        found = record(storage)
        assert (found.spec.payload, found.result) == (b"", b"")

    def test_a_success_without_a_result_has_none(self, storage: Storage) -> None:
        storage.enqueue([a_job()], now=NOW)
        storage.settle([settlement(claim_one(storage), result=None)], now=NOW)
        assert record(storage).result is None

    def test_large_ids_are_kept_apart_and_in_order(self, storage: Storage) -> None:
        jobs = [a_job(job_id) for job_id in reversed(LARGE_IDS)]
        assert storage.enqueue(jobs, now=NOW) == LARGE_IDS[::-1]
        assert [record(storage, job_id).spec for job_id in LARGE_IDS[::-1]] == jobs
        assert claim_ids(storage) == sorted(LARGE_IDS)

    def test_jobs_are_found_by_large_ids(self, storage: Storage) -> None:
        ids = sorted(LARGE_IDS)
        storage.enqueue([a_job(job_id) for job_id in ids], now=NOW)
        dead = [settlement(claim, JobState.DEAD) for claim in storage.claim(9, now=NOW).jobs]
        assert storage.settle(dead, now=NOW) == []
        assert sorted(storage.requeue(ids, now=NOW)) == ids
        assert sorted(storage.cancel(ids, now=NOW)) == ids
        assert storage.purge(ids[1:]) == len(ids) - 1
        assert record(storage, ids[0]).state is JobState.CANCELLED

    def test_options_are_kept_exactly(self, storage: Storage) -> None:
        timeouts: list[float | Unset | None] = [UNSET, None, 0.1, 30.0, 86400.5]
        counts: list[int | Unset] = [UNSET, 0, 7]
        chosen = [
            JobOptions(timeout=timeout, retry_attempts=count)
            for timeout, count in product(timeouts, counts)
        ]
        jobs = [a_job(i, options=options) for i, options in enumerate(chosen, 1)]
        storage.enqueue(jobs, now=NOW)
        assert [record(storage, job.id).spec for job in jobs] == jobs
        assert [claim.job.options for claim in storage.claim(99, now=NOW).jobs] == chosen

    def test_a_released_job_is_the_job_that_it_was(self, storage: Storage) -> None:
        storage.enqueue([a_full_job()], now=NOW)
        storage.settle([settlement(claim_one(storage), JobState.QUEUED)], now=NOW + 1.0)
        assert record(storage).spec == a_full_job()
        assert claim_one(storage).job == a_full_job()

    def test_a_retried_job_differs_by_its_moment_only(self, storage: Storage) -> None:
        storage.enqueue([a_full_job()], now=NOW)
        storage.settle([retry(claim_one(storage), NOW + 5.0)], now=NOW + 1.0)
        expected = replace(a_full_job(), run_at=NOW + 5.0)
        assert record(storage).spec == expected
        assert claim_one(storage, now=NOW + 5.0).job == expected

    def test_a_requeued_job_differs_by_its_moment_and_expiry_only(self, storage: Storage) -> None:
        storage.enqueue([a_full_job()], now=NOW)
        storage.settle([settlement(claim_one(storage), JobState.DEAD)], now=NOW)
        storage.requeue([1], now=NOW + 5.0)
        expected = replace(a_full_job(), run_at=NOW + 5.0, expires_at=None, deadline=None)
        assert record(storage).spec == expected
        assert claim_one(storage, now=NOW + 5.0).job == expected

    def test_a_reclaimed_job_is_the_job_that_it_was(self, storage: Storage) -> None:
        storage.enqueue([a_full_job()], now=NOW)
        storage.claim(1, now=NOW, supervisor="gone")
        [claim] = storage.reclaim(now=NOW + 9.0, lease_seconds=5.0)
        assert claim.job == record(storage).spec == a_full_job()

    def test_each_budget_is_kept_by_claims_releases_and_reclaims(self, storage: Storage) -> None:
        spent = Spent(failures=1, crashes=2, out_of_memory=3, lost=4)
        storage.enqueue([a_job()], now=NOW)
        storage.settle([replace(retry(claim_one(storage), NOW), spent=spent)], now=NOW)
        assert record(storage).spent == spent
        claim = claim_one(storage)
        assert (claim.spent, claim.attempt) == (spent, 11)
        storage.settle([settlement(claim, JobState.QUEUED, spent=None)], now=NOW)
        assert claim_one(storage).spent == spent
        [reclaimed] = storage.reclaim(now=NOW, lease_seconds=0.0)
        assert reclaimed.spent == record(storage).spent == spent

    def test_every_part_of_an_attempt_is_kept(self, storage: Storage) -> None:
        error = JobError(
            type_name="ValueError",
            message="größe \0 \N{SNOWMAN}",
            traceback="line\n" * 20_000,
            pickled=LARGE[:100_000],
        )
        death = Death(
            exit_code=None,
            signal=9,
            cause="killed by signal 9",
            stderr="Fatal Python error\n",
            pid=4321,
            peak_rss_bytes=3 << 32,
            cpu_seconds=0.125,
            out_of_memory=True,
            is_infrastructure=True,
        )
        usage = Usage(NOW + 0.000001, 1e-9, 12345.678901, 3 << 32, 1, False, 65535, 2)
        crashed = Attempt(1, AttemptOutcome.OUT_OF_MEMORY, usage, 0.1, None, error, death)
        crashed.output = Output("größe \0\n" * 1000, "\N{REPLACEMENT CHARACTER}")
        crashed.log = ("WARNING shop: größe \0", "the last line")
        bare = Attempt(2, AttemptOutcome.CRASH, usage, 0.0, 4321, None, Death(exit_code=0))
        storage.enqueue([a_job()], now=NOW)
        storage.settle([replace(retry(claim_one(storage), NOW), attempt=crashed)], now=NOW)
        storage.settle([settlement(claim_one(storage), JobState.DEAD, attempt=bare)], now=NOW)
        assert record(storage).attempts == (crashed, bare)

    def test_every_outcome_of_an_attempt_is_kept(self, storage: Storage) -> None:
        storage.enqueue([a_job()], now=NOW)
        for outcome in AttemptOutcome:
            again = retry(claim_one(storage), NOW)
            assert again.attempt is not None
            attempt = replace(again.attempt, outcome=outcome)
            storage.settle([replace(again, attempt=attempt)], now=NOW)
        found = record(storage).attempts
        assert [attempt.outcome for attempt in found] == list(AttemptOutcome)
