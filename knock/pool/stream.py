"""Descriptors 0 to 2 and the objects of ``sys`` for them, kept as they are at one moment."""

import fcntl
import io
import os
import sys
from collections.abc import Iterator
from typing import Any

from knock.pool.descriptor import identity, spare

# Whether two descriptors are one open file (Linux 6.10); the ``fcntl`` module has it from 3.14 on.
_F_DUPFD_QUERY = 1027
_NAMES = ("stdin", "stdout", "stderr")
# Taken at import: a job may put its own functions in their place.
_fcntl, _dup2, _open, _sys = fcntl.fcntl, os.dup2, open, sys


class StandardStreams:
    """Puts back what a job has closed, or put something else in place of.

    What is closed when this is made is left alone.
    """

    def __init__(self) -> None:
        self._spares: dict[int, int] = {}
        self._identities: dict[int, tuple[int, int]] = {}
        for number in range(3):
            try:
                self._spares[number] = spare(number)
                self._identities[number] = identity(number)
            except OSError:
                continue
        self._stdin, self._stdout, self._stderr = (getattr(sys, name, None) for name in _NAMES)
        streams = (self._stdin, self._stdout, self._stderr)
        self._closable: list[Any] = [stream for stream in streams if not _is_closed(stream)]
        self._can_query = self._are_same()

    def are_as_they_were(self) -> bool:
        """Whether there is nothing to restore."""
        if not (self._are_same() if self._can_query else self._are_alike()):
            return False
        try:
            for stream in self._closable:
                if stream.closed:
                    return False
            are_same = (
                _sys.stdin is self._stdin
                and _sys.stdout is self._stdout
                and _sys.stderr is self._stderr
            )
        except (AttributeError, ValueError):  # a name was deleted, a stream detached
            return False
        return are_same

    def _are_same(self) -> bool:
        try:
            for number, other in self._spares.items():
                if _fcntl(number, _F_DUPFD_QUERY, other) != 1:
                    return False
        except OSError:  # closed; or the system cannot tell
            return False
        return True

    def _are_alike(self) -> bool:
        return all(_is_open_on(number, it) for number, it in self._identities.items())

    def restore(self) -> Iterator[str]:
        """Put back what is not as it was; yield what cannot be."""
        yield from self._restore_descriptors()
        yield from self._restore_objects()

    def _restore_descriptors(self) -> Iterator[str]:
        for number, spare_fd in self._spares.items():
            # A job may have closed the spare one, or opened a file of its own in its place.
            if _is_open_on(spare_fd, self._identities[number]):
                _dup2(spare_fd, number)
            elif _is_open_on(number, self._identities[number]):
                self._spares[number] = spare(number)
            else:
                yield f"closed descriptor {number}"

    def _restore_objects(self) -> Iterator[str]:
        streams: list[Any] = [self._stdin, self._stdout, self._stderr]
        for number, name in enumerate(_NAMES):
            stream = streams[number]
            if stream in self._closable and _is_closed(stream):
                if not isinstance(stream, io.TextIOWrapper):
                    yield f"closed sys.{name}"
                    continue
                streams[number] = self._reopen(number, stream)
            setattr(_sys, name, streams[number])
        self._stdin, self._stdout, self._stderr = streams

    def _reopen(self, number: int, closed: io.TextIOWrapper) -> Any:
        try:
            encoding, errors = closed.encoding, closed.errors
        except ValueError:  # it was detached
            encoding, errors = "utf-8", "backslashreplace"
        mode, buffering = ("w", 1) if number else ("r", -1)
        stream = _open(number, mode, buffering, encoding, errors, closefd=False)
        self._closable = [stream if one is closed else one for one in self._closable]
        own = f"__{_NAMES[number]}__"
        if getattr(_sys, own, None) is closed:
            setattr(_sys, own, stream)
        return stream


def _is_closed(stream: Any) -> bool:
    try:
        return bool(stream.closed)
    except ValueError:  # detached
        return True
    except AttributeError:  # None, or a class of its own that is never closed
        return stream is None


def _is_open_on(fd: int, it: tuple[int, int]) -> bool:
    try:
        return identity(fd) == it
    except OSError:
        return False
