"""What became of one job, as the caller sees it."""

from dataclasses import fields
from operator import attrgetter
from typing import Any, Generic, TypeVar

from knock.core.commands import KillCause
from knock.core.job import (
    Attempt,
    AttemptOutcome,
    Death,
    DeathReason,
    JobError,
    JobRecord,
    JobSpec,
    JobState,
    Spent,
    Usage,
)
from knock.errors import (
    JobCancelledError,
    JobDiscardedError,
    JobExpiredError,
    JobFailedError,
    JobLostError,
    JobTimeoutError,
    OutOfMemoryError,
    ProcessorNotFoundError,
    RemoteJobError,
    SerializationError,
    WorkerCrashedError,
)
from knock.pool.definition import load_result
from knock.pool.failure import RemoteTraceback, rebuild_exception
from knock.text import counted, escape_line, seconds_text, size_text

R = TypeVar("R")
F = TypeVar("F", bound=JobFailedError)

_DISCARD_PREFIX = f"{DeathReason.DISCARDED.value}: "
# Only of a job that never ran: an attempt's error says itself what is not worth a retry.
_REFUSED_PREFIX = f"{DeathReason.NOT_RETRYABLE.value}: "


def refused(spec: JobSpec, error: SerializationError) -> JobRecord:
    """Return the record of a job that was never sent, because its item cannot be pickled."""
    return JobRecord(
        spec=spec,
        state=JobState.DEAD,
        run_at=spec.run_at,
        reason=f"{_REFUSED_PREFIX}{error}",
        finished_at=spec.created_at,
    )


def is_refused(record: JobRecord) -> bool:
    """Whether the job was never sent, because its item cannot be pickled."""
    reason = record.reason or ""
    return (
        record.state is JobState.DEAD and not record.attempts and reason.startswith(_REFUSED_PREFIX)
    )


def value_of(record: JobRecord) -> Any:
    """Return what a job returned; runs user code to unpickle it.

    Raises:
        ResultDecodeError: It cannot be unpickled in this process.
        Exception: The job has no value: whatever ``failure_of`` returns.
    """
    failure = failure_of(record)
    if failure is not None:
        raise failure
    # None is a job that was settled without a value, as a storage of another make may hold.
    return None if record.result is None else load_result(record.result)


def failure_of(record: JobRecord) -> BaseException | None:
    """Return why a job has no value, as the exception to raise; None if it has one.

    A job that raised gives its own exception back, the remote traceback as ``__cause__``; that
    runs user code to unpickle it.
    """
    match record.state:
        case JobState.COMPLETED:
            return None
        case JobState.CANCELLED:
            return _fail(JobCancelledError, record, "was cancelled")
        case JobState.DEAD:
            return _death_of(record)
        case state:
            return _fail(JobFailedError, record, f"has not ended: it is {state.value}")


def _death_of(record: JobRecord) -> BaseException:
    reason = record.reason or ""
    if reason == DeathReason.EXPIRED:
        return _fail(JobExpiredError, record, "expired before it could start")
    if reason == DeathReason.DISCARDED or reason.startswith(_DISCARD_PREFIX):
        text = reason.removeprefix(_DISCARD_PREFIX)
        return _fail(JobDiscardedError, record, f"gave itself up: {escape_line(text)}", text)
    if reason == DeathReason.UNKNOWN_TYPE:
        return ProcessorNotFoundError(record.spec.type)
    if is_refused(record):
        return SerializationError(escape_line(reason.removeprefix(_REFUSED_PREFIX)))
    if not record.attempts:
        return _fail(JobFailedError, record, f"is dead: {escape_line(reason)}")
    return _failure_of_attempt(record, record.attempts[-1])


