"""Frames: cut anywhere, forged anyhow."""

import itertools
import struct
import tracemalloc

import pytest
from hypothesis import given, settings, strategies as st

from knock.errors import ProtocolError
from knock.protocol.frame import HEADER_BYTES, FrameDecoder, encode_frame, encode_header

KINDS = (1, 2, 200)
frames = st.lists(st.tuples(st.sampled_from(KINDS), st.binary(max_size=200)), max_size=12)


def pieces_of(stream: bytes, cuts: list[int]) -> list[bytes]:
    edges = [0, *sorted(cut % (len(stream) + 1) for cut in cuts), len(stream)]
    return [stream[start:end] for start, end in itertools.pairwise(edges)]


@given(sent=frames, cuts=st.lists(st.integers(0, 10_000), max_size=30))
def test_a_stream_cut_anywhere_gives_the_same_frames(
    sent: list[tuple[int, bytes]], cuts: list[int]
) -> None:
    decoder = FrameDecoder(KINDS)
    stream = b"".join(encode_frame(kind, body) for kind, body in sent)
    got = [frame for piece in pieces_of(stream, cuts) for frame in decoder.feed(piece)]
    assert got == sent
    assert decoder.is_empty


@given(sent=frames)
def test_a_frame_is_told_with_its_last_byte_and_not_before(sent: list[tuple[int, bytes]]) -> None:
    decoder = FrameDecoder(KINDS)
    for kind, body in sent:
        *front, last = encode_frame(kind, body)
        for byte in front:
            assert decoder.feed(bytes([byte])) == []
        assert decoder.feed(bytes([last])) == [(kind, body)]


@given(
    sent=frames.filter(bool),
    position=st.integers(0, 10_000),
    byte=st.integers(0, 255),
    cuts=st.lists(st.integers(0, 10_000), max_size=10),
)
def test_a_changed_byte_gives_frames_or_a_protocol_error(
    sent: list[tuple[int, bytes]], position: int, byte: int, cuts: list[int]
) -> None:
    stream = bytearray(b"".join(encode_frame(kind, body) for kind, body in sent))
    stream[position % len(stream)] = byte
    decoder = FrameDecoder(KINDS, max_length=1000)
    try:
        for piece in pieces_of(bytes(stream), cuts):
            for kind, body in decoder.feed(piece):
                assert kind in KINDS
                assert len(body) <= 1000
    except ProtocolError:
        with pytest.raises(ProtocolError):
            decoder.feed(encode_frame(1, b"good"))


@given(garbage=st.binary(min_size=HEADER_BYTES, max_size=300))
def test_garbage_is_a_protocol_error(garbage: bytes) -> None:
    with pytest.raises(ProtocolError):
        FrameDecoder(KINDS).feed(b"x" + garbage)


HEADERS = [  # header                              what is said of it
    (b"\0\0\0\5hello" * 2, "not a frame"),
    (struct.pack("<QQ", 0x6B6E6F636B << 24 | 9 << 16 | 1, 0), "version 9"),
    (encode_header(3, 0), "unknown kind 3"),
    (struct.pack("<QQ", 0x6B6E6F636B << 24 | 1 << 16 | 0x101, 0), "unknown kind 257"),
    (encode_header(1, 1001), "1001 bytes, more than 1000"),
    (encode_header(1, 1 << 62), "more than 1000"),
    (encode_header(1, (1 << 64) - 2), "more than 1000"),
]


@pytest.mark.parametrize("header, message", HEADERS)
def test_a_header_that_lies_is_refused_by_name(header: bytes, message: str) -> None:
    decoder = FrameDecoder(KINDS, max_length=1000)
    assert decoder.feed(encode_frame(1, b"before")) == [(1, b"before")]
    with pytest.raises(ProtocolError, match=message):
        decoder.feed(header)
    with pytest.raises(ProtocolError, match=message):
        decoder.feed(encode_frame(1, b"after"))


def test_nothing_is_allocated_by_a_senders_word() -> None:
    decoder = FrameDecoder(KINDS)
    tracemalloc.start()
    try:
        assert decoder.feed(encode_header(1, 1 << 32) + b"a few bytes") == []
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 10_000


def test_a_big_body_in_many_pieces_is_not_quadratic() -> None:
    decoder = FrameDecoder(KINDS)
    piece = bytes(1 << 16)
    decoder.feed(encode_header(1, 1024 << 16))
    tracemalloc.start()
    try:
        for _ in range(1023):
            assert decoder.feed(piece) == []
        ((_, body),) = decoder.feed(piece)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(body) == 1024 << 16
    assert peak < len(body) * 1.2  # the pieces themselves are all one object here


@settings(max_examples=20)
@given(size=st.integers(0, 1 << 20), tail=st.binary(max_size=40))
def test_what_follows_a_big_body_in_the_same_read_is_kept(size: int, tail: bytes) -> None:
    decoder = FrameDecoder(KINDS)
    stream = encode_frame(2, bytes(size)) + encode_frame(1, tail)
    half = len(stream) // 2
    assert decoder.feed(stream[:half]) + decoder.feed(stream[half:]) == [
        (2, bytes(size)),
        (1, tail),
    ]
