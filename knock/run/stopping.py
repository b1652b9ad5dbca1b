"""When a batch gives up, and what an input that failed says of it."""

from typing import Any

from knock.core.job import JobState
from knock.core.policy import StopRule
from knock.core.tribunal import RATE_MINIMUM
from knock.report import PoolReport
from knock.text import counted

_FINISHED = (JobState.COMPLETED, JobState.DEAD)


def verdict(rule: StopRule | None, dead: int, ended: int) -> str | None:
    """Return why to give up, if the rule says so: as the supervisor, which sees fewer jobs."""
    if rule is None or not dead:
        return None
    has_too_many = rule.failures is not None and dead >= rule.failures
    if rule.rate is not None:
        of = ended if rule.total is None else rule.total
        is_known = rule.total is not None or ended >= RATE_MINIMUM
        has_too_many = has_too_many or (is_known and dead >= rule.rate * of)
    return f"{dead} of {counted(ended, 'finished job')} died" if has_too_many else None


def tell_of(report: PoolReport[Any], exc: Exception) -> None:
    """Say on an exception of the input what was done all the same.

    It gets the report as its ``report``, unless it has one already or takes none.
    """
    add_note(exc, sum(outcome.state in _FINISHED for outcome in report.outcomes))
    try:
        if not hasattr(exc, "report"):
            exc.report = report  # type: ignore[attr-defined]
    except Exception:  # noqa: BLE001 - user code
        pass  # then there is the note


def add_note(exc: Exception, finished: int) -> None:
    """Say on an exception of the input how many jobs had finished."""
    exc.add_note(f"knock: the input failed; {counted(finished, 'job')} had finished")
