"""What jobs write to standard output and standard error: the supervisor's side.

Only the tail of each attempt's output is kept, however much there is. What a worker writes there is
not trusted: a job that forges a mark spoils the output of its own worker.
"""

import os
from collections.abc import Container

from knock.core.job import Output
from knock.pool.capture import TICKET_BYTES, read_ticket
from knock.pool.descriptor import Descriptor, keep_private, unread_bytes

MAX_BYTES = 1 << 16
_READ_BYTES = 1 << 16
_SECRET_BYTES = 16


class Stream:
    """One pipe; ``theirs`` is the end for the worker.

    ``expected`` are the tickets that may end. ``is_ended``: nobody is left to write.
    """

    def __init__(self, secret: bytes, expected: Container[int]) -> None:
        mine, theirs = os.pipe2(os.O_CLOEXEC)
        self._mine = keep_private(Descriptor(mine))
        self.theirs = keep_private(Descriptor(theirs))
        os.set_blocking(mine, False)
        self._secret = secret
        self._expected = expected
        self._tail = bytearray()
        self._ended: dict[int, bytes] = {}
        self.is_ended = False

    def fileno(self) -> int:
        """Return the descriptor to read from; -1 when closed."""
        return self._mine.fd

    def read(self) -> int:
        """Take in what is there, up to one read; return how much that is, in bytes."""
        if self.is_ended:
            return 0
        try:
            data = os.read(self._mine.fd, _READ_BYTES)
        except BlockingIOError:
            return 0
        self.is_ended = not data
        tail = self._tail
        # A mark may have come in two parts.
        start = max(0, len(tail) - len(self._secret) - TICKET_BYTES)
        tail += data
        while (found := tail.find(self._secret, start)) >= 0:
            end = found + len(self._secret) + TICKET_BYTES
            if end > len(tail):
                break
            ticket = read_ticket(bytes(tail[end - TICKET_BYTES : end]))
            if ticket in self._expected:
                self._ended[ticket] = bytes(tail[max(0, found - MAX_BYTES) : found])
            del tail[:end]
            start = 0
        # Room for a mark that is not whole yet.
        del tail[: -(MAX_BYTES + len(self._secret) + TICKET_BYTES)]
        return len(data)

    def take(self, ticket: int) -> str:
        """Return the output of an attempt that has ended, by itself or with its process."""
        if ticket not in self._ended:
            self._read_all()
        output = self._ended.pop(ticket, None)
        return self._rest() if output is None else _text(output)

    def _read_all(self) -> None:
        # Not what comes meanwhile: a process that a job has left behind may write without end.
        left = 0 if self.is_ended else unread_bytes(self._mine.fd)
        while left > 0 and (size := self.read()):
            left -= size

    def _rest(self) -> str:
        output = bytes(self._tail[-MAX_BYTES:])
        self._tail.clear()
        return _text(output)

    def close(self) -> None:
        """Close both ends."""
        self.is_ended = True
        self._mine.close()
        self.theirs.close()


def _text(output: bytes) -> str:
    return output.decode(errors="replace")


class Captured:
    """The output of one worker. Raises OSError for want of descriptors."""

    def __init__(self, expected: Container[int]) -> None:
        self.secret = os.urandom(_SECRET_BYTES)
        self.stdout = Stream(self.secret, expected)
        self.stderr = Stream(self.secret, expected)
        self.streams = (self.stdout, self.stderr)

    def take(self, ticket: int) -> Output:
        """Return what an attempt has written that has ended, by itself or with its process."""
        return Output(self.stdout.take(ticket), self.stderr.take(ticket))

    def close(self) -> None:
        """Close everything."""
        for stream in self.streams:
            stream.close()
