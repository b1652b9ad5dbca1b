"""One end of a channel: frames over a socket, never waiting.

Whatever the peer does, or does not, no call here blocks: what cannot be sent stays queued, and
half a frame stays in the decoder.
"""

import socket
from collections import deque
from collections.abc import Callable, Iterable, Sequence

from knock.pool.descriptor import keep_private
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

    ``is_ended``: the peer's side is closed and all that it had sent was read. A send that fails ends
    the sending only: a peer that died may have said something before.
    """

    def __init__(self, mine: socket.socket, kinds: Iterable[int]) -> None:
        self._socket = keep_private(mine)
        self._socket.setblocking(False)
        self._queue: deque[memoryview | _Then] = deque()
        self._decoder = FrameDecoder(kinds)
        self._is_mute = False
        self.is_ended = False

    def fileno(self) -> int:
        """Return the descriptor; -1 when closed."""
        return self._socket.fileno()

    @property
    def wants_write(self) -> bool:
        """Whether something waits until the socket can take more."""
        return bool(self._queue) and not self._is_mute

    def send(self, buffers: Sequence[bytes], then: _Then | None = None) -> None:
        """Send the buffers of whole frames; call ``then`` when all of it is in the socket."""
        self._queue.extend(memoryview(buffer) for buffer in buffers if buffer)
        if then is not None:
            self._queue.append(then)
        self.flush()

    def flush(self) -> None:
        """Send what the socket takes now."""
        queue = self._queue
        while queue and not self._is_mute:
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
                self._is_mute = True
                return
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

    def receive(self) -> list[tuple[int, bytes]]:
        """Return the frames that have come whole. Raises ProtocolError."""
        if self.is_ended:
            return []
        try:
            data = self._socket.recv(_READ_BYTES)
        except BlockingIOError:
            return []
        except OSError:
            data = b""
        if not data:
            self._end()
            return []
        return self._decoder.feed(data)

    def drain(self) -> list[tuple[int, bytes]]:
        """Return all frames that are in the channel now. Raises ProtocolError."""
        frames: list[tuple[int, bytes]] = []
        while not self.is_ended:
            try:
                data = self._socket.recv(_READ_BYTES)
            except BlockingIOError:
                break
            except OSError:
                data = b""
            if not data:
                self._end()
                break
            frames.extend(self._decoder.feed(data))
        return frames

    def _end(self) -> None:
        self.is_ended = self._is_mute = True
        self._queue.clear()

    def close(self) -> None:
        """Close this end."""
        self._end()
        self._socket.close()
