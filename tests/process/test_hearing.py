"""Mutated frames and ledgers: whatever a worker sends, it speaks for its own jobs only."""

from random import Random

import pytest

from tests.process.hearing import play

pytestmark = pytest.mark.process


@pytest.mark.parametrize("seed", range(10))
def test_no_nonsense_of_a_worker_is_believed_or_ends_its_supervisor(seed):
    rng = Random(seed)
    for _ in range(100):
        play(rng)
