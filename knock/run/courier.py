"""What was pulled goes out even while the input lets its caller wait for more."""

import threading
from collections.abc import Callable
from types import TracebackType

# Longer than a quick input takes for a bit: it is then sent in one, by the caller itself.
_HOLD_SECONDS = 0.005


class Courier:
    """A thread that calls ``send`` in each ``with courier:`` that takes its time.

    An input may wait for the effect of an item that it gave before: were that held back until the
    next one is there, both would wait for ever. ``send`` may be called late, when the block is
    over; ``close`` must be called, and waits for nothing.
    """

    def __init__(self, send: Callable[[], None]) -> None:
        self._send = send
        self._begun = threading.Event()
        self._ended = threading.Event()
        self._is_closed = False
        self._thread: threading.Thread | None = None

    def __enter__(self) -> None:
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="knock-courier", daemon=True)
            self._thread.start()
        self._ended.clear()
        self._begun.set()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        exc: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._ended.set()

    def close(self) -> None:
        """Let the thread end."""
        self._is_closed = True
        self._ended.set()
        self._begun.set()

    def _run(self) -> None:
        while not self._is_closed:
            self._begun.wait()
            self._begun.clear()
            # Once is enough: a bit ends with the first item that was waited for.
            if not self._ended.wait(_HOLD_SECONDS):
                self._send()
