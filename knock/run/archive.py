"""Where the jobs of a batch are kept: for the batch alone, or in a storage of the user's.

Rule 1: a key belongs to a function, by its full name, so that none is given another's results.
Rule 2: what has completed is not run again; anything else under the key gives way to a new job.
Rule 3: when a batch has ended, nothing of it waits or runs in the user's storage.
"""

import sys
from collections.abc import Callable, Iterable
from typing import Any

from knock.core.job import JobRecord, JobState, Settlement
from knock.errors import ConfigError
from knock.pool.clock import Clock
from knock.storage.base import Storage
from knock.storage.memory import InMemoryStorage
from knock.supervisor.desk import FIRST_ID_OF_JOBS
from knock.supervisor.start import take_back
from knock.text import counted

# It should return a string, which is checked.
KeyFunction = Callable[[Any], object]

_FINAL = (JobState.COMPLETED, JobState.DEAD, JobState.CANCELLED)
_LEFT = "the batch ended before it"


class Archive:
    """The jobs of one batch. ``first_id`` is the id of the item with index 0.

    Raises:
        ConfigError: In the user's storage other jobs wait or run, which the batch would disturb.
    """

    def __init__(self, storage: Storage | None, clock: Clock) -> None:
        self.is_private = storage is None
        self.storage: Storage = InMemoryStorage() if storage is None else storage
        self.first_id = 1
        self._clock = clock
        if storage is not None:
            _check_idle(storage, clock.now())
            self.first_id = _next_id(storage)

    @property
    def retention(self) -> float | None:
        """How long the supervisor keeps what has finished; see ``SupervisorOptions``."""
        return 0 if self.is_private else None

    def settle_up(self, returned: bytes | None) -> None:
        """Leave the user's storage in order; ``returned`` is what came back from a process."""
        if self.is_private:
            return
        take_back(self.storage, returned)
        now = self._clock.now()
        left = [
            Settlement(claim.job.id, claim.token, JobState.CANCELLED, reason=_LEFT)
            for claim in self.storage.reclaim(now=now, lease_seconds=0.0)
        ]
        self.storage.settle(left, now=now)
        waiting = self.storage.find(state=JobState.QUEUED, limit=sys.maxsize)
        self.storage.cancel([record.spec.id for record in waiting], now=now)


class Keys:
    """What the user's storage knew of each key when the batch began.

    ``owner`` is the full name of the function whose keys they are.
    """

    def __init__(self, storage: Storage, owner: str, key: KeyFunction) -> None:
        self._owner = owner
        self._key = key
        self._known: dict[str, JobRecord] = {}
        for record in _all_of(storage, _FINAL):
            if record.spec.key is not None:
                self._known[record.spec.key] = record
        self._first: dict[str, int] = {}

    def key_of(self, item: object, index: int) -> str:
        """Return the key that an item's job is stored under.

        Raises:
            ConfigError: What the user's function returned is no key.
        """
        key = self._key(item)
        if not isinstance(key, str) or not key:
            what = f"a string with something in it, not {key!r}, as it did for item {index}"
            raise ConfigError(f"key must return {what}")
        return f"{self._owner}:{key}"

    def known(self, key: str) -> JobRecord | None:
        """Return what an earlier batch made of the key."""
        return self._known.get(key)

    def first(self, key: str, index: int) -> int:
        """Return the index of the first item of this batch with the key: maybe this one."""
        return self._first.setdefault(key, index)

    def forget(self, key: str) -> None:
        """Let the next item with the key be the first: this one has no job."""
        del self._first[key]


def _check_idle(storage: Storage, now: float) -> None:
    counts = storage.counts(now=now)
    unfinished = counts.queued + counts.processing
    if unfinished:
        raise ConfigError(
            f"the storage holds {counted(unfinished, 'unfinished job')} of something else, "
            "which a batch would disturb: give it a storage without"
        )


def _next_id(storage: Storage) -> int:
    ids = (record.spec.id for record in _all_of(storage, _FINAL))
    return 1 + max((job_id for job_id in ids if job_id < FIRST_ID_OF_JOBS), default=0)


def _all_of(storage: Storage, states: Iterable[JobState]) -> Iterable[JobRecord]:
    for state in states:
        yield from storage.find(state=state, limit=sys.maxsize)
