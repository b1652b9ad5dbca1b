"""Every error that knock raises on purpose.

    KnockError
    ├── ConfigError                a setting is missing, of the wrong type or out of range
    ├── SerializationError         an item, a function or a result cannot be pickled
    ├── ResultDecodeError          a stored result or exception cannot be unpickled here
    ├── JobNotFoundError           no stored job has that id
    ├── ProcessorNotFoundError     no processor is registered for that job type
    ├── QueueClosedError           the queue or pool was stopped
    ├── QueueFullError             a bounded queue has no room
    ├── StorageError               the backend refused an operation
    │   └── StorageUnavailableError    ... and may accept it later: retry
    ├── JobFailedError             why a job has no value; raised where its value is asked for
    │   ├── RemoteJobError         it raised an exception that cannot be rebuilt here
    │   ├── JobTimeoutError        it ran over its time limit and was killed
    │   ├── WorkerCrashedError     it ended its worker process (signal or exit)
    │   │   └── OutOfMemoryError   ... for want of memory
    │   ├── JobLostError           the supervisor or the nursery died while it ran
    │   ├── JobCancelledError      it was cancelled
    │   ├── JobExpiredError        its expiry passed before it could start
    │   └── JobDiscardedError      it raised ``knock.Discard``
    ├── JobsFailedError            a batch has dead jobs; carries the report
    ├── SoftTimeoutError           raised *inside* a job that is over its soft limit
    ├── WorkerBootError            workers cannot start; carries their stderr
    ├── SupervisorLostError        the supervisor process died
    ├── ForkedProcessError         a queue or pool was used from a forked child
    ├── UnsupportedPlatformError   a mechanism that knock needs is missing here
    ├── ProtocolError              a peer sent bytes that are not a frame
    └── InvalidTransitionError     an impossible state change: a bug in knock

    PoolInterrupted(KeyboardInterrupt)   Ctrl-C in ``run_pool``; carries the partial report

An exception raised *by a job* is never one of these: it is data, a ``JobError`` in an ``Attempt``,
and comes back as itself where the caller asks for the value.
"""

from typing import Any


class KnockError(Exception):
    """Base of all errors that knock raises."""

    def __reduce__(self) -> tuple[Any, ...]:
        # An __init__ of its own breaks the default protocol, which calls the class with ``args``.
        return _rebuild, (type(self), self.args, self.__dict__.copy())


def _rebuild(cls: type[BaseException], args: tuple[object, ...], state: dict[str, Any]) -> object:
    error = cls.__new__(cls, *args)
    error.args = args
    error.__dict__.update(state)
    return error


class ConfigError(KnockError, ValueError):
    """A setting is missing, of the wrong type or out of range."""


class SerializationError(KnockError, TypeError):
    """Something that must cross a process border cannot be pickled.

    The message names the object and where in it the trouble is.
    """


class ResultDecodeError(KnockError):
    """A stored result or exception cannot be unpickled in this process."""


class JobNotFoundError(KnockError, LookupError):
    """No stored job has this id (it never existed, or was purged)."""

    def __init__(self, job_id: int) -> None:
        super().__init__(f"no job {job_id}")
        self.job_id = job_id


class ProcessorNotFoundError(KnockError, LookupError):
    """No processor is registered for this job type."""

    def __init__(self, job_type: str) -> None:
        super().__init__(f"no processor for job type {job_type!r}")
        self.job_type = job_type


class QueueClosedError(KnockError):
    """The queue or pool was stopped and takes nothing more."""


class QueueFullError(KnockError):
    """A bounded queue has no room."""


class StorageError(KnockError):
    """The storage refused an operation."""


class StorageUnavailableError(StorageError):
    """The storage cannot be reached now; the same call may work later."""


