"""How far ahead of the workers the input of a batch is pulled."""

from collections.abc import Sequence

from knock.core.job import JobRecord

# Pulled and not yet given to the consumer, at most.
MAX_WAITING = 4096
_MIN_WAITING = 16
_MIN_WAITING_PER_WORKER = 4
# The workers are given so many seconds of work, by the rate at which jobs were finished and taken.
_SECONDS_AHEAD = 0.05
_MEASURED_SECONDS = 0.002
# What waits may weigh, pickled, where that is more than the least number of jobs.
_MAX_BYTES = 64 << 20
# So many of the jobs that have finished are weighed each time.
_SAMPLE = 16


class Window:
    """How many jobs may wait: few, and more only for as long as they are soon done and taken.

    A slow consumer, a slow input and long jobs keep it small. ``now`` is in seconds of any clock.
    """

    def __init__(self, workers: int, now: float) -> None:
        self._least = max(_MIN_WAITING, _MIN_WAITING_PER_WORKER * workers)
        self._most = MAX_WAITING
        self._taken = 0
        self._since = now
        self.limit = self._least

    def room(self, waiting: int) -> int:
        """Return how many more to pull now: none until a quarter is free, so as to send many."""
        room = self.limit - waiting
        return room if room >= self.limit // 4 else 0

    def took(self, records: Sequence[JobRecord], now: float) -> None:
        """Learn from jobs that have finished: how quick they are, and how heavy."""
        self._taken += len(records)
        seconds = now - self._since
        if seconds < _MEASURED_SECONDS:
            return
        sample = records[-_SAMPLE:]
        weight = sum(len(r.spec.payload) + len(r.result or b"") for r in sample)
        if weight:
            self._most = min(MAX_WAITING, _MAX_BYTES * len(sample) // weight)
        wanted = int(self._taken / seconds * _SECONDS_AHEAD)
        self.limit = max(self._least, min(self._most, wanted))
        self._taken = 0
        self._since = now
