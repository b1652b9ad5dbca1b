from hypothesis import given, strategies as st

from knock.core.job import AttemptOutcome, JobState
from knock.outcome import Outcome
from knock.report.statistic import Spread, collect, percentile
from tests.report.build import a_record, an_attempt

FLOATS = st.lists(st.floats(0.0, 1e6), min_size=1, max_size=200)


@given(FLOATS, st.integers(1, 100))
def test_a_percentile_is_the_least_value_with_enough_at_or_below_it(values, percent):
    values.sort()
    found = percentile(values, percent)
    at_or_below = sum(value <= found for value in values)
    below = sum(value < found for value in values)
    assert found in values
    assert 100 * at_or_below >= percent * len(values)
    assert 100 * below < percent * len(values)


def test_the_known_example_of_nearest_rank():
    values = [15.0, 20.0, 35.0, 40.0, 50.0]
    assert [percentile(values, p) for p in (5, 30, 40, 50, 100)] == [15.0, 20.0, 20.0, 35.0, 50.0]


def test_whole_ranks_do_not_suffer_from_rounding():
    assert percentile([float(i) for i in range(1, 21)], 95) == 19.0
    assert percentile([float(i) for i in range(1, 101)], 99) == 99.0


def test_a_spread_of_nothing_is_nought():
    assert Spread.of([]) == Spread()


def test_numbers_are_per_type_and_in_all():
    records = [
        a_record(JobState.COMPLETED, an_attempt(wall=1.0), job_type="a"),
        a_record(
            JobState.DEAD,
            an_attempt(AttemptOutcome.ERROR, wall=2.0),
            an_attempt(AttemptOutcome.TIMEOUT, wall=4.0),
            job_type="b",
        ),
        a_record(JobState.QUEUED, job_type="b"),
    ]
    found = collect([Outcome(i, None, record) for i, record in enumerate(records)])
    a, b = found.types
    assert (a.job_type, a.job_count, a.attempt_count, a.wall.max) == ("a", 1, 1, 1.0)
    assert (b.job_type, b.job_count, b.attempt_count, b.unfinished_count) == ("b", 2, 2, 1)
    assert b.attempts == {AttemptOutcome.ERROR: 1, AttemptOutcome.TIMEOUT: 1}
    total = found.total
    assert (total.job_type, total.job_count, total.attempt_count) == ("all", 3, 3)
    assert (total.wall.p50, total.wall.max, total.wall.total) == (2.0, 4.0, 7.0)
    assert total.states == {JobState.COMPLETED: 1, JobState.DEAD: 1, JobState.QUEUED: 1}
    assert (total.peak_rss_bytes, total.rss_before_bytes) == (200 << 20, 100 << 20)
