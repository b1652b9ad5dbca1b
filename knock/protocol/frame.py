"""Frames: a 16-byte header (magic, version, kind, 64-bit length) and a body.

Rule 1: the peer may be hostile. Whatever it sends, ``FrameDecoder.feed`` returns whole frames or
        raises ``ProtocolError``, and never holds more memory than the bytes that it was fed.
Rule 2: a frame is handed on only when its last byte has come.
"""

import struct
from collections.abc import Iterable

from knock.errors import ProtocolError

VERSION = 1
# Larger than anything sensible, far smaller than what a lying 64-bit length can claim.
MAX_BODY_BYTES = 1 << 32

_MAGIC = 0x6B6E6F636B  # "knock"
# One 64-bit word holds all but the length, so that a frame is checked by one look-up.
_WORD = _MAGIC << 24 | VERSION << 16
_HEADER = struct.Struct("<QQ")
HEADER_BYTES = _HEADER.size


def encode_header(kind: int, length: int) -> bytes:
    """Return the header of a frame whose body has ``length`` bytes."""
    return _HEADER.pack(_WORD | kind, length)


def encode_frame(kind: int, body: bytes = b"") -> bytes:
    """Return one whole frame; the body is copied."""
    return _HEADER.pack(_WORD | kind, len(body)) + body


class FrameDecoder:
    """Cuts a stream of bytes into frames of the given kinds.

    What came whole before the first bad byte still counts: it is returned first. From then on the
    stream is lost for good: ``failure`` says why, and every later ``feed`` raises it.
    """

    def __init__(self, kinds: Iterable[int], max_length: int = MAX_BODY_BYTES) -> None:
        self._kinds = {_WORD | kind: kind for kind in kinds}
        self._max_length = max_length
        self._head = b""  # less than a header
        self._kind: int | None = None  # of the frame whose body is being collected
        self._parts: list[bytes] = []
        self._missing = 0
        self.failure: str | None = None

    @property
    def is_empty(self) -> bool:
        """Whether nothing of a frame waits for the rest of it."""
        return not self._head and self._kind is None

    def feed(self, data: bytes) -> list[tuple[int, bytes]]:
        """Take the next bytes of the stream; return the frames that are whole now.

        Each is ``(kind, body)``, in order.

        Raises:
            ProtocolError: The bytes are not frames of this protocol, or a frame is too long.
        """
        if self.failure is not None:
            raise ProtocolError(self.failure)
        if self._kind is not None:
            return self._collect(self._kind, data)
        if self._head:
            data, self._head = self._head + data, b""
        return self._cut(data, 0, [])

    def _collect(self, kind: int, data: bytes) -> list[tuple[int, bytes]]:
        # Joined once at the end: adding up a large body piece by piece is quadratic.
        if len(data) < self._missing:
            self._parts.append(data)
            self._missing -= len(data)
            return []
        self._parts.append(data[: self._missing])
        body, self._parts, self._kind = b"".join(self._parts), [], None
        return self._cut(data, self._missing, [(kind, body)])

    def _cut(
        self, data: bytes, start: int, frames: list[tuple[int, bytes]]
    ) -> list[tuple[int, bytes]]:
        unpack, kinds, limit = _HEADER.unpack_from, self._kinds, self._max_length
        end = len(data)
        while end - start >= HEADER_BYTES:
            word, length = unpack(data, start)
            kind = kinds.get(word)
            if kind is None or length > limit:
                error = self._fail(word, length)
                if frames:
                    return frames
                raise error
            start += HEADER_BYTES
            if end - start < length:
                self._kind, self._parts = kind, [data[start:]]
                self._missing = length - (end - start)
                return frames
            frames.append((kind, data[start : start + length]))
            start += length
        self._head = data[start:]
        return frames

    def _fail(self, word: int, length: int) -> ProtocolError:
        if word >> 24 != _MAGIC:
            self.failure = f"not a frame: it starts with {word.to_bytes(8, 'little')!r}"
        elif word >> 16 & 0xFF != VERSION:
            self.failure = f"a frame of protocol version {word >> 16 & 0xFF}, not {VERSION}"
        elif word not in self._kinds:
            self.failure = f"a frame of unknown kind {word & 0xFFFF}"
        else:
            self.failure = f"a frame of {length} bytes, more than {self._max_length}"
        self._head, self._parts = b"", []
        return ProtocolError(self.failure)