def _failure_of_attempt(record: JobRecord, attempt: Attempt) -> BaseException:
    match attempt.outcome:
        case AttemptOutcome.TIMEOUT:
            return _timeout(record, attempt)
        case AttemptOutcome.CRASH:
            return _crash(WorkerCrashedError, record, attempt, "ended its worker process")
        case AttemptOutcome.OUT_OF_MEMORY if attempt.error is None:
            return _crash(OutOfMemoryError, record, attempt, "was killed for want of memory")
        case AttemptOutcome.LOST:
            return _fail(JobLostError, record, "was lost: what supervised it died while it ran")
    if attempt.error is None:
        return _fail(JobFailedError, record, f"is dead: {escape_line(record.reason or '')}")
    found = rebuild_exception(attempt.error, job_id=record.spec.id, job_type=record.spec.type)
    if isinstance(found, RemoteJobError):
        found.log_lines = attempt.log
    return found


_OVER = {
    KillCause.TIMEOUT.value: "ran over its time limit",
    KillCause.STALLED.value: "told of no progress for its stall_timeout",
    KillCause.DEADLINE.value: "ran until its deadline",
}


def _timeout(record: JobRecord, attempt: Attempt) -> JobTimeoutError:
    if attempt.error is not None:
        error = _fail(JobTimeoutError, record, attempt.error.message, attempt.error.traceback)
        error.limit = "soft_timeout"
        error.__cause__ = RemoteTraceback(attempt.error.traceback)
        return error
    limit = attempt.death.ordered if attempt.death is not None else ""
    limit = limit if limit in _OVER else KillCause.TIMEOUT.value
    wall = seconds_text(attempt.usage.wall_seconds)
    error = _fail(
        JobTimeoutError,
        record,
        f"{_OVER[limit]} and was killed after {wall}",
        _stack(attempt.death),
    )
    error.limit = limit
    return error


def _crash(
    kind: type[WorkerCrashedError], record: JobRecord, attempt: Attempt, what: str
) -> WorkerCrashedError:
    death = attempt.death or Death()
    facts = [escape_line(death.cause)] if death.cause else []
    if death.peak_rss_bytes is not None:
        facts.append(f"peak memory {size_text(death.peak_rss_bytes)}")
    about = f"{what}: {', '.join(facts)}" if facts else what
    error = _fail(kind, record, about, _stack(death))
    error.cause = death.cause
    error.pid = attempt.worker_pid if death.pid is None else death.pid
    error.exit_code = death.exit_code
    error.signal = death.signal
    error.peak_rss_bytes = death.peak_rss_bytes
    return error


def _fail(kind: type[F], record: JobRecord, what: str, detail: str = "") -> F:
    spec = record.spec
    message = f"job {spec.id} ({escape_line(spec.type)}) {what}"
    error = kind(message, job_id=spec.id, job_type=spec.type, detail=detail)
    if record.attempts:
        error.log_lines = record.attempts[-1].log
    return error


def _stack(death: Death | None) -> str:
    return "" if death is None else death.stderr


