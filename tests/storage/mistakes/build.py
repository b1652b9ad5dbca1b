"""Wrong storages made of the right one, by what they change on its way in or out."""

from dataclasses import replace

from knock.core.job import JobState
from knock.storage.memory import InMemoryStorage


def changing_jobs(change):
    """Return a storage that stores other jobs than it is given."""

    class Wrong(InMemoryStorage):
        def enqueue(self, jobs, *, now):
            return super().enqueue([change(job) for job in jobs], now=now)

    return Wrong


def changing_settlements(change):
    """Return a storage that applies other settlements than it is given."""

    class Wrong(InMemoryStorage):
        def settle(self, settlements, *, now):
            return super().settle([change(one, now) for one in settlements], now=now)

    return Wrong


def changing_records(change):
    """Return a storage that tells of other jobs than it has."""

    class Wrong(InMemoryStorage):
        def get(self, job_ids):
            return [found and change(found) for found in super().get(job_ids)]

    return Wrong


def changing_attempts(**changes):
    """Return a storage that does not tell attempts as they were."""

    def change(record):
        attempts = tuple(replace(attempt, **changes) for attempt in record.attempts)
        return replace(record, attempts=attempts)

    return changing_records(change)


def changing_claims(change):
    """Return a storage that hands out other claims than it should; ``change`` alters them."""

    class Wrong(InMemoryStorage):
        def claim(self, limit, **options):
            claimed = super().claim(limit, **options)
            change(claimed, limit)
            return claimed

    return Wrong


def changing_reclaims(change):
    """Return a storage that takes over other claims than it should."""

    class Wrong(InMemoryStorage):
        def reclaim(self, *, now, lease_seconds):
            return change(super().reclaim(now=now, lease_seconds=lease_seconds))

    return Wrong


def changing_counts(count):
    """Return a storage that counts wrongly."""

    class Wrong(InMemoryStorage):
        def counts(self, *, now):
            return replace(super().counts(now=now), **count(self, now))

    return Wrong


def spoiling_what(method, spoil):
    """Return a storage where ``spoil(storage, ids)`` follows that method's ids."""

    def wrong(self, job_ids, *, now):
        ids = getattr(InMemoryStorage, method)(self, job_ids, now=now)
        spoil(self, ids)
        return ids

    return type("Wrong", (InMemoryStorage,), {method: wrong})


def spoiling_what_waits_again(is_spoilt, spoil):
    """Return a storage where ``spoil(storage, ids)`` follows the settlements that put jobs back."""

    class Wrong(InMemoryStorage):
        def settle(self, settlements, *, now):
            stale = super().settle(settlements, now=now)
            back = [one.job_id for one in settlements if is_waiting(one) and is_spoilt(one)]
            spoil(self, back)
            return stale

    return Wrong


def is_waiting(settlement):
    return settlement.state is JobState.QUEUED


def is_release(settlement):
    return is_waiting(settlement) and settlement.attempt is None


def is_retry(settlement):
    return is_waiting(settlement) and settlement.attempt is not None


def free_keys(storage, ids):
    """Forget the keys of these jobs."""
    storage._keys = {key: known for key, known in storage._keys.items() if known not in ids}


def change_specs(**changes):
    """Return what alters the specs of queued jobs."""

    def change(storage, ids):
        for job_id in ids:
            entry = storage._queued.get(job_id)
            if entry is not None:
                entry.spec = replace(entry.spec, **changes)

    return change
