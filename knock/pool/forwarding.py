"""What is logged in a worker goes to its caller's log.

Only text is sent: neither the record nor its arguments need to survive pickling.
"""

import logging
from collections.abc import Iterable
from typing import Protocol

from knock.pool.failure import format_exception
from knock.protocol.logline import Origin, join_text

# Never freed: a stream that is, writes what its buffer held at the fork into the caller's file.
_forgotten: list[logging.Handler] = []


class RecordLink(Protocol):
    """The part of a worker's link that sends records."""

    def forward(self, level: int, text: str, origin: Origin) -> None:
        """Send a record as one of the job that runs now, if one does.

        Does nothing in a process that a job has forked.
        """


class ForwardingHandler(logging.Handler):
    """Sends records home. What user code does in a message is never an error of the job's."""

    def __init__(self, link: RecordLink) -> None:
        super().__init__()
        self._link = link

    def handle(self, record: logging.LogRecord) -> bool:
        """See ``logging.Handler``.

        Without its lock: a signal handler that logs while its thread is in the link would wait for
        a thread that holds it and waits for the link. The link has a lock of its own.
        """
        found: bool | logging.LogRecord = self.filter(record)
        if found:
            # From Python 3.12 on a filter may put another record in its place.
            self.emit(found if isinstance(found, logging.LogRecord) else record)
        return bool(found)

    def emit(self, record: logging.LogRecord) -> None:
        """Send one record."""
        try:
            text = _text_of(record)
            origin = Origin(
                str(record.name),
                str(record.pathname),
                int(record.lineno or 0),
                str(record.funcName or ""),
                str(record.threadName or ""),
            )
            level = int(record.levelno)
        except Exception as exc:  # noqa: BLE001 - user code, or a record made by hand
            text, origin, level = _unfit(record, exc), Origin("root"), logging.ERROR
        self._link.forward(level, text, origin)


def _text_of(record: logging.LogRecord) -> str:
    try:
        message = record.getMessage()
    except Exception as exc:  # noqa: BLE001 - user code
        message = _unfit(record, exc)
    more = []
    if record.exc_info and record.exc_info[1] is not None:
        more.append(format_exception(record.exc_info[1]).rstrip("\n"))
    elif record.exc_text:
        more.append(record.exc_text)
    if record.stack_info:
        more.append(record.stack_info)
    return join_text(message, *more) if more else message


def _unfit(record: logging.LogRecord, exc: Exception) -> str:
    template = f"{record.msg!r}" if type(record.msg) is str else f"of a {type(record.msg).__name__}"
    return f"<a message that cannot be formatted: {template}: {type(exc).__name__}>"


def take_over_logging(link: RecordLink, levels: Iterable[tuple[str, int]]) -> None:
    """Let this process log to its caller only, and no more than that lets through.

    Handlers that were forked along would write to the caller's files and sockets a second time,
    with buffers and offsets of their own: the caller's handlers get the record there. What the
    initializer sets up from here on stays.
    """
    handler = ForwardingHandler(link)
    for logger in (logging.root, *logging.root.manager.loggerDict.values()):
        if isinstance(logger, logging.Logger) and logger.handlers:
            _forgotten.extend(logger.handlers)
            # Of its own, since nothing of it comes to the root's.
            logger.handlers = [] if logger.propagate else [handler]
    logging.root.handlers = [handler]
    for name, level in levels:
        logging.getLogger(name or None).setLevel(level)


def levels_here() -> tuple[tuple[str, int], ...]:
    """Return what this process lets its loggers say: the root, and all that have a level."""
    least = logging.root.manager.disable + 1
    levels = {"": logging.root.level or 1}
    for name, logger in list(logging.root.manager.loggerDict.items()):
        if isinstance(logger, logging.Logger) and logger.level:
            levels[name] = logger.level
    return tuple((name, max(level, least)) for name, level in levels.items())
