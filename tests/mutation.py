"""What a worker may send, and what becomes of it in hostile hands; all by a seed."""

import struct
from collections.abc import Callable
from itertools import pairwise
from random import Random

from knock.core.job import JobError
from knock.protocol.attempt import Measured, encode_failure, encode_result
from knock.protocol.frame import HEADER_BYTES, encode_frame
from knock.protocol.logline import encode_log
from knock.protocol.message import (
    FROM_WORKER,
    Call,
    encode_boot_failed,
    encode_call,
    encode_handed_back,
    encode_progress,
    encode_ready,
)

EXTREMES = (0, 1, 16, 1 << 31, (1 << 31) - 1, 1 << 32, 1 << 62, 1 << 63, (1 << 64) - 2)
TEXTS = ("", "text", "é\n\t\0", "x" * 5000)
_WORD = struct.Struct("<Q")


def a_frame(rng: Random, ticket: int) -> bytes:
    """Return a frame that a worker may send while or after it runs ``ticket``."""
    measured = Measured(*(rng.choice((0, 5, 10**9)) for _ in range(5)), rng.random() < 0.5)
    text = rng.choice(TEXTS)
    error = JobError(
        type_name="E", message=text, traceback=text, pickled=rng.choice((None, b"N.", b"x" * 99))
    )
    makers: tuple[Callable[[], bytes], ...] = (
        encode_ready,
        lambda: encode_boot_failed(text),
        lambda: b"".join(encode_result(ticket, measured, rng.randbytes(rng.choice((0, 9, 9999))))),
        lambda: b"".join(
            encode_failure(ticket, measured, error, retry_after=rng.choice((None, 1)))
        ),
        lambda: encode_handed_back([ticket, ticket + 1][: rng.randrange(3)]),
        lambda: encode_log(ticket, rng.randrange(1 << 40), rng.randrange(60), text),
        lambda: encode_progress(ticket, rng.random(), rng.choice((None, 1.0))),
        lambda: b"".join(encode_call(Call(ticket, rng.randrange(9), "add", rng.randbytes(30)))),
    )
    return rng.choice(makers)()


def a_stream(rng: Random, tickets: list[int]) -> list[bytes]:
    return [a_frame(rng, rng.choice(tickets)) for _ in range(rng.randrange(1, 8))]


# --- mutations ------------------------------------------------------------------------------------


def flip(rng: Random, frames: list[bytes]) -> list[bytes]:
    stream = bytearray(b"".join(frames))
    for _ in range(rng.randrange(1, 5)):
        stream[rng.randrange(len(stream))] = rng.randrange(256)
    return [bytes(stream)]


def cut_off(rng: Random, frames: list[bytes]) -> list[bytes]:
    stream = b"".join(frames)
    return [stream[: rng.randrange(len(stream))]]


def insert(rng: Random, frames: list[bytes]) -> list[bytes]:
    stream = b"".join(frames)
    at = rng.randrange(len(stream))
    return [stream[:at] + rng.randbytes(rng.randrange(1, 40)) + stream[at:]]


def change_order(rng: Random, frames: list[bytes]) -> list[bytes]:
    frames = [*frames, rng.choice(frames)]
    rng.shuffle(frames)
    return frames


def _in_one(rng: Random, frames: list[bytes], change: Callable[[bytearray], None]) -> list[bytes]:
    at = rng.randrange(len(frames))
    frame = bytearray(frames[at])
    change(frame)
    return [*frames[:at], bytes(frame), *frames[at + 1 :]]


def lie_about_length(rng: Random, frames: list[bytes]) -> list[bytes]:
    def change(frame: bytearray) -> None:
        (length,) = _WORD.unpack_from(frame, 8)
        near = max(0, length + rng.randrange(-20, 20))
        _WORD.pack_into(frame, 8, rng.choice((near, *EXTREMES)))

    return _in_one(rng, frames, change)


def lie_about_kind(rng: Random, frames: list[bytes]) -> list[bytes]:
    def change(frame: bytearray) -> None:
        frame[0] = rng.choice((*FROM_WORKER, rng.randrange(256)))

    return _in_one(rng, frames, change)


def lie_in_a_field(rng: Random, frames: list[bytes]) -> list[bytes]:
    """Put an extreme number anywhere in a body: tickets, times, lengths of texts, floats."""

    def change(frame: bytearray) -> None:
        if len(frame) >= HEADER_BYTES + 8:
            at = HEADER_BYTES + rng.randrange(0, min(96, len(frame) - HEADER_BYTES - 7))
            number = rng.choice((*EXTREMES, 0x7FF8 << 48, 0x7FF0 << 48, rng.getrandbits(64)))
            _WORD.pack_into(frame, at, number)

    return _in_one(rng, frames, change)


def replace_body(rng: Random, frames: list[bytes]) -> list[bytes]:
    kind = rng.choice([*FROM_WORKER])
    return [*frames, encode_frame(kind, rng.randbytes(rng.choice((0, 1, 7, 49, 200, 70_000))))]


MUTATIONS = (
    flip,
    cut_off,
    insert,
    change_order,
    lie_about_length,
    lie_about_kind,
    lie_in_a_field,
    replace_body,
)


def a_mutated_stream(rng: Random, tickets: list[int]) -> bytes:
    return b"".join(rng.choice(MUTATIONS)(rng, a_stream(rng, tickets)))


def pieces_of(rng: Random, stream: bytes) -> list[bytes]:
    """Cut a stream as a socket may."""
    cuts = sorted(rng.randrange(len(stream) + 1) for _ in range(rng.randrange(3)))
    edges = [0, *cuts, len(stream)]
    return [stream[a:b] for a, b in pairwise(edges) if a < b]


def spoil_ledger(rng: Random, ticket: int) -> bytes:
    """Return what a worker may write over the start of its ledger."""
    numbers = [rng.choice((ticket, *EXTREMES, rng.getrandbits(64))) for _ in range(9)]
    if rng.random() < 0.5:
        numbers[2] = numbers[0]
    return struct.pack("<9Q", *numbers)
