"""The permit pipe: the kernel decides who has a ticket, the worker or the supervisor.

A worker reads one ticket before each job; the supervisor takes tickets back by reading the same
pipe. Each ticket comes out exactly once, whoever is stopped or dies in between.
"""

import array
import fcntl
import os
import struct
import termios
from collections.abc import Sequence

from knock.errors import ProtocolError
from knock.pool.descriptor import Descriptor, keep_private

_TICKET = struct.Struct("<Q")
_READ_BYTES = 1 << 16


class PermitPipe:
    """The supervisor's side: the write end, and a read end of its own.

    ``worker_end`` is the worker's read end, to be closed here once it was handed over.
    """

    def __init__(self) -> None:
        read_fd, write_fd = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        self.worker_end = keep_private(Descriptor(read_fd))
        self._give = keep_private(Descriptor(write_fd))
        self._take = keep_private(Descriptor(_reopen(read_fd)))

    def give(self, tickets: Sequence[int]) -> None:
        """Let the worker start these, in this order.

        Raises:
            ProtocolError: The pipe is full, though windows are far smaller than a pipe: the worker
                has opened the other end and stuffed it.
        """
        data = b"".join(map(_TICKET.pack, tickets))
        try:
            written = os.write(self._give.fd, data)
        except BlockingIOError:
            written = 0
        if written != len(data):
            raise ProtocolError("its permit pipe is full of what it was not given")

    def take_all(self) -> list[int]:
        """Take every ticket that the worker has not taken; these cannot start any more."""
        try:
            data = os.read(self._take.fd, _READ_BYTES)
        except BlockingIOError:
            return []
        return [ticket for (ticket,) in _TICKET.iter_unpack(data[: len(data) // 8 * 8])]

    def left(self) -> int:
        """Count the tickets that the worker has not taken."""
        size = array.array("i", [0])
        fcntl.ioctl(self._take.fd, termios.FIONREAD, size)
        return size[0] // _TICKET.size

    def end(self) -> None:
        """Give nothing more: the worker ends when it has done what it was given."""
        self._give.close()

    def close(self) -> None:
        """Close all ends."""
        self.worker_end.close()
        self._give.close()
        self._take.close()


def _reopen(fd: int) -> int:
    # An open file of its own, whatever the worker does to the flags of its. Without /proc they
    # share one, which works since neither side needs it to block.
    try:
        return os.open(f"/proc/self/fd/{fd}", os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return os.dup(fd)
