"""Storages that mistake keys or batches of new jobs, by their mistake."""

from dataclasses import replace

from knock.storage.memory import InMemoryStorage
from tests.storage.mistakes.build import (
    changing_jobs,
    free_keys,
    is_release,
    is_retry,
    spoiling_what,
    spoiling_what_waits_again,
)


class ExpiryFreesKey(InMemoryStorage):
    def _expire(self, now):
        expired = super()._expire(now)
        free_keys(self, {record.spec.id for record in expired})
        return expired


class ReclaimFreesKey(InMemoryStorage):
    def reclaim(self, *, now, lease_seconds):
        claims = super().reclaim(now=now, lease_seconds=lease_seconds)
        free_keys(self, {claim.job.id for claim in claims})
        return claims


class RepeatAddsKey(InMemoryStorage):
    def enqueue(self, jobs, *, now):
        ids = super().enqueue(jobs, now=now)
        for job in jobs:
            if job.key is not None:
                self._keys.setdefault(job.key, job.id)
        return ids


class RepeatTakesKey(InMemoryStorage):
    def enqueue(self, jobs, *, now):
        known = {job.id for job in jobs if self._find_entry(job.id)}
        ids = super().enqueue(jobs, now=now)
        self._keys |= {job.key: job.id for job in jobs if job.key is not None and job.id in known}
        return ids


class PurgeFreesAllKeys(InMemoryStorage):
    def purge(self, *args, **conditions):
        purged = super().purge(*args, **conditions)
        self._keys = {} if purged else self._keys
        return purged

    def _forget(self, members, entry):
        self._keys.setdefault(entry.spec.key, entry.spec.id)
        super()._forget(members, entry)


class StoresOneByOne(InMemoryStorage):
    """Fails in the middle of a batch as a driver does, when a value cannot be bound."""

    def enqueue(self, jobs, *, now):
        ids = super().enqueue([], now=now)
        for job in jobs:
            job.type.encode()
            job.id.to_bytes(8)
            ids += super().enqueue([job], now=now)
        return ids


class StoresOnlyBytes(InMemoryStorage):
    def enqueue(self, jobs, *, now):
        ids = super().enqueue([], now=now)
        for job in jobs:
            memoryview(job.payload)
            ids += super().enqueue([job], now=now)
        return ids


class SkipsBadJobs(InMemoryStorage):
    def enqueue(self, jobs, *, now):
        return super().enqueue([job for job in jobs if job.payload is not None], now=now)


MISTAKES = {
    "a cancel frees the key": spoiling_what("cancel", free_keys),
    "a requeue frees the key": spoiling_what("requeue", free_keys),
    "a retry frees the key": spoiling_what_waits_again(is_retry, free_keys),
    "a release frees the key": spoiling_what_waits_again(is_release, free_keys),
    "an expiry frees the key": ExpiryFreesKey,
    "a reclaim frees the key": ReclaimFreesKey,
    "a purge frees all keys": PurgeFreesAllKeys,
    "a repeat with another key adds it": RepeatAddsKey,
    "a repeat with a known key takes it": RepeatTakesKey,
    "keys ignore case": changing_jobs(lambda job: replace(job, key=job.key and job.key.lower())),
    "keys ignore space": changing_jobs(lambda job: replace(job, key=job.key and job.key.strip())),
    "half a batch is stored when a text cannot be": StoresOneByOne,
    "half a batch is stored when a payload cannot be": StoresOnlyBytes,
    "jobs that cannot be stored are left out": SkipsBadJobs,
}
