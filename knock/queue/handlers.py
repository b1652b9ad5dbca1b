"""The caller's event handlers, on a thread of their own."""

import logging
import queue
import threading
from collections.abc import Callable, Iterable
from time import monotonic

from knock.supervisor.messages import QueueEvent

logger = logging.getLogger("knock.queue")

EventHandler = Callable[[QueueEvent], object]

# Bounds what a handler that blocks can pile up in the caller's memory.
MAX_WAITING = 100_000
# A handler that takes longer is named in the log.
SLOW_SECONDS = 5.0


class Handlers:
    """Calls handlers one event after the other; one that raises or blocks is logged.

    Nobody waits for a handler: events wait for it, and those beyond ``MAX_WAITING`` are dropped.
    """

    def __init__(self) -> None:
        self._handlers: dict[str, list[EventHandler]] = {}
        self._waiting: queue.SimpleQueue[QueueEvent | threading.Event] | None = None
        self._lock = threading.Lock()
        self._dropped = 0
        self._running: tuple[str, float, int] | None = None

    def add(self, name: str, handler: EventHandler) -> None:
        """Call ``handler`` with each event of that name from now on."""
        with self._lock:
            # A new list: the thread may be going through the old one.
            self._handlers = {**self._handlers, name: [*self._handlers.get(name, ()), handler]}
        self.open()

    def open(self) -> None:
        """Start the thread, if there is something to do for one."""
        with self._lock:
            if self._handlers and self._waiting is None:
                self._waiting = queue.SimpleQueue()
                threading.Thread(
                    target=self._run, args=(self._waiting,), name="knock-events", daemon=True
                ).start()

    def close(self, timeout: float) -> bool:
        """End the thread when it has handled what was posted; False if the time ran out."""
        with self._lock:
            waiting, self._waiting = self._waiting, None
        if waiting is None:
            return True
        last = threading.Event()
        waiting.put(last)
        running = self._running
        # A handler may stop the queue: that thread cannot wait for itself.
        is_own = running is not None and running[2] == threading.get_ident()
        return is_own or last.wait(timeout)

    @property
    def names(self) -> frozenset[str]:
        """The events that somebody wants to hear of."""
        return frozenset(self._handlers)

    @property
    def is_busy(self) -> bool:
        """Whether a handler runs."""
        return self._running is not None

    def post(self, events: Iterable[QueueEvent]) -> None:
        """Hand over events; never blocks."""
        waiting = self._waiting
        if waiting is None:
            return
        for event in events:
            if event.name not in self._handlers:
                continue
            if waiting.qsize() >= MAX_WAITING:
                self._drop()
            else:
                waiting.put(event)

    def _drop(self) -> None:
        if self._dropped == 0:
            logger.warning("handlers are too slow: %d events wait, more are dropped", MAX_WAITING)
        self._dropped += 1

    def warn_if_slow(self) -> None:
        """Log a handler that blocks."""
        running = self._running
        if running is not None and monotonic() - running[1] >= SLOW_SECONDS:
            logger.warning("a handler of %r still runs after %.0f s", running[0], SLOW_SECONDS)

    def _run(self, waiting: queue.SimpleQueue[QueueEvent | threading.Event]) -> None:
        while True:
            event = waiting.get()
            if isinstance(event, threading.Event):
                event.set()
                return
            for handler in self._handlers.get(event.name, ()):
                self._call(handler, event)

    def _call(self, handler: EventHandler, event: QueueEvent) -> None:
        self._running = (event.name, monotonic(), threading.get_ident())
        try:
            handler(event)
        except BaseException:  # user code; the next event is not to suffer
            logger.exception("a handler of %r failed", event.name)
        finally:
            self._running = None
