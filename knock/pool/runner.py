"""Runs jobs one after the other, and comes back from each with exactly one answer."""

import _thread
import importlib
import pickle
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import CoroutineType
from typing import Any, NoReturn, Protocol

from knock.core.job import AttemptOutcome
from knock.errors import ProcessorNotFoundError, SerializationError, SoftTimeoutError
from knock.pool.bounds import Bounds
from knock.pool.capture import Capture
from knock.pool.control import Discard, RetryLater
from knock.pool.culprit import type_name
from knock.pool.definition import Limits, Processor, Style, dump_result, load_definitions
from knock.pool.failure import describe_exception, format_exception
from knock.pool.job import DESK
from knock.pool.ledger import LedgerWriter, Phase
from knock.pool.leftovers import Leftovers
from knock.pool.link import WorkerLink, leave
from knock.pool.numeric import Numeric
from knock.pool.tidy import Tidy
from knock.pool.usage import UsageMeter
from knock.protocol.attempt import MAX_LEFTOVERS, Measured, encode_failure, encode_result
from knock.protocol.frame import MAX_BODY_BYTES
from knock.protocol.message import Handed

# Room for the numbers beside the value.
MAX_RESULT_BYTES = MAX_BODY_BYTES - 1024

# Taken at import: a job may put its own functions in their place.
_loads = pickle.loads
# Of all threads that Python code has started, in whatever way.
_count_threads = _thread._count


class Thorough(Protocol):
    """See ``knock.pool.thorough``."""

    def restore(self) -> list[str]:
        """Put everything back; return what could not be, as something that a job did."""


class Runner:
    """The jobs' side of a worker."""

    def __init__(self, ledger: LedgerWriter) -> None:
        self._ledger = ledger
        self._meter = UsageMeter()
        self._bounds = Bounds()
        self._leftovers = Leftovers()
        self._tidy = Tidy()
        self._numeric = Numeric()
        self._thorough: Thorough | None = None
        self._thread_count = 0
        self._is_used = False
        self._processors: dict[str, Processor] = {}
        self._broken_definitions = ""
        self.capture: Capture | None = None

    def define(self, blob: bytes) -> None:
        """Load the first definitions and run the initializer. Raises whatever these raise."""
        with _naming("while a worker loaded the functions and the initializer of its pool"):
            definitions = load_definitions(blob)
        self._processors |= definitions.processors
        if definitions.initializer is not None:
            with _naming("raised by the initializer, called with initargs"):
                definitions.initializer(*definitions.initargs)

    def define_more(self, blob: bytes) -> None:
        """Load later definitions. What fails here fails again, with a job, where it is missed."""
        try:
            self.define(blob)
        except BaseException as exc:  # noqa: BLE001 - user code
            self._broken_definitions = format_exception(exc)

    def settle(self, isolation: str, capped: Sequence[str]) -> None:
        """Booted: what is there now stays, or comes back, as far as ``isolation`` says.

        ``capped``: see ``Numeric``.
        """
        self._numeric = Numeric(capped)
        if isolation == "restore":
            # Not imported for those who do not ask: it takes milliseconds.
            self._thorough = importlib.import_module("knock.pool.thorough").Thorough()
        self._leftovers = Leftovers()
        self._tidy = Tidy()
        self._bounds.settle()

    def run(self, link: WorkerLink) -> None:
        """Run jobs until the supervisor wants no more."""
        self._bounds.defers = link.defers
        while True:
            handed = link.next_job(self._why_unfit)
            if handed is None:
                return
            self._run_one(handed, link)
            self._is_used = True

    def _why_unfit(self, handed: Handed) -> str:
        """Why another process should run this job; empty if this one may."""
        processor = self._processors.get(handed.type)
        # A fresh one would be no smaller than a fresh one.
        if processor is None or not self._is_used or not self._bounds.is_outgrown(processor.limits):
            return ""
        return "jobs left too much memory for a memory_limit"

    def _run_one(self, handed: Handed, link: WorkerLink) -> None:
        ledger = self._ledger
        # By this start the supervisor warns, so the worker must not know of a later one.
        started_ns = ledger.load(handed.ticket)
        self._thread_count = _count_threads()
        self._meter.begin()
        try:
            data = self._attempt(handed, link, started_ns)
        except BaseException as exc:  # noqa: BLE001 - user code; SystemExit is a failure too
            if link.is_cut_off:
                _leave_forked(exc)
            self._tidy.calm()
            buffers = self._failed(handed, exc, self._measured())
            if handed.is_guarded:
                link.suspend(handed.type)
        else:
            buffers = encode_result(handed.ticket, self._measured(), data)
        if self.capture is not None:
            self.capture.end(handed.ticket)
        DESK.clear()
        ledger.phase(Phase.SENDING)
        link.finish(buffers)
        ledger.idle()
        failures = self._tidy.restore()
        if self._thorough is not None:
            self._make_good(self._thorough, failures, link)

    def _make_good(self, thorough: Thorough, failures: Sequence[str], link: WorkerLink) -> None:
        """Put the rest back too, and ask for another process where that cannot be done."""
        done = [*failures, *thorough.restore()]
        if self._leftovers.is_beaten:
            done.append("left a process that does not end")
        if done:
            link.worn(f"a job {' and '.join(done)}")

    def _measured(self) -> Measured:
        """End the attempt: what it has started and left is no part of the next one."""
        threads = _count_threads() - self._thread_count
        processes = self._leftovers.sweep()
        return self._meter.end(min(processes, MAX_LEFTOVERS), min(max(0, threads), MAX_LEFTOVERS))

    def _attempt(self, handed: Handed, link: WorkerLink, started_ns: int) -> bytes:
        processor = self._processors.get(handed.type)
        if processor is None:
            raise _Unfit(ProcessorNotFoundError(handed.type))
        data = self._load(handed)
        DESK.lay_out(handed, data)
        self._ledger.phase(Phase.RUNNING)
        if processor.limits.threads > 1:
            with self._numeric.widened(processor.limits.threads):
                return self._bounded(handed, link, processor, data, started_ns)
        return self._bounded(handed, link, processor, data, started_ns)

    def _bounded(
        self, handed: Handed, link: WorkerLink, processor: Processor, data: Any, started_ns: int
    ) -> bytes:
        limits = processor.limits
        if limits.is_held:
            with self._bounds.held(limits, started_ns):
                value = _call(processor, data)
                if not link.is_cut_off:
                    return self._pack(value, handed, limits)
        else:
            value = _call(processor, data)
        if link.is_cut_off:
            _leave_forked(None)
        return self._pack(value, handed, limits)

    def _pack(self, value: Any, handed: Handed, limits: Limits) -> bytes:
        self._ledger.phase(Phase.PICKLING)
        data = _dump(value, handed, limits.max_result_bytes)
        # Last, so that a signal that comes yet is the job's own affair.
        self._tidy.stop_timers()
        return data

    def _load(self, handed: Handed) -> Any:
        try:
            return _loads(handed.payload)
        except MemoryError:
            raise
        except BaseException as exc:
            what = f"cannot unpickle the data of job {handed.id}"
            error = SerializationError(f"{what}: {type(exc).__name__}: {exc}")
            error.__cause__ = exc
            raise _Unfit(error, self._broken_definitions) from exc

    def _failed(self, handed: Handed, exc: BaseException, measured: Measured) -> list[bytes]:
        self._ledger.phase(Phase.PICKLING)
        note, retryable = "", False
        outcome = _outcome_of(exc)
        if isinstance(exc, _Unfit):
            note, exc = exc.note, exc.error
        elif outcome is not AttemptOutcome.ERROR:
            # As if it had been killed: that has a budget, whatever is worth a retry else.
            retryable = True
        else:
            retryable, note = _is_retryable(self._processors[handed.type], exc)
        error = describe_exception(exc, note)
        return encode_failure(
            handed.ticket,
            measured,
            error,
            outcome=outcome,
            retryable=retryable,
            retry_after=exc.delay if isinstance(exc, RetryLater) else None,
            discard=exc.reason if isinstance(exc, Discard) else None,
        )


