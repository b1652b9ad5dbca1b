"""The circuit breaker of one job type.

Rule 1: an attempt counts only in the *epoch* that it was handed out in. Every change of state
        starts another, so that a late result of the past never closes or opens a breaker.
Rule 2: while closed, no more workers may hold jobs of the type than failures are missing to open
        it. A worker stops at its first failure, so the threshold holds for any number of workers.
Rule 3: a probe that ends without a verdict gives its place back.
"""

from collections import deque
from enum import StrEnum

from knock.core.policy import BreakerPolicy

# The exponent of the doubling wait; 2**60 times anything is over any limit.
_MAX_DOUBLINGS = 60


class BreakerState(StrEnum):
    """Whether jobs of the type may start."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"


class Breaker:
    """Counts attempts of one job type and holds the type back when too many fail.

    ``epoch`` is the first one; a breaker that replaces another starts after that one's.

    Attributes:
        state: Where it stands.
        epoch: Changes with each change of state.
        wake_at: While open, when ``tick`` makes it half-open; else None.
    """

    __slots__ = (
        "_consecutive",
        "_failed",
        "_openings",
        "_policy",
        "_probes_out",
        "_recent",
        "_successes",
        "epoch",
        "state",
        "wake_at",
    )

    def __init__(self, policy: BreakerPolicy, *, epoch: int = 1) -> None:
        self._policy = policy
        self._openings = 0
        self.epoch = epoch - 1
        self.wake_at: float | None = None
        self._enter(BreakerState.CLOSED)

    def _enter(self, state: BreakerState) -> None:
        self.state = state
        self.epoch += 1
        self._consecutive = 0
        self._recent: deque[bool] = deque()
        self._failed = 0
        self._probes_out = 0
        self._successes = 0

    def places(self, now: float) -> int | None:
        """How many workers may hold jobs of the type at once; None for any number."""
        if self.state is BreakerState.CLOSED:
            return self._policy.threshold - self._consecutive
        is_waiting = self.wake_at is not None and now < self.wake_at
        return 0 if is_waiting else self._policy.probes

    @property
    def free_probes(self) -> int:
        """How many more probes may be out; 0 unless half-open."""
        is_probing = self.state is BreakerState.HALF_OPEN
        return self._policy.probes - self._probes_out if is_probing else 0

    def tick(self, now: float) -> None:
        """Become half-open if the wait is over."""
        if self.wake_at is not None and self.wake_at <= now:
            self.wake_at = None
            self._enter(BreakerState.HALF_OPEN)

    def admit(self, now: float) -> int:
        """A job of the type is handed out; return the epoch that its end is to be told with."""
        self.tick(now)
        if self.state is BreakerState.HALF_OPEN:
            self._probes_out += 1
        return self.epoch

    def succeed(self, epoch: int, now: float) -> None:
        """A job that was handed out in ``epoch`` has succeeded."""
        if epoch != self.epoch:
            return
        if self.state is BreakerState.HALF_OPEN:
            self._probes_out -= 1
            self._successes += 1
            if self._successes >= self._policy.probes:
                self._openings = 0
                self._enter(BreakerState.CLOSED)
            return
        self._consecutive = 0
        self._remember(is_failure=False)
        # The share of failures may reach the limit by a success that completes the minimum.
        self._open_if_due(now)

    def fail(self, epoch: int, now: float) -> None:
        """A job that was handed out in ``epoch`` has failed."""
        if epoch != self.epoch:
            return
        if self.state is BreakerState.HALF_OPEN:
            self._open(now)
            return
        self._consecutive += 1
        self._remember(is_failure=True)
        self._open_if_due(now)

    def give_back(self, epoch: int) -> None:
        """A job that was handed out in ``epoch`` came back without a verdict."""
        if epoch == self.epoch and self.state is BreakerState.HALF_OPEN:
            self._probes_out -= 1

    def _remember(self, *, is_failure: bool) -> None:
        if self._policy.failure_rate is None:
            return
        self._recent.append(is_failure)
        self._failed += is_failure
        if len(self._recent) > self._policy.window:
            self._failed -= self._recent.popleft()

    def _open_if_due(self, now: float) -> None:
        rate, calls = self._policy.failure_rate, len(self._recent)
        is_rate_over = (
            rate is not None
            and calls >= min(self._policy.minimum_calls, self._policy.window)
            and self._failed >= max(1.0, rate * calls)
        )
        if is_rate_over or self._consecutive >= self._policy.threshold:
            self._open(now)

    def _open(self, now: float) -> None:
        wait = self._policy.reset_timeout * 2.0 ** min(self._openings, _MAX_DOUBLINGS)
        self._openings += 1
        self._enter(BreakerState.OPEN)
        self.wake_at = now + min(wait, self._policy.reset_timeout_max)