class JobFailedError(KnockError):
    """A job has no value. Raised where its value is asked for.

    Attributes:
        job_id: The job, or None where it has none.
        job_type: Its type.
        detail: What is known of the cause, as text; may be empty.
        log_lines: The last lines that its last attempt logged.
    """

    log_lines: tuple[str, ...] = ()

    def __init__(
        self, message: str, *, job_id: int | None = None, job_type: str = "", detail: str = ""
    ) -> None:
        super().__init__(message)
        self.job_id = job_id
        self.job_type = job_type
        self.detail = detail


class RemoteJobError(JobFailedError):
    """A job raised an exception that cannot be rebuilt in this process.

    ``detail`` is the remote traceback; ``type_name`` the exception's qualified class name.
    """

    type_name: str = ""


class JobTimeoutError(JobFailedError, TimeoutError):
    """A job ran over a time limit. ``detail`` is the stack where it was, if that could be had.

    Attributes:
        limit: Which one: ``"timeout"``, ``"soft_timeout"``, ``"stall_timeout"`` or ``"deadline"``.
    """

    limit: str = "timeout"


class WorkerCrashedError(JobFailedError):
    """A job ended its worker process. ``detail`` is the stack where it was, if there is one.

    Attributes:
        cause: How it ended, for people: ``"killed by SIGSEGV"``.
        pid: The worker process that died.
        exit_code: Its exit code (0 included), or None if a signal ended it.
        signal: The signal's number, or None.
        peak_rss_bytes: The process's peak resident memory as the kernel accounted it.
    """

    cause: str = ""
    pid: int | None = None
    exit_code: int | None = None
    signal: int | None = None
    peak_rss_bytes: int | None = None


class OutOfMemoryError(WorkerCrashedError):
    """A job's worker was killed for want of memory, or over its ``memory_limit``."""


class JobLostError(JobFailedError):
    """The supervisor or the nursery died while the job ran, too often to try again."""


class JobCancelledError(JobFailedError):
    """A job was cancelled before it had a result."""


class JobExpiredError(JobFailedError):
    """A job's expiry passed before it could start."""


class JobDiscardedError(JobFailedError):
    """A job gave itself up by raising ``knock.Discard``."""


class JobsFailedError(KnockError):
    """A batch ended with dead jobs.

    Attributes:
        report: The ``PoolReport`` with every outcome, the good ones included.
    """

    def __init__(self, message: str, report: Any = None) -> None:
        super().__init__(message)
        self.report = report


class SoftTimeoutError(KnockError):
    """Raised inside a job that has run for its ``soft_timeout``, so that it can clean up.

    A job that lets it pass ends as a timeout.
    """


class WorkerBootError(KnockError):
    """Worker processes cannot start: bad import, failing initializer, exit at boot.

    Attributes:
        detail: The worker's traceback or the tail of its stderr.
    """

    def __init__(self, message: str, detail: str = "") -> None:
        super().__init__(f"{message}\n{detail}" if detail else message)
        self.detail = detail


class SupervisorLostError(KnockError):
    """The supervisor process died; no worker of it is left."""


class ForkedProcessError(KnockError):
    """A queue or pool was used from a process forked after it was made."""


class UnsupportedPlatformError(KnockError):
    """A mechanism that knock cannot do without is missing on this platform."""


class ProtocolError(KnockError):
    """A peer sent bytes that are not a frame of this protocol."""


class InvalidTransitionError(KnockError):
    """An impossible state change was asked for: a bug in knock."""

    def __init__(self, job_id: int, state: str, trigger: str) -> None:
        super().__init__(f"job {job_id} cannot {trigger} from {state}")
        self.job_id = job_id
        self.state = state
        self.trigger = trigger


class PoolInterrupted(KeyboardInterrupt):
    """Ctrl-C ended a batch early.

    Attributes:
        report: The ``PoolReport`` of what was done until then.
    """

    def __init__(self, report: Any = None) -> None:
        super().__init__()
        self.report = report

    def __str__(self) -> str:
        return "interrupted" if self.report is None else f"interrupted: {self.report.summary()}"
