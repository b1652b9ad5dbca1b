"""The caller's side of a mailbox: replies find those who wait, the rest waits to be taken."""

import itertools
import threading
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any

from knock.errors import QueueClosedError
from knock.supervisor.backlog import Backlog
from knock.supervisor.messages import Ended, Failed, Finished, Logged, Outbound, Reply


class _Waiter:
    __slots__ = ("error", "event", "value")

    def __init__(self) -> None:
        self.event = threading.Event()
        self.value: Any = None
        self.error: Exception | None = None


class Reception:
    """Used by any number of waiting threads, and one that delivers.

    ``failure`` is why nothing will come any more, once that is so.
    """

    def __init__(self) -> None:
        self._requests = itertools.count(1)
        self._waiters: dict[int, _Waiter] = {}
        self._inbox: deque[Outbound] = deque()
        self._arrival = threading.Condition()
        self._log = Backlog()
        self.failure: Exception | None = None
        self.ended: Ended | None = None

    # --- the delivering side ---

    def deliver(self, messages: Iterable[Outbound]) -> None:
        """Take messages in; never blocks for longer than a lock is held."""
        with self._arrival:
            for message in messages:
                if isinstance(message, Reply):
                    self._reply(message)
                elif isinstance(message, Logged):
                    self._log.extend(message.entries, message.dropped)
                else:
                    self._inbox.append(message)
                if isinstance(message, Failed):
                    self._fail(message.error)
                elif isinstance(message, Ended):
                    self.ended = message
                    self._dismiss(QueueClosedError("the supervisor has stopped"))
            self._arrival.notify_all()

    def fail(self, error: Exception) -> None:
        """Tell everybody who waits, now or later, that nothing will come."""
        with self._arrival:
            if self.failure is None:
                self._inbox.append(Failed(error))
                self._fail(error)
            self._arrival.notify_all()

    def _fail(self, error: Exception) -> None:
        self.failure = error
        self._dismiss(error)

    def _dismiss(self, error: Exception) -> None:
        # A copy: somebody may be about to add himself, who then looks for the failure.
        for waiter in list(self._waiters.values()):
            if not waiter.event.is_set():
                waiter.error = error
                waiter.event.set()

    def _reply(self, reply: Reply) -> None:
        waiter = self._waiters.pop(reply.request, None)
        if waiter is not None:
            waiter.value, waiter.error = reply.value, reply.error
            waiter.event.set()

    # --- the waiting side ---

    def check(self) -> None:
        """Raise why nothing will come any more, if that is so."""
        if self.failure is not None:
            raise self.failure.with_traceback(None)
        if self.ended is not None:
            raise QueueClosedError("the supervisor has stopped")

    def ask(
        self,
        post: Callable[[int], None],
        timeout: float | None,
        give_up: Callable[[int], None] | None = None,
    ) -> Any:
        """Post a request under a fresh number and wait for its reply.

        Raises the reply's error; ``TimeoutError`` after ``timeout`` seconds, ``give_up`` having
        been called with the number.
        """
        request, waiter = next(self._requests), _Waiter()
        self._waiters[request] = waiter
        try:
            self.check()
            post(request)
            is_answered = waiter.event.wait(timeout)
        except BaseException:
            self._waiters.pop(request, None)
            raise
        if not is_answered:
            self._waiters.pop(request, None)
            if give_up is not None:
                give_up(request)
            raise TimeoutError(f"no answer within {timeout} s")
        self._waiters.pop(request, None)
        if waiter.error is not None:
            # One error may be for many: none shall see the others' tracebacks.
            raise waiter.error.with_traceback(None)
        return waiter.value

    def wait(self, timeout: float | None) -> bool:
        """Wait until ``receive`` has something to return; False if the time ran out."""
        with self._arrival:
            return self._arrival.wait_for(self._has_come, timeout)

    def _has_come(self) -> bool:
        return bool(self._inbox or self._log)

    def receive(self, timeout: float | None) -> list[Outbound]:
        """Return what has come since the last call; wait for something up to ``timeout`` seconds.

        An empty list when the time ran out. Of what comes, ``Ended`` or ``Failed`` is the last, and
        what was logged the first.
        """
        with self._arrival:
            if not self._arrival.wait_for(self._has_come, timeout):
                return []
            messages = [*([self._log.take()] if self._log else ()), *self._inbox]
            self._inbox.clear()
        return messages


def count_records(messages: Iterable[Outbound]) -> int:
    """Count the finished jobs in these messages."""
    return sum(len(m.records) for m in messages if isinstance(m, Finished))
