"""Signals for as long as ``Queue.run`` runs."""

import queue
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from knock.queue.session import Session

SIGNALS = (signal.SIGTERM, signal.SIGINT)


@contextmanager
def signals_to(inbox: queue.SimpleQueue[int | None]) -> Iterator[None]:
    """Put the number of each SIGTERM and SIGINT into ``inbox`` instead of what it did before.

    Only in the main thread, where Python takes signals; elsewhere nothing changes.
    """

    # ``SimpleQueue.put`` is safe in a handler that interrupts a ``get`` of the same thread;
    # an ``Event`` or a ``Condition`` is not.
    def note(number: int, _frame: FrameType | None) -> None:
        inbox.put(number)

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in SIGNALS}
    # None: set by C code. It could not be put back, so it stays.
    ours = [number for number, handler in before.items() if handler is not None]
    try:
        for number in ours:
            signal.signal(number, note)
        yield
    finally:
        for number in ours:
            signal.signal(number, before[number])


def serve(session: Session, stop_timeout: float | None) -> None:
    """Return when the session is over: SIGTERM and SIGINT stop it, a second one kills."""
    inbox: queue.SimpleQueue[int | None] = queue.SimpleQueue()
    session.call_when_over(lambda: inbox.put(None))
    with signals_to(inbox):
        timeout = stop_timeout
        while inbox.get() is not None:
            session.order_stop(timeout)
            timeout = 0.0
