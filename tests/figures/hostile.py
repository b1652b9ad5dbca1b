"""The catalogue of hostile jobs: how many faults harm no neighbour, hang nothing, run nothing."""

from collections.abc import Iterator

from tests.figures.row import Row, at_most, equal
from tests.process.arena import Arena
from tests.process.catalogue import CATALOGUE

# The tests play every row once.
ONE_IN = 6
ROUNDS = 5


def rows(*, quick: bool) -> Iterator[Row]:
    run = [row for row in CATALOGUE if not row.not_run]
    played = run[::ONE_IN] if quick else run * ROUNDS
    harmful: list[str] = []
    arena = Arena()
    for row in played:
        try:
            arena.play(row)
        except Exception as exc:
            harmful.append(f"{row}: {exc}")
            arena.close()
            arena = Arena()
    arena.close()
    keys = {row.key for row in played}
    good = keys - {text.split()[0] for text in harmful}
    for text in harmful:
        yield equal(text, "harmful", "harmless")
    yield equal("faults that harm no neighbour", f"{len(good)} of {len(keys)}", _all(len(keys)))
    yield equal("... of all times that a row was played", len(played) - len(harmful), len(played))
    left_out = [row for row in CATALOGUE if row.not_run]
    yield at_most("faults that cannot be run here", len(left_out), 3)
    for row in left_out:
        yield Row(f"... {row}", row.not_run, "", ok=True)


def _all(number: int) -> str:
    return f"{number} of {number}"
