"""How a caller talks to its supervisor, wherever that runs."""

import os
import weakref
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Literal, Protocol

from knock.core.job import JobRecord
from knock.errors import ConfigError, ForkedProcessError, KnockError, QueueClosedError
from knock.storage.base import Storage
from knock.supervisor.messages import (
    Call,
    Cancel,
    Consumed,
    Inbound,
    Outbound,
    Unwatch,
    Watch,
    WatchIdle,
)
from knock.supervisor.options import SupervisorOptions
from knock.supervisor.reception import Reception, count_records

Place = Literal["process", "thread"]


class Line(Protocol):
    """The way of one client's messages to its supervisor."""

    def post(self, message: Inbound) -> None:
        """Send a message; blocks while too many wait."""

    def cut(self) -> None:
        """Let the supervisor kill its workers and end. Does not wait for it."""

    def close(self) -> None:
        """As ``cut``, and wait until it has ended."""


class SupervisorClient:
    """One supervisor's caller. All methods may be called from any thread.

    A supervisor whose client nobody holds any more ends, as if its line had been cut.

    Every method raises ``ForkedProcessError`` in a forked child, and, when the supervisor is
    gone, what it failed with: ``SupervisorLostError`` if its process died, ``WorkerBootError`` if
    no worker can boot, ``QueueClosedError`` if it was stopped.
    """

    def __init__(
        self, reception: Reception, line: Line, *, is_bounded: bool, pid: int | None = None
    ) -> None:
        self._reception = reception
        self._line = line
        self._is_bounded = is_bounded
        self._owner = os.getpid()
        self.pid = pid
        self._finalizer = weakref.finalize(self, _cut, line, self._owner)
        # At exit the process takes all of it along.
        self._finalizer.atexit = False

    def post(self, message: Inbound) -> None:
        """Send a message; blocks while 10,000 jobs wait to be taken by the supervisor."""
        self._check_owner()
        self._reception.check()
        self._line.post(message)

    def _check_owner(self) -> None:
        # What would answer a forked child is in its parent: it would wait for ever. Before any lock
        # is taken: in a forked child nobody may be left to release it.
        if os.getpid() != self._owner:
            raise ForkedProcessError("a supervisor belongs to the process that started it")

    def call(self, verb: str, *args: Any, timeout: float | None = None, **kwargs: Any) -> Any:
        """Ask for something now; see ``messages.Call``. ``TimeoutError`` if no answer comes."""
        return self._ask(lambda request: Call(request, verb, args, kwargs), timeout)

    def enqueue(self, message: Callable[[int], Inbound], timeout: float | None = None) -> Any:
        """Post an ``Enqueue`` made with a request number and return its reply."""
        return self._ask(message, timeout)

    def watch(self, job_id: int, timeout: float | None = None) -> JobRecord:
        """Wait until the job is in a final state. ``TimeoutError`` only if the wait ran out."""
        record: JobRecord = self._ask(lambda request: Watch(request, job_id), timeout)
        return record

    def cancel(self, job_id: int) -> bool:
        """End the job and wait until it has ended; False if not this has ended it."""
        is_cancelled: bool = self._ask(lambda request: Cancel(request, job_id), None)
        return is_cancelled

    def wait_idle(self, timeout: float | None = None) -> None:
        """Wait until no job is queued or processing. ``TimeoutError`` if the wait ran out."""
        self._ask(WatchIdle, timeout)

    def _ask(self, message: Callable[[int], Inbound], timeout: float | None) -> Any:
        return self._reception.ask(
            lambda request: self.post(message(request)),
            timeout,
            lambda request: self.post(Unwatch(request)),
        )

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until ``receive`` has something to return; False if the time ran out."""
        self._check_owner()
        return self._reception.wait(timeout)

    def receive(self, timeout: float | None = None) -> list[Outbound]:
        """Return what came unasked: ``Finished``, ``Events``, ``Logged``, ... in order.

        Waits for something up to ``timeout`` seconds (None: for ever), then returns an empty list.
        ``Ended`` or ``Failed`` is the last that comes.
        """
        self._check_owner()
        messages = self._reception.receive(timeout)
        if self._is_bounded:
            self._consumed(count_records(messages))
        return messages

    def _consumed(self, records: int) -> None:
        if records:
            # If it has ended by now, nobody counts any more; what was received counts all the same.
            with suppress(KnockError):
                self._line.post(Consumed(records))

    @property
    def failure(self) -> Exception | None:
        """Why the supervisor is gone, if it failed."""
        return self._reception.failure

    def close(self) -> None:
        """End the supervisor now, killing what runs, and wait until nothing of it is left.

        Idempotent; after ``Ended`` it only tidies up.
        """
        if os.getpid() == self._owner:
            self._finalizer.detach()
            self._line.close()
            self._reception.fail(QueueClosedError("the supervisor was closed"))


def _cut(line: Line, owner: int) -> None:
    if os.getpid() == owner:
        line.cut()


def check_place(place: str) -> Place:
    """Return where the supervisor shall run. Raises ``ConfigError`` for anything else."""
    if place in ("process", "thread"):
        return place  # type: ignore[return-value]  # narrowed by the line above
    raise ConfigError(f"supervisor must be 'process' or 'thread', not {place!r}")


class Starter(Protocol):
    """Starts a supervisor in one kind of place."""

    def __call__(self, options: SupervisorOptions, storage: Storage) -> SupervisorClient:
        """Start it and return its client."""
