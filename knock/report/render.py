"""A report as the text that a person wants to read at the end: plain, at most 100 columns."""

from collections import Counter

from knock.core.job import AttemptOutcome, JobState
from knock.report.failure import FailureGroup, item_text
from knock.report.statistic import PERCENTILE_METHOD, Spread, Statistics, TypeStatistics
from knock.report.table import MAX_COLUMNS, more, table
from knock.resources import HostFacts
from knock.supervisor.facts import RunFacts
from knock.text import counted, escape_line, fit, seconds_text, size_text

MAX_TYPES = 20
MAX_LINES = 20
_NOT_EXACT = "~"

_OUTCOME_HEADS = (
    (AttemptOutcome.SUCCESS, "ok"),
    (AttemptOutcome.ERROR, "error"),
    (AttemptOutcome.TIMEOUT, "timeout"),
    (AttemptOutcome.CRASH, "crash"),
    (AttemptOutcome.OUT_OF_MEMORY, "memory"),
    (AttemptOutcome.LOST, "lost"),
    (AttemptOutcome.CANCELLED, "cancelled"),
    (AttemptOutcome.RELEASED, "released"),
)


def render(
    *,
    headline: str,
    kinds: str,
    statistics: Statistics,
    failures: list[FailureGroup],
    facts: RunFacts,
    host: HostFacts,
) -> str:
    """Return the whole text."""
    shown = _shown_types(statistics)
    sections = [
        [f"knock: {headline}", *([kinds] if kinds else []), *_totals(statistics.total, facts)],
        [*_jobs(shown), *more(MAX_TYPES, len(statistics.types), "job types, with less run time")],
        _attempts(shown),
        _times(shown),
        _failures(failures),
        _worker_exits(facts),
        _recycled(facts),
        _breakers(facts),
        _host(host),
    ]
    paragraphs = (
        "\n".join(fit(line, MAX_COLUMNS) for line in lines) for lines in sections if lines
    )
    return "\n\n".join(paragraphs)


def _shown_types(statistics: Statistics) -> list[TypeStatistics]:
    types = sorted(statistics.types, key=lambda one: -one.wall.total)[:MAX_TYPES]
    return types if len(statistics.types) == 1 else [*types, statistics.total]


def _totals(total: TypeStatistics, facts: RunFacts) -> list[str]:
    seconds = facts.ended_at - facts.started_at
    parts = [
        f"{rate(total, seconds):,.1f} jobs/s",
        f"workers {utilisation(facts):.0%} busy",
        f"CPU {seconds_text(total.cpu.total)}",
        f"peak memory {_memory(total)}",
    ]
    lines = [" | ".join(parts)]
    if facts.stopped_by is not None:
        lines.append(f"stopped early: {facts.stopped_by}")
    if facts.stale_results:
        lines.append(f"late results that changed nothing: {facts.stale_results:,}")
    if total.leftover_processes:
        jobs = counted(total.littering_count, "job")
        processes = counted(total.leftover_processes, "process", "processes")
        lines.append(f"{jobs} left {processes} behind; killed")
    return lines


def rate(total: TypeStatistics, seconds: float) -> float:
    """Return how many jobs ended per second; what was restored took no time."""
    ended = total.job_count - total.unfinished_count - total.restored_count
    return ended / seconds if seconds > 0.0 else 0.0


def utilisation(facts: RunFacts) -> float:
    """Return the part (0 to 1) of the workers' time in which they ran jobs."""
    available = facts.workers * (facts.ended_at - facts.started_at)
    return min(facts.busy_seconds / available, 1.0) if available > 0.0 else 0.0


def _jobs(types: list[TypeStatistics]) -> list[str]:
    head = ["jobs", "all", "completed", "dead", "cancelled", "unfinished"]
    rows = [
        (
            one.job_type,
            *map(
                _count,
                (
                    one.job_count,
                    one.states.get(JobState.COMPLETED, 0),
                    one.states.get(JobState.DEAD, 0),
                    one.states.get(JobState.CANCELLED, 0),
                    one.unfinished_count,
                ),
            ),
        )
        for one in types
    ]
    if any(one.restored_count for one in types):
        # Most batches have none.
        head.append("restored")
        rows = [(*row, _count(one.restored_count)) for row, one in zip(rows, types, strict=True)]
    return table(head, rows)