@contextmanager
def _naming(what: str) -> Iterator[None]:
    """Note on an exception what it came from: its traceback is all that the caller sees."""
    try:
        yield
    except BaseException as exc:
        exc.add_note(f"knock: {what}")
        raise


class _Unfit(Exception):  # noqa: N818 - never leaves this module
    """The job cannot be run here, or its result not sent; another attempt would be the same."""

    def __init__(self, error: Exception, note: str = "") -> None:
        super().__init__(error)
        self.error = error
        self.note = note


def _leave_forked(exc: BaseException | None) -> NoReturn:
    """End a process that a job has forked and that came back from the job: it has no place here.

    It ends as a script would: whoever forked it may wait for its exit code.
    """
    if isinstance(exc, SystemExit) and (exc.code is None or isinstance(exc.code, int)):
        leave((exc.code or 0) & 0xFF)
    if exc is None:
        leave(0)
    traceback.print_exception(exc)
    leave(1)


def _call(processor: Processor, data: Any) -> Any:
    style = processor.style
    if style is Style.ITEM:
        value = processor.fn(data)
    elif style is Style.CALL:
        value = processor.fn(*data)
    else:
        value = processor.fn(DESK.job())
    if type(value) is CoroutineType:
        # Not imported for those who do not need it: that takes as long as starting a worker.
        return importlib.import_module("asyncio").run(value)
    return value


def _outcome_of(exc: BaseException) -> AttemptOutcome:
    if isinstance(exc, SoftTimeoutError):
        return AttemptOutcome.TIMEOUT
    if isinstance(exc, MemoryError):
        return AttemptOutcome.OUT_OF_MEMORY
    return AttemptOutcome.ERROR


def _dump(value: Any, handed: Handed, limit: int | None) -> bytes:
    what = f"the result of {handed.type!r}"
    try:
        data = dump_result(value, what)
    except SerializationError as exc:
        raise _Unfit(exc) from exc
    except (SoftTimeoutError, MemoryError):
        raise
    except BaseException as exc:
        error = SerializationError(f"cannot pickle {what}: {type_name(value)} raised {exc!r}")
        raise _Unfit(error) from exc
    size = len(data)
    if limit is not None and size > limit:
        text = f"{what} has {size} bytes, more than max_result_bytes={limit}"
        raise _Unfit(SerializationError(text))
    if size > MAX_RESULT_BYTES:
        raise _Unfit(SerializationError(f"{what} has {size} bytes, too many to send"))
    return data


def _is_retryable(processor: Processor, exc: BaseException) -> tuple[bool, str]:
    """Whether another attempt is worth it, and a note for the traceback."""
    retry_on = processor.retry_on
    if retry_on is None or isinstance(exc, RetryLater):
        return True, ""
    try:
        if isinstance(retry_on, tuple):
            return isinstance(exc, retry_on), ""
        return bool(retry_on(exc)), ""
    except BaseException as failure:  # noqa: BLE001 - user code
        return True, f"\nretry_on itself failed:\n{format_exception(failure)}"
