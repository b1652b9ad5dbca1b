"""One end of a channel: frames over a socket, never waiting.

Rule 1: whatever the peer does, or does not, no call here blocks: what cannot be sent stays queued,
        and half a frame stays in the decoder.
Rule 2: what the peer sent before it went away, or before it sent nonsense, is still received.
Rule 3: no call reads without end, however fast the peer writes.
"""

import socket
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from time import monotonic_ns

from knock.errors import ProtocolError
from knock.pool.descriptor import keep_private, unread_bytes
from knock.protocol.frame import FrameDecoder

SEND_BUFFER_BYTES = 4 << 20
_READ_BYTES = 1 << 18
# Linux takes at most 1,024 buffers in one call.
_BUFFERS_AT_ONCE = 256

_Then = Callable[[], None]


def channel_pair() -> tuple[socket.socket, socket.socket]:
    """Return two connected sockets with room for large frames."""
    pair = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
    for end in pair:
        end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER_BYTES)
    return pair


class Channel:
    """Sends frames, and receives frames of the given ``kinds``. Owns its socket.

    ``is_ended``: the peer's side is closed, and all that it sent was read. ``violation``: why what
    it sent cannot be understood any more; nothing more is read then. ``sent_ns`` is when the socket
    last took something (CLOCK_MONOTONIC), 0 if it never has.
    """

    def __init__(self, mine: socket.socket, kinds: Iterable[int]) -> None:
        self._socket = keep_private(mine)
        self._socket.setblocking(False)
        self._queue: deque[memoryview | _Then] = deque()
        self._decoder = FrameDecoder(kinds)
        self._is_deaf = False
        self.sent_ns = 0
        self.is_ended = False
        self.violation: str | None = None

    def fileno(self) -> int:
        """Return the descriptor; -1 when closed."""
        return self._socket.fileno()

    @property
    def wants_write(self) -> bool:
        """Whether something waits until the socket can take more."""
        return bool(self._queue)

    # --- sending ---

    def send(self, buffers: Sequence[bytes], then: _Then | None = None) -> None:
        """Send the buffers of whole frames; call ``then`` when all of it is in the socket.

        What is sent to a peer that is gone vanishes, and its ``then`` is never called.
        """
        if self._is_deaf:
            return
        self._queue.extend(memoryview(buffer) for buffer in buffers if buffer)
        if then is not None:
            self._queue.append(then)
        self.flush()

    def flush(self) -> None:
        """Send what the socket takes now."""
        queue = self._queue
        while queue:
            first = queue[0]
            if not isinstance(first, memoryview):
                queue.popleft()
                first()
                continue
            try:
                sent = self._socket.sendmsg(self._batch())
            except BlockingIOError:
                return
            except OSError:
                self._stop_sending()
                return
            self.sent_ns = monotonic_ns()
            self._drop(sent)

    def _batch(self) -> list[memoryview]:
        batch: list[memoryview] = []
        for item in self._queue:
            if not isinstance(item, memoryview) or len(batch) == _BUFFERS_AT_ONCE:
                break
            batch.append(item)
        return batch

    def _drop(self, sent: int) -> None:
        queue = self._queue
        while sent:
            item = queue.popleft()
            if not isinstance(item, memoryview):
                continue
            if sent < len(item):
                queue.appendleft(item[sent:])
                return
            sent -= len(item)

    def _stop_sending(self) -> None:
        self._is_deaf = True
        self._queue.clear()

    # --- receiving ---

    def receive(self) -> list[tuple[int, bytes]]:
        """Return frames that have come whole, of one read."""
        return self._understand(self._read(_READ_BYTES))

    def drain(self) -> list[tuple[int, bytes]]:
        """Return all frames that are in the channel now; not those that come meanwhile."""
        frames: list[tuple[int, bytes]] = []
        left = self._unread()
        # One read more than there was, which sees the end.
        while left >= 0 and (data := self._read(_READ_BYTES)):
            left -= len(data)
            frames += self._understand(data)
        return frames

    def _unread(self) -> int:
        if self.is_ended or self.violation is not None:
            return 0
        return unread_bytes(self._socket.fileno())

    def _read(self, limit: int) -> bytes:
        if self.is_ended or self.violation is not None:
            return b""
        try:
            data = self._socket.recv(limit)
        except BlockingIOError:
            return b""
        except OSError:
            data = b""  # reset: it went away with something of ours unread
        if not data:
            self.is_ended = True
            self._stop_sending()
        return data

    def _understand(self, data: bytes) -> list[tuple[int, bytes]]:
        if not data:
            return []
        try:
            frames = self._decoder.feed(data)
        except ProtocolError as exc:
            self.violation = str(exc)
            return []
        self.violation = self._decoder.failure
        return frames

    def close(self) -> None:
        """Close this end."""
        self.is_ended = True
        self._stop_sending()
        self._socket.close()
