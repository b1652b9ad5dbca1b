"""Rates out of totals."""

from knock.core.breaker import BreakerState
from knock.queue.stats import NO_RATES, QueueStats, RateMeter, Rates, Snapshot, Totals
from knock.storage.base import Counts


def test_rates_are_of_the_time_since_the_start():
    meter = RateMeter(100.0)
    assert meter.read(Totals(), 100.0) == NO_RATES
    assert meter.read(Totals(10, 4, 2), 102.0) == Rates(5.0, 2.0, 1.0)


def test_rates_are_of_the_last_minute():
    meter = RateMeter(0.0)
    for second in range(1, 200):
        meter.read(Totals(added=100 if second > 100 else 0, completed=second), float(second))
    rates = meter.read(Totals(added=100, completed=200), 200.0)
    assert rates == Rates(0.0, 1.0, 0.0)


def test_readings_closer_than_a_second_do_not_pile_up():
    meter = RateMeter(0.0)
    for step in range(1000):
        meter.read(Totals(completed=step), step / 100)
    assert meter.read(Totals(completed=1000), 10.0).completed == 100.0


def test_a_snapshot_adds_what_was_before():
    snapshot = Snapshot(
        counts=Counts(queued=3, delayed=1, processing=2, completed=5, dead=1, cancelled=4),
        totals=Totals(added=9, completed=6, failed=2),
        rates=Rates(1.0, 2.0, 3.0),
        retrying=1,
        workers=2,
        breakers={"a": BreakerState.OPEN},
    )
    assert snapshot.stats(Totals(added=1, completed=1, failed=1), is_paused=True) == QueueStats(
        queued=3,
        delayed=1,
        retrying=1,
        processing=2,
        completed=7,
        failed=3,
        dead=1,
        cancelled=4,
        workers=2,
        is_paused=True,
        added_per_second=1.0,
        completed_per_second=2.0,
        failed_per_second=3.0,
        breakers={"a": BreakerState.OPEN},
    )
