"""What really happened, as far as the simulated world knows it: jobs, and models of breakers."""

from knock.core.commands import (
    NoticeName,
)
from knock.core.job import NOTHING_SPENT, AttemptOutcome, JobSpec, Spent, Unset
from knock.core.policy import BreakerPolicy, JobPolicy

EPSILON = 1e-9

BUDGETS = {
    AttemptOutcome.ERROR: "failures",
    AttemptOutcome.TIMEOUT: "failures",
    AttemptOutcome.CRASH: "crashes",
    AttemptOutcome.OUT_OF_MEMORY: "out_of_memory",
    AttemptOutcome.LOST: "lost",
}
UNCHARGED = (AttemptOutcome.CANCELLED, AttemptOutcome.RELEASED)


def without(stops: list[tuple[float, float]], instant: float) -> float:
    """The instant from which a limit counts that leaves the stops of the clock out."""
    return instant + sum(max(0.0, until - max(since, instant)) for since, until in stops)


class Job:
    """An accepted job that is not final yet."""

    __slots__ = (
        "ended",
        "expects",
        "heard_at",
        "holder",
        "is_cancelled",
        "is_processing",
        "is_stolen",
        "outcomes",
        "returns",
        "spec",
        "spent",
        "started_token",
        "token",
    )

    def __init__(self, spec: JobSpec) -> None:
        self.spec = spec
        self.spent = NOTHING_SPENT
        self.token = 0
        self.is_processing = False
        self.is_stolen = False  # another supervisor has taken it over
        self.is_cancelled = False  # the machine was told
        self.holder = None  # the process that may hold it, as far as the machine can know
        self.started_token = 0  # the last token under which it really ran
        self.returns = 0  # how often in a row it was taken back for nothing
        self.outcomes = ()  # what that run may be called
        self.ended = None  # the worker's own word on it
        self.heard_at = 0.0  # when the machine heard of the end

    def timeout(self, policies: dict[str, JobPolicy]) -> float | None:
        own = self.spec.options.timeout
        return policies[self.spec.type].timeout if isinstance(own, Unset) else own

    def after(self, outcome: AttemptOutcome, policy: JobPolicy) -> tuple[Spent, float, bool]:
        """What is spent after this outcome, the least delay, and whether the job is dead."""
        ended = self.ended
        if ended is not None and ended.retry_after is not None:
            return self.spent, ended.retry_after, False
        budget = BUDGETS[outcome]
        spent = self.spent._replace(**{budget: getattr(self.spent, budget) + 1})
        own, retry = self.spec.options.retry_attempts, policy.retry
        retries = retry.retry_attempts if isinstance(own, Unset) else own
        few = min(retries, 2)
        limit = {
            "failures": retries,
            "crashes": few if retry.retry_crashes is None else retry.retry_crashes,
            "out_of_memory": few if retry.retry_oom is None else retry.retry_oom,
            "lost": retry.retry_lost,
        }[budget]
        given_up = ended is not None and (not ended.retryable or ended.discard is not None)
        delay = min(retry.retry_delay_max, retry.retry_delay * 2 ** (sum(spent) - 1))
        return spent, delay, given_up or getattr(spent, budget) > limit


class BreakerModel:
    """The breaker as its documentation tells it, without a thought for speed.

    ``expected`` gathers the notices that the machine must publish.
    """

    def __init__(self, name: str, policy: BreakerPolicy, workers: int, expected: list) -> None:
        self.name, self.policy, self.workers, self.expected = name, policy, workers, expected
        self.state = "closed"
        self.wake_at = None
        self.waits = 0
        self.members: set[int] = set()  # tickets handed out in this state of the breaker
        self.leftover: set[int] = set()  # those of the closed state before this opening
        self.late_failures = self.late_bound = 0
        self.ends: list[bool] = []  # True: failed; in this state, in the order of the machine

    def change(self, state: str, notice: NoticeName) -> None:
        self.leftover |= self.members
        self.state, self.members, self.ends, self.wake_at = state, set(), [], None
        self.expected.append((notice, self.name))

    def tick(self, now: float) -> None:
        if self.wake_at is not None and self.wake_at <= now:
            self.change("half_open", NoticeName.BREAKER_HALF_OPENED)

    def sent(self, ticket: int) -> None:
        assert self.state != "open", f"{self.name} is open and a job of it is sent"
        self.members.add(ticket)
        if self.state == "half_open":
            assert len(self.members) <= self.policy.probes, f"too many probes of {self.name}"

    def gone(self, ticket: int, failed: bool | None, now: float) -> None:
        """A job came back: it failed, succeeded (False), or neither (None)."""
        if ticket in self.leftover:
            self.leftover.remove(ticket)
            self.late_failures += failed is True
            assert self.late_failures <= self.late_bound, f"{self.name}: too many failures"
        if ticket not in self.members:
            return
        self.members.remove(ticket)
        if failed is None:
            return
        self.ends.append(failed)
        if self.state == "half_open":
            if failed:
                self.open(now)
            elif len(self.ends) == self.policy.probes:
                self.waits = 0
                self.change("closed", NoticeName.BREAKER_CLOSED)
                self.leftover.clear()
        elif all(self.ends[-self.policy.threshold :]) and (len(self.ends) >= self.policy.threshold):
            self.open(now)
        elif self.policy.failure_rate is not None:
            recent = self.ends[-self.policy.window :]
            is_due = len(recent) >= self.policy.minimum_calls and any(recent)
            if is_due and sum(recent) / len(recent) >= self.policy.failure_rate:
                self.open(now)

    def has_place(self, holders: int) -> bool:
        """Whether another worker may have jobs of the type, if so many have."""
        if self.state == "half_open":
            return len(self.members) < self.policy.probes
        in_a_row = 0
        while in_a_row < len(self.ends) and self.ends[-1 - in_a_row]:
            in_a_row += 1
        return self.state == "closed" and holders < self.policy.threshold - in_a_row

    def open(self, now: float) -> None:
        # A worker stops at its first failure; the one whose failure opened the breaker has.
        self.late_failures, self.late_bound = 0, self.workers - self.ends[-1]
        self.leftover = set()
        self.change("open", NoticeName.BREAKER_OPENED)
        wait = self.policy.reset_timeout * 2**self.waits
        self.wake_at = now + min(wait, self.policy.reset_timeout_max)
        self.waits += 1
