"""What was logged in workers, in their caller's log."""

import logging
import threading
import traceback
from collections.abc import Callable
from contextlib import suppress
from time import monotonic
from typing import Any, TypeVar

from knock.protocol.logline import JOB_LOGGER
from knock.supervisor.backlog import Backlog
from knock.supervisor.messages import LogEntry, Logged

T = TypeVar("T")

_logger = logging.getLogger(JOB_LOGGER)

# How long a handler of the caller's may take for one record when the end waits for it.
_STALL_SECONDS = 5.0


class JobLog:
    """Logs on a thread of its own: a handler that blocks or raises delays no job and ends nothing.

    A record is handled like one of this process, by the levels, filters and handlers of its logger;
    it has the attributes ``job_id``, ``job_type``, ``attempt`` and ``worker_pid``.
    """

    def __init__(self) -> None:
        self._backlog = Backlog()
        self._change = threading.Condition()
        self._is_closed = False
        self._handled_at = monotonic()
        self._thread = threading.Thread(target=self._run, name="knock-log", daemon=True)
        self._thread.start()

    def post(self, logged: Logged) -> None:
        """Log these later; never blocks."""
        with self._change:
            self._backlog.extend(logged.entries, logged.dropped)
            self._change.notify_all()

    def close(self) -> None:
        """Wait until all is logged, unless a handler blocks: 5 s for one record at most."""
        with self._change:
            self._is_closed = True
            self._handled_at = monotonic()
            self._change.notify_all()
        if self._thread is threading.current_thread():
            return
        while (left := self._handled_at + _STALL_SECONDS - monotonic()) > 0.0:
            self._thread.join(left)
            if not self._thread.is_alive():
                return

    def _run(self) -> None:
        while True:
            with self._change:
                self._change.wait_for(lambda: self._backlog or self._is_closed)
                if not self._backlog:
                    return
                logged = self._backlog.take()
            self._log_all(logged)

    def _log_all(self, logged: Logged) -> None:
        for entry in logged.entries:
            _call_guarded(_log, entry)
            self._handled_at = monotonic()
        if logged.dropped:
            _call_guarded(_tell_dropped, logged.dropped)


def _call_guarded(fn: Callable[[T], object], what: T) -> None:
    try:
        fn(what)
    except BaseException:  # noqa: BLE001 - a handler of the user's; the next one is not to suffer
        with suppress(Exception):  # standard error may be closed
            traceback.print_exc()


def _tell_dropped(dropped: int) -> None:
    _logger.warning("%d log lines dropped: workers logged faster than they were handled", dropped)


def _log(entry: LogEntry) -> None:
    line = entry.line
    origin = line.origin
    logger = _logger_of(origin.name)
    if not logger.isEnabledFor(line.level):
        return
    message: str = line.text
    args: tuple[Any, ...] = ()
    if origin.name == JOB_LOGGER:
        message, args = "job %s (%s): %s", (entry.job_id, entry.job_type, line.text)
    record = logger.makeRecord(
        origin.name,
        line.level,
        origin.pathname,
        origin.lineno,
        message,
        args,
        None,
        origin.function or None,
    )
    facts = vars(record)
    # It is not of this moment, nor of this process and thread.
    facts["relativeCreated"] += (line.at - record.created) * 1000.0
    facts.update(
        created=line.at,
        msecs=line.at % 1.0 * 1000.0,
        process=entry.worker_pid,
        processName="knock-worker",
        thread=None,
        threadName=origin.thread,
        taskName=None,
        worker_pid=entry.worker_pid,
        job_id=entry.job_id,
        job_type=entry.job_type,
        attempt=entry.attempt,
    )
    logger.handle(record)


def _logger_of(name: str) -> logging.Logger:
    """Return the logger that decides for this name.

    None is made: the names that jobs make up would be kept for ever.
    """
    found = logging.root.manager.loggerDict
    while name:
        logger = found.get(name)
        if isinstance(logger, logging.Logger):
            return logger
        name = name.rpartition(".")[0]
    return logging.root
