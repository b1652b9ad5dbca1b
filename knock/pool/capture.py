"""What jobs write to standard output and standard error: the worker's side.

Both descriptors are pipes that the supervisor reads, so that what children of a job and C code
write is captured too, nothing blocks for longer than the supervisor takes to read, and what was
written is there after any death. A mark in the stream tells where an attempt ends.
"""

import os
import struct

from knock.pool.process import flush_standard_streams

_TICKET = struct.Struct("<Q")
TICKET_BYTES = _TICKET.size

# Taken at import: a job may put its own functions in their place.
_write, _dup2 = os.write, os.dup2


def make_mark(secret: bytes, ticket: int) -> bytes:
    """Return what ends the output of this attempt; ``secret`` is of one worker."""
    return secret + _TICKET.pack(ticket)


def read_ticket(data: bytes) -> int:
    """Return the ticket that follows the secret in a mark."""
    ticket: int
    (ticket,) = _TICKET.unpack(data)
    return ticket


class Capture:
    """Writes the marks, and puts back what a job may have redirected."""

    def __init__(self, secret: bytes, stdout: int, stderr: int) -> None:
        self._secret = secret
        self._pipes = ((stdout, 1), (stderr, 2))

    def begin(self) -> None:
        """Let descriptors 1 and 2 go to the pipes."""
        for pipe, number in self._pipes:
            _dup2(pipe, number)

    def end(self, ticket: int) -> None:
        """An attempt has ended: what was written belongs to it."""
        try:
            flush_standard_streams()
        except BaseException:  # noqa: BLE001 - a stream of the user's
            pass
        mark = make_mark(self._secret, ticket)
        for pipe, number in self._pipes:
            try:
                _write(pipe, mark)
                _dup2(pipe, number)
            except OSError:
                continue  # a job has closed it; nothing more is captured
