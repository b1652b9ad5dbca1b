"""Mutated frames and ledgers, heard by a real handle: no crash, no long turn, no growth."""

from collections.abc import Iterator
from pathlib import Path
from random import Random

from tests.figures.row import Row, at_most, equal
from tests.process.hearing import play

TURN_SECONDS = 0.05
WARM_UP = 500
PAGE_MIB = 4096 / 2**20


def rows(*, quick: bool) -> Iterator[Row]:
    # As many in either case: it takes a quarter of a minute.
    total = 100_000
    before = 0.0
    failures, slow, longest = [], 0, 0.0
    for number in range(WARM_UP + total):
        if number == WARM_UP:
            before = rss()
        try:
            took = play(Random(number))
        except Exception as exc:
            failures.append(f"seed {number}: {exc!r}")
            continue
        slow += took > TURN_SECONDS
        longest = max(longest, took)
    yield equal(f"crashes and lies believed, in {total:,} mutated streams", failures, [])
    yield equal(f"turns of more than {1000 * TURN_SECONDS:g} ms of CPU time", slow, 0)
    yield at_most("... the longest", 1000 * longest, 1000 * TURN_SECONDS, "ms")
    yield at_most("resident memory grown by", rss() - before, 20, "MiB")


def rss() -> float:
    """Return the resident size of this process, in MiB."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * PAGE_MIB
