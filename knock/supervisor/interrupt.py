"""Ctrl-C in a caller: at once in the user's code, never in the middle of knock's own."""

import signal
import threading
from collections.abc import Callable
from types import FrameType, TracebackType
from typing import Any, Self

_Handler = Callable[[int, FrameType | None], Any] | int | None


def _is_of_a_shield(handler: _Handler) -> bool:
    return isinstance(getattr(handler, "__self__", None), Shield)


class Shield:
    """Inside ``with shield.closed():`` Ctrl-C waits until that ends; elsewhere it raises as ever.

    ``with Shield() as shield:`` goes around the whole. Does nothing outside of the main thread,
    where no signal lands, nor where the user has a handler of his own. Another shield's is none:
    its batch may be pulling the input by this one, or have been left in the middle of ``__exit__``.
    """

    def __init__(self) -> None:
        self._depth = 0
        self._is_pending = False
        self._before: _Handler = None

    def __enter__(self) -> Self:
        before = signal.getsignal(signal.SIGINT)
        is_main = threading.current_thread() is threading.main_thread()
        if is_main and (before is signal.default_int_handler or _is_of_a_shield(before)):
            self._before = before
            signal.signal(signal.SIGINT, self._interrupted)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        exc: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._before is not None:
            signal.signal(signal.SIGINT, self._before)
            self._before = None

    def _interrupted(self, _number: int, _frame: FrameType | None) -> None:
        if self._depth:
            self._is_pending = True
        else:
            raise KeyboardInterrupt

    def closed(self) -> "_Closed":
        """Return a context in which Ctrl-C waits."""
        return _Closed(self)

    def close(self) -> None:
        """Let Ctrl-C wait from here on."""
        self._depth += 1

    def open(self) -> None:
        """Let it through again, and raise what has waited."""
        self._depth -= 1
        if not self._depth and self._is_pending:
            self._is_pending = False
            raise KeyboardInterrupt


class _Closed:
    __slots__ = ("_shield",)

    def __init__(self, shield: Shield) -> None:
        self._shield = shield

    def __enter__(self) -> None:
        self._shield.close()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        exc: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._shield.open()
