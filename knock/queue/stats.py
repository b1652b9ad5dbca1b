"""What a queue tells of itself."""

import threading
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from knock.core.breaker import BreakerState
from knock.storage.base import Counts

# Rates are of about the last minute, from samples that are at least a second apart.
RATE_SECONDS = 60.0
SAMPLE_SECONDS = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueStats:
    """A queue at one moment.

    ``queued`` (of these ``delayed`` are not due yet, and ``retrying`` wait for another attempt),
    ``processing``, ``dead`` (letters) and ``cancelled`` are jobs that are there now.
    ``completed`` and ``failed`` (jobs that ended dead) count since the queue was made.
    ``workers`` are the processes that live. The rates are per second, since an earlier call up to
    a minute ago, or since the start.
    """

    queued: int = 0
    delayed: int = 0
    retrying: int = 0
    processing: int = 0
    completed: int = 0
    failed: int = 0
    dead: int = 0
    cancelled: int = 0
    workers: int = 0
    is_paused: bool = False
    added_per_second: float = 0.0
    completed_per_second: float = 0.0
    failed_per_second: float = 0.0
    breakers: Mapping[str, BreakerState] = field(default_factory=dict)


class Totals(NamedTuple):
    """How often something has happened."""

    added: int = 0
    completed: int = 0
    failed: int = 0

    def plus(self, other: "Totals") -> "Totals":
        """Return the sums."""
        return Totals(*map(sum, zip(self, other, strict=True)))


class Rates(NamedTuple):
    """How often something happens per second."""

    added: float = 0.0
    completed: float = 0.0
    failed: float = 0.0


NO_TOTALS = Totals()
NO_RATES = Rates()


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """What a desk knows; ``totals`` since it was opened."""

    counts: Counts
    totals: Totals = NO_TOTALS
    rates: Rates = NO_RATES
    retrying: int = 0
    workers: int = 0
    breakers: Mapping[str, BreakerState] = field(default_factory=dict)

    def stats(self, before: Totals, *, is_paused: bool) -> QueueStats:
        """Return it for users, with the totals of ``before`` added."""
        counts, totals, rates = self.counts, self.totals.plus(before), self.rates
        return QueueStats(
            queued=counts.queued,
            delayed=counts.delayed,
            retrying=self.retrying,
            processing=counts.processing,
            completed=totals.completed,
            failed=totals.failed,
            dead=counts.dead,
            cancelled=counts.cancelled,
            workers=self.workers,
            is_paused=is_paused,
            added_per_second=rates.added,
            completed_per_second=rates.completed,
            failed_per_second=rates.failed,
            breakers=self.breakers,
        )


class RateMeter:
    """Turns totals that are read now and then into rates. May be used from any thread."""

    def __init__(self, now: float) -> None:
        self._samples = deque([(now, NO_TOTALS)])
        self._lock = threading.Lock()

    def read(self, totals: Totals, now: float) -> Rates:
        """Take the totals of now, and return the rates since a sample of up to a minute ago."""
        with self._lock:
            samples = self._samples
            if now - samples[-1][0] >= SAMPLE_SECONDS:
                samples.append((now, totals))
            while len(samples) > 1 and now - samples[1][0] >= RATE_SECONDS:
                samples.popleft()
            since, before = samples[0]
        seconds = now - since
        if seconds <= 0:
            return NO_RATES
        return Rates(*((new - old) / seconds for new, old in zip(totals, before, strict=True)))
