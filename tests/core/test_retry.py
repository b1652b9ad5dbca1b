from random import Random

import pytest
from hypothesis import given, strategies as st

from knock.core.job import NOTHING_SPENT, AttemptOutcome, Spent
from knock.core.policy import RetryPolicy
from knock.core.retry import Bury, Retry, backoff, judge

CHARGING = [
    AttemptOutcome.ERROR,
    AttemptOutcome.TIMEOUT,
    AttemptOutcome.CRASH,
    AttemptOutcome.OUT_OF_MEMORY,
    AttemptOutcome.LOST,
]


def verdict(policy, outcome, spent=NOTHING_SPENT, **more):
    return judge(policy, spent, outcome, rng=Random(1), **more)


def runs(outcome, policy, **more):
    """How often a job runs that always ends like this, and why it is dead then."""
    spent = NOTHING_SPENT
    for run in range(1, 100):
        ruling = verdict(policy, outcome, spent, **more)
        if isinstance(ruling, Bury):
            return run, ruling.reason
        spent = ruling.spent
    raise AssertionError("it is retried for ever")


@pytest.mark.parametrize(
    "outcome,policy,expected",
    [
        ("error", RetryPolicy(), (1, "retries_exhausted")),
        ("error", RetryPolicy(retry_attempts=3), (4, "retries_exhausted")),
        ("timeout", RetryPolicy(retry_attempts=3), (4, "retries_exhausted")),
        ("crash", RetryPolicy(retry_attempts=9), (3, "poison")),
        ("crash", RetryPolicy(retry_attempts=1), (2, "poison")),
        ("crash", RetryPolicy(), (1, "poison")),
        ("crash", RetryPolicy(retry_attempts=9, retry_crashes=0), (1, "poison")),
        ("crash", RetryPolicy(retry_crashes=4), (5, "poison")),
        ("out_of_memory", RetryPolicy(retry_attempts=9), (3, "poison")),
        ("out_of_memory", RetryPolicy(retry_attempts=9, retry_oom=1), (2, "poison")),
        ("lost", RetryPolicy(), (3, "lost")),
        ("lost", RetryPolicy(retry_attempts=9, retry_lost=0), (1, "lost")),
    ],
)
def test_job_runs_once_more_than_its_budget_says(outcome, policy, expected):
    assert runs(AttemptOutcome(outcome), policy) == expected


def test_budgets_are_apart():
    policy = RetryPolicy(retry_attempts=2, retry_delay=0.0)
    full = Spent(failures=2, crashes=2, out_of_memory=2, lost=2)

    for outcome, name in zip(CHARGING, Spent._fields[:1] + Spent._fields, strict=True):
        fresh = full._replace(**{name: 0})
        assert verdict(policy, outcome, fresh) == Retry(fresh._replace(**{name: 1}), 0.0)
        assert isinstance(verdict(policy, outcome, full), Bury)


def test_job_overrides_the_retries_of_its_type_and_with_them_those_after_crashes():
    policy = RetryPolicy(retry_attempts=5)
    assert runs(AttemptOutcome.ERROR, policy, retry_attempts=0) == (1, "retries_exhausted")
    assert runs(AttemptOutcome.ERROR, policy, retry_attempts=7) == (8, "retries_exhausted")
    assert runs(AttemptOutcome.CRASH, policy, retry_attempts=1) == (2, "poison")


def test_exception_that_is_not_to_be_retried_on_kills_at_once():
    policy = RetryPolicy(retry_attempts=5)
    assert verdict(policy, AttemptOutcome.ERROR, retryable=False) == Bury(
        Spent(failures=1), "not_retryable"
    )


def test_discard_keeps_its_text():
    policy = RetryPolicy(retry_attempts=5)
    assert verdict(policy, AttemptOutcome.ERROR, discard="no such user") == Bury(
        Spent(failures=1), "discarded: no such user"
    )
    assert verdict(policy, AttemptOutcome.ERROR, discard="").reason == "discarded"


def test_job_that_asks_for_later_is_charged_nothing():
    spent = Spent(failures=5)
    assert verdict(RetryPolicy(), AttemptOutcome.ERROR, spent, retry_after=7.0) == Retry(spent, 7.0)
    assert verdict(RetryPolicy(), AttemptOutcome.ERROR, retry_after=0.0) == Retry(Spent(), 0.0)


def test_delay_doubles_with_every_charged_attempt_of_any_kind():
    class NoChance(Random):
        def random(self):
            return 0.0

    policy = RetryPolicy(retry_attempts=9, retry_delay=1.0, retry_delay_max=5.0)
    spent = NOTHING_SPENT
    delays = []
    for outcome in (AttemptOutcome.ERROR, AttemptOutcome.CRASH, AttemptOutcome.TIMEOUT) * 2:
        ruling = judge(policy, spent, outcome, rng=NoChance())
        spent = ruling.spent
        delays.append(ruling.delay)
    assert delays == [1.0, 2.0, 4.0, 5.0, 5.0, 5.0]


@given(
    delay=st.just(0.0) | st.floats(1e-3, 1e9),
    cap=st.floats(0, 1e9),
    attempts=st.integers(1, 10**9),
    seed=st.integers(0, 1000),
)
def test_backoff_is_a_minimum_and_adds_up_to_half(delay, cap, attempts, seed):
    wait = backoff(RetryPolicy(retry_delay=delay, retry_delay_max=cap), attempts, Random(seed))
    least = min(cap, delay * 2 ** min(attempts - 1, 200))
    assert least <= wait <= 1.5 * least


@given(
    spent=st.builds(Spent, *[st.integers(0, 6)] * 4),
    outcome=st.sampled_from(CHARGING),
    retries=st.none() | st.integers(0, 5),
    policy=st.builds(
        RetryPolicy,
        retry_attempts=st.integers(0, 5),
        retry_crashes=st.none() | st.integers(0, 5),
        retry_oom=st.none() | st.integers(0, 5),
        retry_lost=st.integers(0, 5),
    ),
    retryable=st.booleans(),
)
def test_every_verdict_charges_exactly_one_attempt(spent, outcome, retries, policy, retryable):
    ruling = verdict(policy, outcome, spent, retry_attempts=retries, retryable=retryable)
    assert sum(ruling.spent) == sum(spent) + 1
    assert all(after >= before for before, after in zip(spent, ruling.spent, strict=True))


@pytest.mark.parametrize("outcome", CHARGING)
def test_job_whose_budget_was_lowered_below_what_it_has_spent_is_dead(outcome):
    none = RetryPolicy(retry_attempts=0, retry_lost=0)
    spent = Spent(failures=7, crashes=7, out_of_memory=7, lost=7)
    assert isinstance(verdict(none, outcome, spent), Bury)
    assert isinstance(verdict(none, outcome, spent, retry_attempts=3), Bury)


def test_ten_thousand_that_fail_at_once_do_not_come_back_as_a_wave():
    policy, rng = RetryPolicy(retry_attempts=9, retry_delay=10.0), Random(7)
    due = [judge(policy, NOTHING_SPENT, AttemptOutcome.ERROR, rng=rng).delay for _ in range(10_000)]
    assert 10.0 <= min(due) <= max(due) <= 15.0
    # Chi-squared against the uniform distribution, 50 bins: over 85.4 once in a thousand seeds.
    bins = [0] * 50
    for delay in due:
        bins[min(49, int((delay - 10.0) / 5.0 * 50))] += 1
    assert sum((count - 200) ** 2 / 200 for count in bins) < 85.4