def _attempts(types: list[TypeStatistics]) -> list[str]:
    head = ("attempts", "all", *(name for _, name in _OUTCOME_HEADS))
    rows = [
        (
            one.job_type,
            _count(one.attempt_count),
            *(_count(one.attempts.get(outcome, 0)) for outcome, _ in _OUTCOME_HEADS),
        )
        for one in types
    ]
    return table(head, rows)


def _times(types: list[TypeStatistics]) -> list[str]:
    head = ("time per attempt", "", "p50", "p95", "p99", "max", "sum", "peak memory")
    rows = []
    for one in types:
        rows.append((one.job_type, "wait", *_spread(one.queue_wait), _memory(one)))
        rows.append(("", "wall", *_spread(one.wall), ""))
        rows.append(("", "CPU", *_spread(one.cpu), ""))
    lines = [*table(head, rows), f"percentiles by {PERCENTILE_METHOD}"]
    if not all(one.is_exact for one in types):
        lines[-1] += f"; {_NOT_EXACT} some jobs were too short to have their own memory measured"
    return lines


def _spread(spread: Spread) -> tuple[str, ...]:
    values = (spread.p50, spread.p95, spread.p99, spread.max, spread.total)
    return tuple(seconds_text(value) if value else "0 s" for value in values)


def _memory(one: TypeStatistics) -> str:
    if not one.peak_rss_bytes:
        return "-"
    mark = "" if one.is_exact else _NOT_EXACT
    return f"{mark}{size_text(one.peak_rss_bytes)}"


def _failures(groups: list[FailureGroup]) -> list[str]:
    if not groups:
        return []
    lines = ["failures"]
    for group in groups[:MAX_LINES]:
        example = group.example
        lines.append(f"  {group.count:,} x {group.job_type}: {group.kind}")
        lines.append(
            f"      e.g. item {example.index} (job {example.job_id}): {item_text(example.item)}"
        )
        if group.message:
            lines.append(f"      {group.message}")
        lines += [f"      | {line}" for line in group.log]
    return lines + more(MAX_LINES, len(groups), "kinds of failure")


def _worker_exits(facts: RunFacts) -> list[str]:
    if not facts.worker_exits:
        return []
    causes = Counter(facts.exit_causes) or Counter(one.cause for one in facts.worker_exits)
    lines = [f"worker exits: {causes.total():,}"]
    lines += [
        f"  {count:,} x {escape_line(cause)}" for cause, count in causes.most_common(MAX_LINES)
    ]
    return lines + more(MAX_LINES, len(causes), "causes")


def _recycled(facts: RunFacts) -> list[str]:
    reasons = Counter(facts.workers_recycled)
    if not reasons:
        return []
    parts = [f"{count:,} x {escape_line(reason)}" for reason, count in reasons.most_common()]
    return [f"workers recycled: {reasons.total():,} ({', '.join(parts)})"]


def _breakers(facts: RunFacts) -> list[str]:
    changes = facts.breaker_changes
    if not changes:
        return []
    lines = [f"circuit breakers: {counted(len(changes), 'change')}"]
    for change in changes[:MAX_LINES]:
        after = seconds_text(max(change.at - facts.started_at, 0.0))
        lines.append(f"  after {after}: {escape_line(change.job_type)} {change.state}")
    return lines + more(MAX_LINES, len(changes), "changes")


def _host(host: HostFacts) -> list[str]:
    cores = f"{host.cpu_count} cores"
    if host.physical_cpu_count is not None:
        cores += f" ({host.physical_cpu_count} physical)"
    load = " ".join(f"{value:.2f}" for value in host.load_average)
    memory = (
        f"{size_text(host.memory_available_bytes)} of {size_text(host.memory_total_bytes)} free"
    )
    return [
        f"host: {cores}, load {load}, memory {memory}",
        f"      {host.python} on {host.platform}",
    ]


def _count(number: int) -> str:
    return f"{number:,}"
