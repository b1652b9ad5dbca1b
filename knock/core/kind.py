"""What the machine knows of one job type: its policy, its breaker, how long its jobs take."""

from dataclasses import replace

from knock.core.breaker import Breaker, BreakerState
from knock.core.job import JobSpec, Unset
from knock.core.policy import JobPolicy

# A worker holds about this much work ahead: enough that it never waits for the supervisor's turn,
# little enough that a job behind it is not late.
WINDOW_SECONDS = 0.005
MAX_WINDOW = 64
# How often the memory of a job that has a limit for it is looked at.
MEMORY_LOOK_SECONDS = 0.05
_LEARNING_RATE = 0.2


class Kind:
    """One job type.

    ``out`` counts its claimed jobs, ``sent`` those of them that workers hold, ``holders`` these
    workers. ``bound`` is how many workers may hold jobs of the type, its breaker apart; None for
    any number. ``first_look`` is how long after its start a job is to be looked at, but for its
    timeout; None if that need not be.
    """

    __slots__ = (
        "_epoch",
        "_finished",
        "_mean",
        "_workers",
        "bound",
        "breaker",
        "cost",
        "first_look",
        "holders",
        "name",
        "out",
        "policy",
        "sent",
    )

    def __init__(self, name: str, policy: JobPolicy, workers: int) -> None:
        self.name = name
        self.policy = policy
        self._workers = workers
        self.bound = self._find_bound()
        self.first_look = _first_look(policy)
        self._epoch = 1
        self.breaker = self._new_breaker()
        self.holders = 0
        self.out = self.sent = 0
        self.cost = WINDOW_SECONDS
        self._mean = 0.0
        self._finished = 0

    def set_policy(self, policy: JobPolicy) -> None:
        """Follow another policy; a breaker whose policy is the same keeps its state."""
        has_changed = policy.breaker != self.policy.breaker
        # What is held was counted with as many threads as its worker was told of.
        self.policy = replace(policy, threads=self.policy.threads)
        self.bound = self._find_bound()
        self.first_look = _first_look(policy)
        if has_changed:
            if self.breaker is not None:
                # What was handed out under the old breaker must not count in the new one.
                self._epoch = self.breaker.epoch + 1
            self.breaker = self._new_breaker()

    def _new_breaker(self) -> Breaker | None:
        policy = self.policy.breaker
        return None if policy is None else Breaker(policy, epoch=self._epoch)

    def _find_bound(self) -> int | None:
        bound, threads = self.policy.max_concurrency, self.policy.threads
        if threads == 1:
            return bound
        # More of them could never run at once, whatever else does.
        at_once = self._workers // threads
        return at_once if bound is None else min(bound, at_once)

    @property
    def is_wide(self) -> bool:
        """Whether a job of the type takes more than one slot."""
        return self.policy.threads > 1

    @property
    def is_bounded(self) -> bool:
        """Whether the number of workers that hold the type matters."""
        return self.breaker is not None or self.bound is not None

    @property
    def is_probing(self) -> bool:
        """Whether its jobs are the probes of a half-open breaker."""
        return self.breaker is not None and self.breaker.state is BreakerState.HALF_OPEN

    def places(self, now: float) -> int | None:
        """How many workers may hold jobs of the type at once; None for any number."""
        bound = self.bound
        if self.breaker is not None:
            places = self.breaker.places(now)
            if self.is_probing:
                # What was sent before the breaker opened may run on for long: it is no probe.
                places = self.holders + self.breaker.free_probes
            if places is not None and (bound is None or places < bound):
                return places
        return bound

    def is_open_to_more(self, now: float) -> bool:
        """Whether one more worker may hold jobs of the type."""
        places = self.places(now) if self.is_bounded else None
        return places is None or self.holders < places

    def claimable(self, now: float, behind: int = 0) -> int | None:
        """How many more jobs of the type are worth claiming; None for any number.

        ``behind`` of those that are claimed wait for a job that lacks slots: more urgent ones may
        come before them.
        A type with a place at every worker is not bounded: were it, less urgent jobs of another
        type would be claimed, and run, while it waits.
        """
        places = self.places(now) if self.is_bounded else None
        if places is None or (places >= self._workers and not self.is_probing):
            return None
        each = 1 if self.is_probing or self.is_wide else max(1, int(WINDOW_SECONDS / self.cost))
        return max(0, places * each - self.out + behind)

    def learn(self, wall_seconds: float) -> None:
        """Take one more measured duration into account.

        ``cost`` is the expected duration, but never less than a full window's share, and not much
        less than was seen often enough: the window of a new type doubles as its jobs finish.
        """
        self._finished += 1
        rate = _LEARNING_RATE if self._finished > 1 else 1.0
        self._mean += rate * (wall_seconds - self._mean)
        floor = WINDOW_SECONDS / min(MAX_WINDOW, 2 * self._finished)
        self.cost = max(floor, self._mean)

    def timeout_of(self, job: JobSpec) -> float | None:
        """Seconds that one attempt of the job may run; None for no limit."""
        timeout = job.options.timeout
        return self.policy.timeout if isinstance(timeout, Unset) else timeout


def _first_look(policy: JobPolicy) -> float | None:
    limits = (
        policy.soft_timeout,
        policy.stall_timeout,
        None if policy.memory_limit is None else MEMORY_LOOK_SECONDS,
    )
    return min((limit for limit in limits if limit is not None), default=None)
