"""How far ahead the input is pulled."""

from knock.core.job import JobRecord, JobSpec, JobState
from knock.run.window import MAX_WAITING, Window


def finished(count, size=10):
    spec = JobSpec(1, "a", b"x" * size, 1, 0.0, 0.0)
    return [JobRecord(spec=spec, state=JobState.COMPLETED, result=b"")] * count


def test_it_starts_small_and_with_a_few_for_each_worker():
    assert Window(1, 0.0).limit == 16
    assert Window(100, 0.0).limit == 400


def test_nothing_is_pulled_until_a_quarter_is_free():
    window = Window(1, 0.0)
    assert [window.room(waiting) for waiting in (0, 12, 13, 16, 20)] == [16, 4, 0, 0, 0]


def test_quick_jobs_widen_it_up_to_a_limit():
    window = Window(1, 0.0)
    window.took(finished(20), 0.01)
    assert window.limit == 100
    window.took(finished(4000), 0.02)
    assert window.limit == MAX_WAITING


def test_a_slow_consumer_narrows_it_again():
    window = Window(1, 0.0)
    window.took(finished(1000), 0.01)
    assert window.limit == MAX_WAITING
    window.took(finished(100), 5.0)
    assert window.limit == 16


def test_too_short_a_time_teaches_nothing():
    window = Window(1, 0.0)
    window.took(finished(16), 0.0001)
    assert window.limit == 16
    window.took(finished(16), 0.01)
    assert window.limit == 160


def test_heavy_jobs_keep_it_small_but_for_the_least():
    window = Window(1, 0.0)
    window.took(finished(1000, size=1 << 20), 0.01)
    assert window.limit == 64
    window.took(finished(1000, size=64 << 20), 0.02)
    assert window.limit == 16
