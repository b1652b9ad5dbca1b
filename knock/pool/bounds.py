"""Limits that a job meets from inside, in its worker: a warning, and no more memory.

Both are exceptions in the job, so that it can clean up. What a job can put off or catch is backed
by the supervisor, which kills it.
"""

import resource
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import monotonic_ns

from knock.errors import SoftTimeoutError
from knock.pool.definition import Limits
from knock.pool.signals import SOFT_SIGNAL

_PAGE_BYTES = resource.getpagesize()
# Taken at import: a job may put its own functions in their place.
_getrlimit, _setrlimit = resource.getrlimit, resource.setrlimit


class Bounds:
    """Holds one job after the other to its limits. Made on the main thread of the worker.

    ``defers`` says of a signal whether this is no moment for its handler to raise: it comes again.
    """

    def __init__(self) -> None:
        self.defers: Callable[[int], bool] = lambda _: False
        self._baseline: int | None = None
        self._warn_ns: int | None = None
        self._soft_timeout = 0.0
        signal.signal(SOFT_SIGNAL, self._on_warning)

    def settle(self) -> None:
        """Booted: what is resident now every job finds."""
        self._baseline = _resident()

    def is_outgrown(self, limits: Limits) -> bool:
        """Whether earlier jobs have left so much that a job with such a limit would pay for them.

        That is more than half of what the limit allows beyond what the worker had when it was
        ready: less may be a module that was imported.
        """
        if limits.memory_limit is None or self._baseline is None:
            return False
        resident = _resident()
        if resident is None:
            return False
        return resident - self._baseline > max(0, limits.memory_limit - self._baseline) // 2

    def _on_warning(self, *_: object) -> None:
        # One that comes late, when another job runs, finds that this one still has time.
        if self._warn_ns is None or monotonic_ns() < self._warn_ns:
            return
        # In the middle of a frame it would tear that.
        if not self.defers(SOFT_SIGNAL):
            self._warn()

    def _warn(self) -> None:
        self._warn_ns = None
        raise SoftTimeoutError(f"the job has run for its soft_timeout of {self._soft_timeout:g} s")

    @contextmanager
    def held(self, limits: Limits, started_ns: int) -> Iterator[None]:
        """Let the limits hold inside; the job has run since ``started_ns`` (CLOCK_MONOTONIC)."""
        before = None if limits.memory_limit is None else _lower(limits.memory_limit)
        try:
            if limits.soft_timeout is not None:
                self._soft_timeout = limits.soft_timeout
                self._warn_ns = started_ns + int(limits.soft_timeout * 1e9)
                if monotonic_ns() >= self._warn_ns:
                    # The signal came while the data was loaded, and nobody listened.
                    self._warn()
            yield
        finally:
            self._warn_ns = None
            if before is not None:
                _set_data_limit(before)


def _resident() -> int | None:
    sizes = _sizes()
    return None if sizes is None else sizes[1]


def _sizes() -> list[int] | None:
    """Return the sizes of this process, in bytes, in the order of ``statm`` (proc(5))."""
    try:
        with open("/proc/self/statm", "rb") as file:
            return [int(pages) * _PAGE_BYTES for pages in file.read().split()]
    except (OSError, ValueError):
        return None


def _lower(memory_limit: int) -> tuple[int, int] | None:
    """Let the process have no more memory than what makes ``memory_limit`` resident bytes.

    RLIMIT_DATA counts private writable memory, touched or not, since Linux 4.7 (getrlimit(2)):
    what is there already is allowed for. Returns the limits before; None where it cannot be done.
    """
    if sys.platform != "linux":
        return None
    sizes = _sizes()
    if sizes is None:
        return None
    before = _getrlimit(resource.RLIMIT_DATA)
    resident, data = sizes[1], sizes[5]
    room = data + max(0, memory_limit - resident)
    for bound in before:
        if bound != resource.RLIM_INFINITY:
            room = min(room, bound)
    return before if _set_data_limit((room, before[1])) else None


def _set_data_limit(limits: tuple[int, int]) -> bool:
    try:
        _setrlimit(resource.RLIMIT_DATA, limits)
    except (OSError, ValueError):  # a job has lowered the hard one
        return False
    return True
