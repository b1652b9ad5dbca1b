"""The result of the demo as text."""

from knock.cli.demo_plan import WORDS
from knock.cli.demo_result import DemoResult, cause_of
from knock.report.table import MAX_COLUMNS, table
from knock.text import fit, seconds_text

_VERDICTS = {True: "as planned", False: "NOT AS PLANNED"}


def result_text(result: DemoResult) -> str:
    """Return everything, at most 100 columns wide."""
    sections = [
        [str(result.report)],
        _dead_letters(result),
        _faults(result),
        _breaker(result),
        _accounts(result),
        _check(result),
    ]
    return "\n\n".join("\n".join(lines) for lines in sections)


def _dead_letters(result: DemoResult) -> list[str]:
    head = ("dead letters", "job", "attempts", "reason", "last attempt")
    rows = [
        (
            record.spec.type,
            str(record.spec.id),
            str(len(record.attempts)),
            record.reason or "",
            cause_of(record),
        )
        for record in result.run.dead_letters
    ]
    return table(head, rows)


def _faults(result: DemoResult) -> list[str]:
    lines = ["planted faults"]
    for planted in result.faults:
        outcome = planted.outcome
        ends = ", ".join(attempt.outcome for attempt in outcome.attempts)
        verdict = _VERDICTS[planted.is_as_planned]
        lines.append(f"  {planted.fault.job_type} (job {outcome.job_id}) {planted.fault.what}:")
        lines.append(f"      {outcome.state} after {ends} - {verdict}")
    return [fit(line, MAX_COLUMNS) for line in lines]


def _breaker(result: DemoResult) -> list[str]:
    story = result.breaker
    states = " -> ".join(f"{state} ({seconds_text(at)})" for at, state in story.changes)
    return [
        f"breaker of {WORDS.name}: {states}",
        f"      {story.failed_attempts} attempts failed, {story.completed:,} of {story.jobs:,} "
        f"jobs completed - {_VERDICTS[story.is_as_planned]}",
    ]


def _accounts(result: DemoResult) -> list[str]:
    stats = result.run.stats
    return [
        f"{len(result.run.outcomes):,} jobs in: {stats.completed:,} completed, "
        f"{stats.dead:,} dead, {stats.queued + stats.processing:,} left - "
        f"{_VERDICTS[result.is_accounted_for]}"
    ]


def _check(result: DemoResult) -> list[str]:
    lines = [f"check against a serial program that does not import knock: {_equality(result)}"]
    for name, value in (result.totals or {}).items():
        number = f"{value:,}" if isinstance(value, int) else value
        lines.append(f"  {name:<17} {number}")
    serial, pooled = seconds_text(result.serial.seconds), seconds_text(result.report.seconds)
    return [*lines, f"  {'time':<17} {serial} in series, {pooled} here, faults included"]


def _equality(result: DemoResult) -> str:
    return "all totals are equal" if result.is_equal else "THE TOTALS ARE NOT EQUAL"