class Outcome(Generic[R]):
    """What became of one item of a batch.

    Attributes:
        index: The item's place in the input, from 0.
        item: The item as it was given; it was never sent back.
        record: The job as it was stored when it ended.
        is_restored: Whether nothing was run for this item: its record is of an earlier batch, or of
            another item with the same key.
    """

    __slots__ = ("_value", "index", "is_restored", "item", "record")

    def __init__(
        self, index: int, item: Any, record: JobRecord, *, is_restored: bool = False
    ) -> None:
        self.index = index
        self.item = item
        self.record = record
        self.is_restored = is_restored

    @property
    def job_id(self) -> int:
        """The job's id."""
        return self.record.spec.id

    @property
    def job_type(self) -> str:
        """The job's type: in a batch the function's name."""
        return self.record.spec.type

    @property
    def state(self) -> JobState:
        """Where the job is; not final if the batch ended before it."""
        return self.record.state

    @property
    def outcome(self) -> AttemptOutcome | None:
        """How the last attempt ended; None if there was none."""
        attempt = self._last
        return None if attempt is None else attempt.outcome

    @property
    def ok(self) -> bool:
        """Whether the job has a value."""
        return self.record.state is JobState.COMPLETED

    @property
    def value(self) -> R:
        """What the job returned; unpickled when first asked for. Raises the job's error."""
        if not hasattr(self, "_value"):
            self._value: R = value_of(self.record)
        return self._value

    @property
    def error(self) -> JobError | None:
        """Why there is no value, as text; None if there is one. Runs no user code."""
        if self.ok:
            return None
        attempt = self._last
        if attempt is not None and attempt.error is not None and _is_own_error(self.record):
            return attempt.error
        failure = failure_of(self.record)
        return JobError(
            type_name=type(failure).__name__,
            message=str(failure),
            traceback=failure.detail if isinstance(failure, JobFailedError) else "",
        )

    def exception(self) -> BaseException | None:
        """Return why there is no value, as the exception that ``value`` raises, or None."""
        return failure_of(self.record)

    @property
    def attempts(self) -> tuple[Attempt, ...]:
        """Every attempt, the first one first."""
        return self.record.attempts

    @property
    def queue_wait_seconds(self) -> float | None:
        """How long the last attempt was due before it started; None if there was none."""
        attempt = self._last
        return None if attempt is None else attempt.queue_wait_seconds

    @property
    def wall_seconds(self) -> float | None:
        """Running time of the last attempt; None if there was none."""
        attempt = self._last
        return None if attempt is None else attempt.usage.wall_seconds

    @property
    def cpu_seconds(self) -> float | None:
        """CPU time of the last attempt, children included; None if there was none."""
        attempt = self._last
        return None if attempt is None else attempt.usage.cpu_seconds

    @property
    def peak_rss_bytes(self) -> int | None:
        """Peak resident memory during the last attempt; None if there was none."""
        attempt = self._last
        return None if attempt is None else attempt.usage.peak_rss_bytes

    @property
    def rss_before_bytes(self) -> int | None:
        """Resident memory of the worker before the last attempt; None if there was none."""
        attempt = self._last
        return None if attempt is None else attempt.usage.rss_before_bytes

    @property
    def worker_pid(self) -> int | None:
        """The process that ran the last attempt, or None."""
        attempt = self._last
        return None if attempt is None else attempt.worker_pid

    @property
    def _last(self) -> Attempt | None:
        attempts = self.record.attempts
        return attempts[-1] if attempts else None

    def __reduce__(self) -> tuple[Any, ...]:
        # Flat: a report is large, and a dataclass with slots takes pickle several times as long.
        record = self.record
        state = (self.index, self.item, self.is_restored)
        attempts = [(tuple(one.usage), *_ATTEMPT_FIELDS(one)) for one in record.attempts]
        return _unflatten, (state, _SPEC_FIELDS(record.spec), attempts, _RECORD_FIELDS(record))

    def __repr__(self) -> str:
        runs = len(self.record.attempts)
        how = "" if self.outcome is None else f", last {self.outcome.value}"
        how += ", restored" if self.is_restored else ""
        where = f"{self.index}: job {self.job_id} ({escape_line(self.job_type)})"
        return f"<Outcome {where} {self.state.value}, {counted(runs, 'attempt')}{how}>"


_SPEC_FIELDS = attrgetter(*(field.name for field in fields(JobSpec)))
_ATTEMPT_FIELDS = attrgetter(
    "number", "outcome", "queue_wait_seconds", "worker_pid", "error", "death", "log", "output"
)
_RECORD_FIELDS = attrgetter("state", "spent", "run_at", "result", "reason", "finished_at")


def _unflatten(
    own: tuple[int, Any, bool],
    spec: tuple[Any, ...],
    attempts: list[tuple[Any, ...]],
    rest: tuple[JobState, Spent, float, bytes | None, str | None, float | None],
) -> Outcome[Any]:
    index, item, is_restored = own
    state, spent, run_at, result, reason, finished_at = rest
    record = JobRecord(
        spec=JobSpec(*spec),
        state=state,
        attempts=tuple(
            Attempt(number, outcome, Usage(*usage), *others)
            for usage, number, outcome, *others in attempts
        ),
        spent=spent,
        run_at=run_at,
        result=result,
        reason=reason,
        finished_at=finished_at,
    )
    return Outcome(index, item, record, is_restored=is_restored)


def _is_own_error(record: JobRecord) -> bool:
    reason = record.reason or ""
    special = (DeathReason.EXPIRED, DeathReason.UNKNOWN_TYPE, DeathReason.DISCARDED)
    return record.state is JobState.DEAD and not reason.startswith(special)
