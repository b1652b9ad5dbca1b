"""The catalogue of hostile jobs, row by row, in one queue that outlives them all."""

from collections import Counter
from collections.abc import Iterator

import pytest

from tests.process.arena import Arena
from tests.process.catalogue import CATALOGUE, Row

pytestmark = pytest.mark.process

RUN = [
    pytest.param(row, marks=[pytest.mark.needs(row.needs)] if row.needs else [])
    for row in CATALOGUE
    if not row.not_run
]
# What the process that forks has a part in; the rest is between worker and supervisor.
DEATHS = [param for param in RUN if param.values[0].key in ("W1", "W2", "W3", "W4", "W20", "W22")]


class _Arenas:
    """The arena of one start method; another one once a row has spoiled it."""

    def __init__(self, start_method: str) -> None:
        self.start_method = start_method
        self.arena = Arena(start_method)

    def play(self, row: Row) -> None:
        try:
            self.arena.play(row)
        except BaseException:
            self.arena.close()
            self.arena = Arena(self.start_method)
            raise


@pytest.fixture(scope="module")
def arenas(request: pytest.FixtureRequest) -> Iterator[_Arenas]:
    arenas = _Arenas(request.param)
    yield arenas
    arenas.arena.close()


@pytest.mark.parametrize("arenas", ["forkserver"], indirect=True)
@pytest.mark.parametrize("row", RUN, ids=str)
def test_a_hostile_job_costs_itself_and_no_other(arenas, row):
    arenas.play(row)


@pytest.mark.parametrize("arenas", ["spawn", "fork"], indirect=True)
@pytest.mark.parametrize("row", DEATHS, ids=str)
def test_a_death_costs_one_job_whatever_the_start_method(arenas, row):
    arenas.play(row)


def test_the_catalogue_is_complete_and_says_what_is_not_run():
    keys = Counter(row.key for row in CATALOGUE)
    assert set(keys) == {f"W{number}" for number in range(1, 49)}
    assert len([row for row in CATALOGUE if row.not_run]) <= 3
