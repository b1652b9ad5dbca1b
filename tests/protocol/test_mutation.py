"""Mutated streams of whole frames, which know the protocol: frames come out, or a ProtocolError."""

from random import Random

import pytest

from knock.errors import ProtocolError
from knock.protocol.frame import FrameDecoder
from knock.protocol.message import FROM_WORKER
from tests.mutation import MUTATIONS, a_mutated_stream, a_stream, pieces_of


@pytest.mark.parametrize("seed", range(10))
def test_a_mutated_stream_gives_frames_of_known_kinds_or_a_protocol_error(seed):
    rng = Random(seed)
    refused = 0
    for _ in range(300):
        decoder = FrameDecoder(FROM_WORKER, max_length=1 << 20)
        try:
            for piece in pieces_of(rng, a_mutated_stream(rng, [1, 2])):
                assert all(kind in FROM_WORKER for kind, _ in decoder.feed(piece))
        except ProtocolError:
            refused += 1
            assert decoder.failure is not None
    assert 0 < refused < 300


@pytest.mark.parametrize("mutate", MUTATIONS)
def test_each_mutation_changes_something(mutate):
    rng = Random(3)
    streams = [a_stream(rng, [1, 2]) for _ in range(20)]
    assert any(b"".join(mutate(rng, frames)) != b"".join(frames) for frames in streams)
