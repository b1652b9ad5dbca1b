"""Descriptors that belong to one process: closed in every child that it forks."""

import array
import fcntl
import os
import select
import termios
import weakref
from collections.abc import Iterable
from time import monotonic
from typing import Protocol, TypeVar

from knock.pool.mechanism import has

_HIGH_NUMBER = 200
# Taken at import: a job may put its own functions in their place.
_fstat = os.fstat
_poll = select.poll


class Closable(Protocol):
    """Anything with a ``close`` that may be called twice."""

    def close(self) -> None:
        """Close it."""


T = TypeVar("T", bound=Closable)

# The one piece of state of this module: at-fork handlers cannot be taken back, so there is one
# handler, and it must know what to close.
_private: "weakref.WeakSet[Closable]" = weakref.WeakSet()


def keep_private(thing: T) -> T:
    """Close ``thing`` in children of this process, which could hold a pool alive by it."""
    _private.add(thing)
    return thing


def share(thing: Closable) -> None:
    """Let the next child that is forked have ``thing`` after all."""
    _private.discard(thing)


def _close_in_child() -> None:
    for thing in list(_private):
        thing.close()
    _private.clear()


os.register_at_fork(after_in_child=_close_in_child)


class Descriptor:
    """A raw file descriptor with an owner; closed when it is forgotten, too."""

    __slots__ = ("__weakref__", "fd")

    def __init__(self, fd: int) -> None:
        self.fd = fd

    def fileno(self) -> int:
        """Return the number; -1 when closed."""
        return self.fd

    def close(self) -> None:
        """Close it, once."""
        fd, self.fd = self.fd, -1
        if fd >= 0:
            os.close(fd)

    __del__ = close


def out_of_the_way(fd: int) -> int:
    """Give a descriptor a high number, which code that closes or opens small ones leaves alone.

    Where the limit does not allow it the number stays.
    """
    try:
        moved = fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, _HIGH_NUMBER)
    except OSError:
        return fd
    os.close(fd)
    return moved


def spare(fd: int) -> int:
    """Return another descriptor of the same open file, with a high number if that is allowed."""
    try:
        return fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, _HIGH_NUMBER)
    except OSError:
        return os.dup(fd)


def nameless_file(name: str) -> int:
    """Return the descriptor of an empty file in memory; ``name`` is for those who look at /proc.

    Where the system has no such thing it is a temporary file that is removed at once. What is
    written then may come to a disk, there must be a directory for it, and its size cannot be
    sealed. Raises OSError.
    """
    if has("memfd"):
        return os.memfd_create(name, os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    # Not by ``tempfile``, which takes each nursery and worker 3 ms to import.
    path = f"{os.environ.get('TMPDIR') or '/tmp'}/{name}-{os.urandom(8).hex()}"  # noqa: S108 - not guessable
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    os.unlink(path)
    return fd


def identity(fd: int) -> tuple[int, int]:
    """Return what an open descriptor refers to, to be compared."""
    status = _fstat(fd)
    return status.st_dev, status.st_ino


def unread_bytes(fd: int) -> int:
    """Return how much can be read from a pipe or a socket without waiting."""
    size = array.array("i", [0])
    fcntl.ioctl(fd, termios.FIONREAD, size)
    return size[0]


def still_unreadable(fds: Iterable[int], seconds: float) -> set[int]:
    """Wait until all are readable (as a pidfd is after the death); return those that are not."""
    waiting, until = set(fds), monotonic() + seconds
    poll = _poll()
    for fd in waiting:
        poll.register(fd, select.POLLIN)
    while waiting:
        ready = poll.poll(max(0.0, until - monotonic()) * 1000)
        if not ready:
            break
        for fd, _ in ready:
            waiting.discard(fd)
            poll.unregister(fd)
    return waiting
