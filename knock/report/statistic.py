"""Numbers of a batch: counts, sums and percentiles, per job type and in all."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from knock.core.job import AttemptOutcome, JobState
from knock.outcome import Outcome

ALL_TYPES = "all"
PERCENTILE_METHOD = "nearest rank"


def percentile(ordered: list[float], percent: int) -> float:
    """Return a percentile (1 to 100) of sorted values by nearest rank.

    That is the least value such that at least ``percent`` % of all are no greater: always one
    that was measured, never a mean of two. Source: R. J. Hyndman and Y. Fan, "Sample Quantiles in
    Statistical Packages", The American Statistician 50 (1996), definition 1.
    """
    # Whole numbers: 0.95 * 20 in floats could come out a little over 19.
    rank = -(-percent * len(ordered) // 100)
    return ordered[rank - 1]


@dataclass(frozen=True, slots=True, kw_only=True)
class Spread:
    """How a measured number of seconds is spread over attempts; percentiles by nearest rank."""

    p50: float = 0.0
    p95: float = 0.0
    p99: float = 0.0
    max: float = 0.0
    total: float = 0.0

    @classmethod
    def of(cls, values: list[float]) -> "Spread":
        """Return the spread of the values, which are sorted in place."""
        if not values:
            return cls()
        values.sort()
        return cls(
            p50=percentile(values, 50),
            p95=percentile(values, 95),
            p99=percentile(values, 99),
            max=values[-1],
            total=sum(values),
        )

    def to_dict(self) -> dict[str, float]:
        """Return the numbers by name."""
        return {
            "p50": self.p50,
            "p95": self.p95,
            "p99": self.p99,
            "max": self.max,
            "total": self.total,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class TypeStatistics:
    """The numbers of one job type, or of all together (``job_type`` is then ``"all"``).

    ``restored_count`` is of the jobs for which nothing was run: ``states`` has them, the rest of
    the numbers leaves them out. ``attempts`` counts ended ones, by outcome. The spreads are over
    attempts. ``rss_before_bytes`` belongs to the attempt with the highest peak. ``is_exact`` is
    False if the memory figures of some attempts were carried over from a neighbour or sampled.
    ``leftover_processes`` were killed after ``littering_count`` of the jobs.
    """

    job_type: str
    states: Mapping[JobState, int]
    attempts: Mapping[AttemptOutcome, int]
    queue_wait: Spread
    wall: Spread
    cpu: Spread
    peak_rss_bytes: int
    rss_before_bytes: int
    is_exact: bool
    restored_count: int = 0
    littering_count: int = 0
    leftover_processes: int = 0

    @property
    def job_count(self) -> int:
        """How many jobs there were."""
        return sum(self.states.values())

    @property
    def attempt_count(self) -> int:
        """How many attempts ended."""
        return sum(self.attempts.values())

    @property
    def unfinished_count(self) -> int:
        """How many jobs the batch ended before."""
        return sum(count for state, count in self.states.items() if not state.is_final)

    def to_dict(self) -> dict[str, Any]:
        """Return everything as data for JSON."""
        return {
            "jobs": self.job_count,
            "restored": self.restored_count,
            "states": {state.value: self.states.get(state, 0) for state in JobState},
            "attempts": self.attempt_count,
            "outcomes": {
                outcome.value: self.attempts.get(outcome, 0) for outcome in AttemptOutcome
            },
            "queue_wait_seconds": self.queue_wait.to_dict(),
            "wall_seconds": self.wall.to_dict(),
            "cpu_seconds": self.cpu.to_dict(),
            "peak_rss_bytes": self.peak_rss_bytes,
            "rss_before_bytes": self.rss_before_bytes,
            "is_memory_exact": self.is_exact,
            "leftover_processes": self.leftover_processes,
        }


@dataclass(slots=True)
class _Tally:
    states: dict[JobState, int] = field(default_factory=lambda: defaultdict(int))
    attempts: dict[AttemptOutcome, int] = field(default_factory=lambda: defaultdict(int))
    waits: list[float] = field(default_factory=list)
    walls: list[float] = field(default_factory=list)
    cpus: list[float] = field(default_factory=list)
    peak: int = 0
    before: int = 0
    is_exact: bool = True
    restored: int = 0
    littering: int = 0
    leftovers: int = 0

    def add(self, outcome: Outcome[Any]) -> None:
        record = outcome.record
        self.states[record.state] += 1
        if outcome.is_restored:
            self.restored += 1
            return
        left = 0
        for attempt in record.attempts:
            usage = attempt.usage
            self.attempts[attempt.outcome] += 1
            self.waits.append(attempt.queue_wait_seconds)
            self.walls.append(usage.wall_seconds)
            self.cpus.append(usage.cpu_seconds)
            if usage.peak_rss_bytes > self.peak:
                self.peak, self.before = usage.peak_rss_bytes, usage.rss_before_bytes
            if not usage.is_exact:
                self.is_exact = False
            left += usage.leftover_processes
        if left:
            self.littering += 1
            self.leftovers += left

    def merge(self, other: "_Tally") -> None:
        for state, count in other.states.items():
            self.states[state] += count
        for outcome, count in other.attempts.items():
            self.attempts[outcome] += count
        self.waits += other.waits
        self.walls += other.walls
        self.cpus += other.cpus
        if other.peak > self.peak:
            self.peak, self.before = other.peak, other.before
        self.is_exact = self.is_exact and other.is_exact
        self.restored += other.restored
        self.littering += other.littering
        self.leftovers += other.leftovers

    def statistics(self, job_type: str) -> TypeStatistics:
        return TypeStatistics(
            job_type=job_type,
            states=dict(self.states),
            attempts=dict(self.attempts),
            queue_wait=Spread.of(self.waits),
            wall=Spread.of(self.walls),
            cpu=Spread.of(self.cpus),
            peak_rss_bytes=self.peak,
            rss_before_bytes=self.before,
            is_exact=self.is_exact,
            restored_count=self.restored,
            littering_count=self.littering,
            leftover_processes=self.leftovers,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Statistics:
    """The numbers of a batch; ``types`` in the order in which they came."""

    types: tuple[TypeStatistics, ...]
    total: TypeStatistics


def collect(outcomes: Iterable[Outcome[Any]]) -> Statistics:
    """Count and measure everything, in one pass over the outcomes."""
    tallies: dict[str, _Tally] = {}
    for outcome in outcomes:
        tally = tallies.get(outcome.record.spec.type)
        if tally is None:
            tally = tallies[outcome.record.spec.type] = _Tally()
        tally.add(outcome)
    types = tuple(tally.statistics(job_type) for job_type, tally in tallies.items())
    if len(types) == 1:
        # The common case; sorting a million numbers twice would double the time.
        return Statistics(types=types, total=replace(types[0], job_type=ALL_TYPES))
    total = _Tally()
    for tally in tallies.values():
        # Sorted by now: sorting the joined lists only merges them.
        total.merge(tally)
    return Statistics(types=types, total=total.statistics(ALL_TYPES))
