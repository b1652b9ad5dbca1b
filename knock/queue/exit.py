"""What a queue does when the interpreter ends, or nobody holds it any more."""

import logging
import os
from typing import Protocol
from weakref import finalize

from knock.errors import KnockError
from knock.queue.desk import Desk, StorageDesk
from knock.queue.handlers import Handlers
from knock.storage.memory import InMemoryStorage

logger = logging.getLogger("knock.queue")

# Whoever waits longer than this at the end of a program wants to know for what.
PATIENCE_SECONDS = 5.0


class Leftovers:
    """Knows of jobs that are lost with a queue in memory: it was never started, or stopped early.

    Refers to the queue's ``desk``, not to the queue.
    """

    def __init__(self, desk: Desk) -> None:
        self.desk = desk
        self._pid = os.getpid()

    def warn(self) -> None:
        """Log the number of jobs, if there are any."""
        desk = self.desk
        # What a forked child has is a copy.
        if os.getpid() != self._pid or not isinstance(desk, StorageDesk):
            return
        if isinstance(desk.storage, InMemoryStorage) and (waiting := desk.waiting()):
            logger.warning("%d jobs were not run: %s", waiting, desk.why)


def tidy_up_after(queue: object, leftovers: Leftovers, handlers: Handlers) -> None:
    """Warn of what is left when nobody holds the queue any more, or else at exit."""
    finalize(queue, leftovers.warn)
    finalize(queue, handlers.close, 0.0)


class Drainable(Protocol):
    """What ``drain`` needs of a queue."""

    @property
    def is_paused(self) -> bool:
        """Whether no job starts."""

    def join(self, timeout: float | None = None) -> None:
        """Wait until no job waits or runs."""

    def stop(self, timeout: float | None = None) -> None:
        """End the workers."""


def drain(queue: Drainable) -> None:
    """Do what is queued, then stop. Ctrl-C stops at once; a paused queue starts nothing more."""
    try:
        if not queue.is_paused:
            _join_with_patience(queue)
        queue.stop()
    except KeyboardInterrupt:
        queue.stop(timeout=0.0)
    except KnockError as exc:
        # It has been logged where it came up, with its details.
        logger.warning("a queue could not be drained at exit: %s", type(exc).__name__)
        queue.stop(timeout=0.0)


def _join_with_patience(queue: Drainable) -> None:
    try:
        queue.join(PATIENCE_SECONDS)
    except TimeoutError:
        logger.warning("waiting for queued jobs before exit; Ctrl-C leaves them")
        queue.join()
