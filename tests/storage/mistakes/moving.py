"""Storages that find, count or move the wrong jobs, by their mistake."""

import threading
from dataclasses import replace

from knock.core.job import JobState
from knock.errors import StorageError
from knock.storage.memory import InMemoryStorage
from tests.storage.mistakes.build import changing_counts, changing_reclaims


class PurgesAllForNone(InMemoryStorage):
    def purge(self, job_ids=None, **conditions):
        return super().purge(job_ids or None, **conditions)


class FindsAHundred(InMemoryStorage):
    def find(self, *, limit=100, **conditions):
        return super().find(limit=min(limit, 100), **conditions)


class FindsUpTo32Bits(InMemoryStorage):
    def find(self, *, limit=100, **conditions):
        limit.to_bytes(4)
        return super().find(limit=limit, **conditions)


class FindsWithoutAttempts(InMemoryStorage):
    def find(self, **conditions):
        return [replace(record, attempts=()) for record in super().find(**conditions)]


class TakesFewIds(InMemoryStorage):
    def get(self, job_ids):
        return super().get(job_ids[:999])


class CancelsNoRetried(InMemoryStorage):
    def cancel(self, job_ids, *, now):
        fresh = [i for i in job_ids if i not in self._queued or not self._queued[i].attempts]
        return super().cancel(fresh, now=now)


class RemembersSupervisor(InMemoryStorage):
    def reclaim(self, *, now, lease_seconds):
        owners = {job_id: entry.supervisor for job_id, entry in self._processing.items()}
        claims = super().reclaim(now=now, lease_seconds=lease_seconds)
        for claim in claims:
            self._processing[claim.job.id].supervisor = owners[claim.job.id]
        return claims


class ReclaimsLater(InMemoryStorage):
    """Takes a lease to last longer than it says."""

    def reclaim(self, *, now, lease_seconds):
        return super().reclaim(now=now, lease_seconds=lease_seconds + 1e-3)


class QueuesReclaimed(InMemoryStorage):
    """Lets a reclaimed job wait before its caller has judged it."""

    def claim(self, limit, **options):
        for entry in list(self._processing.values()):
            if not entry.supervisor and entry.token > 1:
                del self._processing[entry.spec.id]
                entry.state = JobState.QUEUED
                self._queued[entry.spec.id] = entry
                self._lineup.add(entry, self._now)
        return super().claim(limit, **options)


class KeepsToItsThread(InMemoryStorage):
    def __init__(self):
        super().__init__()
        self._thread = threading.get_ident()

    def _check_open(self):
        super()._check_open()
        if threading.get_ident() != self._thread:
            raise StorageError("made in another thread")


def delayed_without_retried(storage, now):
    entries = storage._queued.values()
    return {"delayed": sum(e.spec.run_at > now and not e.attempts for e in entries)}


def processing_without_reclaimed(storage, now):
    entries = storage._processing.values()
    return {"processing": sum(bool(e.supervisor) or e.token == 1 for e in entries)}


MISTAKES = {
    "a purge of no ids deletes all": PurgesAllForNone,
    "a hundred jobs are found at most": FindsAHundred,
    "a large limit is refused": FindsUpTo32Bits,
    "jobs are found without their attempts": FindsWithoutAttempts,
    "a get answers for 999 ids": TakesFewIds,
    "retried jobs are not cancelled": CancelsNoRetried,
    "one of several jobs is reclaimed": changing_reclaims(lambda claims: claims[:1]),
    "a reclaimed job is its old supervisor's": RemembersSupervisor,
    "a reclaimed job is handed out": QueuesReclaimed,
    "a lease lasts a little longer": ReclaimsLater,
    "retried jobs are not delayed": changing_counts(delayed_without_retried),
    "reclaimed jobs are not processing": changing_counts(processing_without_reclaimed),
    "it is for one thread only": KeepsToItsThread,
}
