"""Signals for as long as ``Queue.run`` runs."""

import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from knock.queue.session import Session

SIGNALS = frozenset({signal.SIGTERM, signal.SIGINT})
_OVER = 0  # the number of no signal


def serve(session: Session, stop_timeout: float | None) -> None:
    """Return when the session is over: SIGTERM and SIGINT stop it, a second one kills.

    In another than the main thread signals do what they did before.
    """
    if threading.current_thread() is not threading.main_thread():
        session.wait_over()
        return
    reader, writer = socket.socketpair()
    writer.setblocking(False)
    with reader, writer, _signals_to(writer):
        session.call_when_over(lambda: _tell_over(writer))
        timeout = stop_timeout
        while (number := reader.recv(1)[0]) != _OVER:
            if number in SIGNALS:
                session.order_stop(timeout)
                timeout = 0.0


def _tell_over(writer: socket.socket) -> None:
    try:
        writer.send(bytes([_OVER]))
    except OSError:
        pass  # nobody waits any more


@contextmanager
def _signals_to(writer: socket.socket) -> Iterator[None]:
    # The kernel may hand a signal to any thread. Then a wait on a lock in the main thread sleeps
    # on, but the number is in the wake-up descriptor at once.
    before = {number: signal.getsignal(number) for number in SIGNALS}
    # None: set by C code. It could not be put back, so it stays.
    ours = [number for number, handler in before.items() if handler is not None]
    wakeup = signal.set_wakeup_fd(writer.fileno(), warn_on_full_buffer=False)
    try:
        for number in ours:
            signal.signal(number, _do_nothing)
        yield
    finally:
        for number in ours:
            signal.signal(number, before[number])
        signal.set_wakeup_fd(wakeup)


def _do_nothing(_number: int, _frame: FrameType | None) -> None:
    pass
