"""Stories of one breaker; its part in the machine is told in ``test_machine.py``."""

import pytest
from hypothesis import given, settings, strategies as st

from knock.core.breaker import Breaker, BreakerState
from knock.core.policy import BreakerPolicy

CLOSED, OPEN, HALF_OPEN = BreakerState.CLOSED, BreakerState.OPEN, BreakerState.HALF_OPEN


def a_breaker(**policy):
    return Breaker(BreakerPolicy(**{"reset_timeout": 10.0, "reset_timeout_max": 60.0, **policy}))


def run(breaker, *ends, now=0.0):
    """Hand out a job for each character and end it: ``.`` success, ``x`` failure, ``-`` neither."""
    for end in "".join(ends):
        epoch = breaker.admit(now)
        match end:
            case ".":
                breaker.succeed(epoch, now)
            case "x":
                breaker.fail(epoch, now)
            case _:
                breaker.give_back(epoch)


def opened(now=0.0, **policy):
    breaker = a_breaker(threshold=1, **policy)
    run(breaker, "x", now=now)
    assert breaker.state is OPEN
    return breaker


def test_breaker_grants_as_many_workers_as_failures_are_missing():
    breaker = a_breaker(threshold=3)
    assert (breaker.state, breaker.places(0.0), breaker.wake_at) == (CLOSED, 3, None)

    run(breaker, "x")
    assert breaker.places(0.0) == 2
    run(breaker, "x")
    assert breaker.places(0.0) == 1
    run(breaker, ".")
    assert breaker.places(0.0) == 3

    run(breaker, "xxx", now=5.0)
    assert (breaker.state, breaker.places(5.0), breaker.wake_at) == (OPEN, 0, 15.0)


def test_job_that_ends_without_a_verdict_changes_nothing():
    breaker = a_breaker(threshold=2)
    run(breaker, "x-")
    assert (breaker.state, breaker.places(0.0)) == (CLOSED, 1)


def test_open_breaker_becomes_half_open_when_its_wait_is_over():
    breaker = opened(probes=2)

    breaker.tick(9.9)
    assert (breaker.state, breaker.places(9.9)) == (OPEN, 0)
    assert breaker.places(10.0) == 2
    breaker.tick(10.0)
    assert (breaker.state, breaker.places(10.0), breaker.wake_at) == (HALF_OPEN, 2, None)


def test_job_handed_out_after_the_wait_is_a_probe_without_a_tick_before():
    breaker = opened()
    run(breaker, ".", now=10.0)
    assert breaker.state is CLOSED


def test_as_many_successes_in_a_row_as_probes_close_it():
    breaker = opened(probes=3)
    run(breaker, "..", now=10.0)
    assert breaker.state is HALF_OPEN
    run(breaker, ".", now=10.0)
    assert (breaker.state, breaker.places(10.0)) == (CLOSED, 1)


def test_failed_probe_opens_it_for_twice_as_long_up_to_a_limit():
    breaker = opened(probes=3)
    waits = []
    for _ in range(5):
        begun = breaker.wake_at
        run(breaker, ".x", now=begun)
        assert breaker.state is OPEN
        waits.append(breaker.wake_at - begun)
    assert waits == [20.0, 40.0, 60.0, 60.0, 60.0]


def test_closing_makes_the_next_wait_short_again():
    breaker = opened()
    run(breaker, "x", now=10.0)
    run(breaker, ".", now=30.0)
    assert breaker.state is CLOSED
    run(breaker, "x", now=31.0)
    assert breaker.wake_at == 41.0


def test_waits_never_overflow():
    breaker = opened()
    for _ in range(2000):
        run(breaker, "x", now=breaker.wake_at)
    assert breaker.wake_at == pytest.approx(10 + 20 + 40 + 1998 * 60)


def test_probe_without_a_verdict_gives_its_place_back():
    breaker = opened(probes=2)
    breaker.tick(10.0)
    first, second = breaker.admit(10.0), breaker.admit(10.0)
    assert breaker.free_probes == 0
    breaker.give_back(first)
    assert breaker.free_probes == 1
    breaker.succeed(second, 10.0)
    assert (breaker.free_probes, breaker.state) == (2, HALF_OPEN)


def test_no_probe_is_free_but_in_half_open():
    breaker = a_breaker(threshold=1)
    assert breaker.free_probes == 0
    run(breaker, "x")
    assert breaker.free_probes == 0


def test_late_results_of_an_earlier_epoch_count_for_nothing():
    breaker = a_breaker(threshold=2, probes=1)
    late = [breaker.admit(0.0) for _ in range(5)]
    run(breaker, "xx")

    breaker.succeed(late[0], 1.0)
    breaker.fail(late[1], 1.0)
    assert (breaker.state, breaker.wake_at) == (OPEN, 10.0)

    breaker.tick(10.0)
    breaker.succeed(late[2], 10.0)
    breaker.fail(late[3], 10.0)
    breaker.give_back(late[4])
    assert (breaker.state, breaker.free_probes) == (HALF_OPEN, 1)


