"""The parts that messages are made of: checked numbers and bounded texts."""

import struct
from collections.abc import Callable
from typing import Any

from knock.errors import ProtocolError, SerializationError

MAX_NAME_BYTES = 1 << 10
MAX_TEXT_BYTES = 1 << 14
MAX_TRACEBACK_BYTES = 1 << 16
# Up to this size a payload is copied behind its header; above, it is sent from where it lies.
COPY_BYTES = 1 << 16

At = Callable[[int], float]
"""Turns a CLOCK_MONOTONIC instant in nanoseconds into UTC seconds."""


def unpack(layout: struct.Struct, body: bytes, what: str, start: int = 0) -> tuple[Any, ...]:
    """Return the fields at ``start``, or raise ``ProtocolError`` that names ``what``."""
    try:
        return layout.unpack_from(body, start)
    except struct.error as exc:
        raise ProtocolError(f"malformed {what}: {exc}") from None


def decode_text(data: bytes, limit: int, what: str) -> str:
    """Return UTF-8 text of at most ``limit`` bytes, or raise ``ProtocolError``."""
    if len(data) > limit:
        raise ProtocolError(f"malformed {what}: a text of {len(data)} bytes, more than {limit}")
    try:
        return data.decode()
    except UnicodeDecodeError as exc:
        raise ProtocolError(f"malformed {what}: {exc}") from None


def clip(text: str, limit: int) -> bytes:
    """Return the text in at most ``limit`` bytes of UTF-8; what is too long loses its end."""
    # Four bytes at most per character: a huge text is cut before it is encoded. Lone surrogates
    # (undecodable file names) have no UTF-8.
    data = text[:limit].encode("utf-8", "backslashreplace")
    return data if len(data) <= limit else data[:limit].decode("utf-8", "ignore").encode()


def check_payload(data: bytes, max_bytes: int, label: str) -> None:
    """Raise ``SerializationError`` for a pickled item of more than ``max_bytes``."""
    if len(data) > max_bytes:
        text = f"{label} has {len(data)} bytes when pickled, more than max_payload_bytes"
        raise SerializationError(f"{text}={max_bytes}")
