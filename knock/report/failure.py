"""The failures of a batch, grouped by kind with one example each."""

from collections.abc import Iterable
from dataclasses import dataclass
from reprlib import Repr
from typing import Any

from knock.core.job import Attempt, AttemptOutcome, DeathReason, JobRecord, JobState
from knock.errors import SerializationError
from knock.outcome import Outcome, is_refused
from knock.text import escape_line

MAX_ITEM_CHARS = 60
MAX_LINE_CHARS = 300
# Of an example's log.
SHOWN_LOG_LINES = 3

# Death reasons that say more than how the last attempt ended.
_TELLING = (
    DeathReason.EXPIRED.value,
    DeathReason.DISCARDED.value,
    DeathReason.UNKNOWN_TYPE.value,
)


@dataclass(slots=True)
class FailureGroup:
    """Jobs of one type that failed in one way; ``example`` is the first of them."""

    job_type: str
    kind: str
    count: int
    example: Outcome[Any]

    @property
    def message(self) -> str:
        """What the example says, on one line."""
        error = self.example.error
        return "" if error is None else escape_line(error.message)

    @property
    def log(self) -> list[str]:
        """What the example logged last, or else wrote to standard error; fit to be shown."""
        attempts = self.example.attempts
        if not attempts:
            return []
        last = attempts[-1].log or attempts[-1].stderr.splitlines()
        return [escape_line(line) for line in last[-SHOWN_LOG_LINES:]]

    def to_dict(self) -> dict[str, Any]:
        """Return the group as data for JSON."""
        return {
            "job_type": self.job_type,
            "kind": self.kind,
            "count": self.count,
            "example": {
                "index": self.example.index,
                "job_id": self.example.job_id,
                "item": item_text(self.example.item),
                "message": self.message,
                "log": self.log,
            },
        }


def group_failures(failures: Iterable[Outcome[Any]]) -> list[FailureGroup]:
    """Group failed outcomes by job type and kind, the largest group first."""
    groups: dict[tuple[str, str], FailureGroup] = {}
    for outcome in failures:
        key = (outcome.job_type, kind_of(outcome.record))
        group = groups.get(key)
        if group is None:
            groups[key] = FailureGroup(*key, count=1, example=outcome)
        else:
            group.count += 1
    return sorted(groups.values(), key=lambda group: -group.count)


def kind_of(record: JobRecord) -> str:
    """Return in a few words how a job failed: ``error ValueError``, ``crash killed by SIGSEGV``."""
    if record.state is JobState.CANCELLED:
        return "cancelled"
    if record.state is not JobState.DEAD:
        return "not finished"
    if is_refused(record):
        return f"error {SerializationError.__name__}"
    reason = (record.reason or "").partition(":")[0]
    if reason in _TELLING or not record.attempts:
        return escape_line(reason or "dead")
    return _kind_of_attempt(record.attempts[-1])


def _kind_of_attempt(attempt: Attempt) -> str:
    if attempt.outcome is AttemptOutcome.ERROR and attempt.error is not None:
        return f"error {escape_line(attempt.error.type_name)}"
    if attempt.outcome is AttemptOutcome.CRASH and attempt.death is not None:
        return f"crash {escape_line(attempt.death.cause)}".rstrip()
    return attempt.outcome.value.replace("_", " ")


def failure_line(outcome: Outcome[Any]) -> str:
    """Return on one line which item failed and what it says."""
    error = outcome.error
    told = "" if error is None else f"{error.type_name}: {error.message}"
    text = f"item {outcome.index} ({item_text(outcome.item)}): {escape_line(told)}"
    return text if len(text) <= MAX_LINE_CHARS else f"{text[:MAX_LINE_CHARS]}..."


def item_text(item: object) -> str:
    """Return a short text of an item; whatever its ``__repr__`` does."""
    short = Repr()
    short.maxstring = short.maxother = MAX_ITEM_CHARS
    try:
        # reprlib would write all of the bytes before cutting.
        text = short.repr(item[:MAX_ITEM_CHARS] if isinstance(item, (bytes, bytearray)) else item)
    except KeyboardInterrupt:
        raise  # pressed by somebody, while it took its time
    except BaseException:  # noqa: BLE001 - user code, which must not end the caller
        text = f"<{type(item).__name__}>"
    return escape_line(text[: 2 * MAX_ITEM_CHARS])