def test_probe_that_fails_after_the_others_closed_it_counts_for_nothing():
    breaker = opened(probes=2)
    breaker.tick(10.0)
    late = breaker.admit(10.0)
    run(breaker, "..", now=10.0)
    breaker.fail(late, 11.0)
    assert (breaker.state, breaker.places(11.0)) == (CLOSED, 1)


def test_breaker_that_replaces_another_ignores_its_jobs():
    old = a_breaker(threshold=1)
    epoch = old.admit(0.0)
    new = Breaker(BreakerPolicy(threshold=1), epoch=old.epoch + 1)
    new.fail(epoch, 0.0)
    assert new.state is CLOSED
    new.fail(0, 0.0)  # handed out when there was no breaker
    assert new.state is CLOSED


def test_failure_rate_opens_it_once_enough_calls_are_known():
    breaker = a_breaker(threshold=99, failure_rate=0.5, minimum_calls=4, window=6)
    run(breaker, "x.x")
    assert breaker.state is CLOSED
    run(breaker, "x")
    assert breaker.state is OPEN


def test_success_that_completes_the_minimum_may_open_it():
    breaker = a_breaker(threshold=99, failure_rate=0.75, minimum_calls=4, window=6)
    run(breaker, "xxx")
    assert breaker.state is CLOSED
    run(breaker, ".")
    assert breaker.state is OPEN


def test_failure_rate_forgets_what_left_the_window():
    breaker = a_breaker(threshold=99, failure_rate=0.5, minimum_calls=6, window=6)
    run(breaker, "xx....")
    run(breaker, "..x.x.")
    assert breaker.state is CLOSED
    run(breaker, "x")
    assert breaker.state is OPEN


def test_failure_rate_begins_anew_after_closing():
    breaker = a_breaker(threshold=99, failure_rate=0.5, minimum_calls=2, window=6)
    run(breaker, "xx")
    run(breaker, ".", now=10.0)
    run(breaker, "x", now=10.0)
    assert breaker.state is CLOSED


def test_failure_rate_of_zero_needs_a_failure():
    breaker = a_breaker(threshold=99, failure_rate=0.0, minimum_calls=1, window=5)
    run(breaker, "....")
    assert breaker.state is CLOSED
    run(breaker, "x")
    assert breaker.state is OPEN


def test_minimum_larger_than_the_window_is_reached_by_a_full_window():
    breaker = a_breaker(threshold=99, failure_rate=1.0, minimum_calls=20, window=3)
    run(breaker, "xxx")
    assert breaker.state is OPEN


@settings(max_examples=300)
@given(
    threshold=st.integers(1, 6),
    probes=st.integers(1, 4),
    workers=st.integers(1, 12),
    plan=st.lists(st.tuples(st.integers(0, 11), st.sampled_from("..xxxx-t")), max_size=200),
)
def test_threshold_holds_for_any_number_of_workers_and_any_order(threshold, probes, workers, plan):
    breaker = a_breaker(threshold=threshold, probes=probes)
    now, failures, out = 0.0, 0, {}
    for worker, move in plan:
        if move == "t":
            now += 7.0
            breaker.tick(now)
        elif worker in out:
            epoch = out.pop(worker)
            before = breaker.epoch
            {".": breaker.succeed, "x": breaker.fail, "-": lambda e, _: breaker.give_back(e)}[move](
                epoch, now
            )
            assert before in (epoch, breaker.epoch)  # the past changes nothing
            failures = failures + 1 if move == "x" else 0 if move == "." else failures
        elif worker < workers and len(out) < breaker.places(now):
            was_probe = breaker.state is not CLOSED
            out[worker] = breaker.admit(now)
            # A run of failures ends only with a success, or is followed by a probe.
            assert was_probe or failures < threshold + workers - 1
            failures = 0 if was_probe else failures
        assert 0 <= breaker.free_probes <= probes
        assert (breaker.wake_at is not None) is (breaker.state is OPEN)


def test_clock_that_goes_back_keeps_an_open_breaker_open_for_its_wait():
    breaker = opened(now=1000.0)
    for earlier in (999.0, 0.0, -1e9):
        breaker.tick(earlier)
        assert (breaker.state, breaker.places(earlier)) == (OPEN, 0)
    breaker.tick(1010.0)
    assert breaker.state is HALF_OPEN


@given(ends=st.lists(st.sampled_from(".x"), max_size=300), minimum=st.integers(1, 10))
def test_type_that_flaps_opens_no_more_often_than_its_rules_allow(ends, minimum):
    breaker = a_breaker(threshold=4, probes=1, failure_rate=0.5, minimum_calls=minimum, window=10)
    now, calls = 0.0, 0
    for end in ends:
        run(breaker, end, now=now)
        calls += 1
        if breaker.state is OPEN:
            # So many calls, or so many failures in a row, lie behind it.
            assert calls >= min(minimum, 4)
            assert breaker.wake_at == now + 10.0
            now = breaker.wake_at
            run(breaker, ".", now=now)
            assert breaker.state is CLOSED
            calls = 0


def test_success_and_failure_in_turn_open_no_breaker_that_counts_failures_in_a_row():
    breaker = a_breaker(threshold=2)
    run(breaker, ".x" * 1000)
    assert breaker.state is CLOSED
