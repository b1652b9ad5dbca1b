"""Storages that hand out wrongly, by their mistake."""

from dataclasses import replace

from knock.core.job import Claim
from knock.storage.memory import InMemoryStorage
from tests.storage.mistakes.build import (
    changing_claims,
    changing_settlements,
    is_release,
    is_retry,
    spoiling_what_waits_again,
)

MANY = 50


class HandsOutTwice(InMemoryStorage):
    def claim(self, limit, *, supervisor="", **options):
        claimed = super().claim(limit, supervisor=supervisor, **options)
        others = [e for e in self._processing.values() if e.supervisor != supervisor]
        if not claimed.jobs:
            claimed.jobs = [Claim(e.spec, e.token, e.spent) for e in others[:limit]]
        return claimed


class PlacesBoundProcessing(InMemoryStorage):
    def claim(self, limit, *, places=None, **options):
        types = [entry.spec.type for entry in self._processing.values()]
        left = {name: max(0, most - types.count(name)) for name, most in (places or {}).items()}
        return super().claim(limit, places=left, **options)


class ClaimsAHundred(InMemoryStorage):
    def claim(self, limit, **options):
        return super().claim(min(limit, 100), **options)


class ExpiresAHundred(InMemoryStorage):
    def _expire(self, now):
        return super()._expire(now)[:100]


def reverse_many(claimed, limit):
    if len(claimed.jobs) > MANY:
        claimed.jobs.reverse()


def order_by_id(claimed, limit):
    claimed.jobs.sort(key=lambda claim: (claim.job.priority, claim.job.id))


def cap_expired(claimed, limit):
    claimed.expired = claimed.expired[: max(limit, 1)]


def forget_attempts_of_expired(claimed, limit):
    claimed.expired = [replace(record, attempts=()) for record in claimed.expired]


def forget_expiry(storage, ids):
    for job_id in ids:
        entry = storage._queued.get(job_id)
        if entry is not None and entry.spec.expires_at is not None:
            storage._expiries._items = [i for i in storage._expiries._items if i[3] is not entry]


def no_retry_in_the_past(settlement, now):
    if is_retry(settlement):
        return replace(settlement, run_at=max(settlement.run_at, now))
    return settlement


MISTAKES = {
    "a job that is processing goes to a second supervisor": HandsOutTwice,
    "many jobs are handed out last first": changing_claims(reverse_many),
    "jobs are handed out by id": changing_claims(order_by_id),
    "places bound what is processing": PlacesBoundProcessing,
    "a claim takes a hundred jobs at most": ClaimsAHundred,
    "a hundred expired jobs are told at most": ExpiresAHundred,
    "no more expired jobs are told than the limit": changing_claims(cap_expired),
    "expired jobs are told without their attempts": changing_claims(forget_attempts_of_expired),
    "a retried job does not expire": spoiling_what_waits_again(is_retry, forget_expiry),
    "a released job does not expire": spoiling_what_waits_again(is_release, forget_expiry),
    "a retry in the past is due now": changing_settlements(no_retry_in_the_past),
}
