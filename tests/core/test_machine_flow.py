"""Stories of many jobs: who goes first, who is held back, and a storage that fails."""

import pytest

from knock.core import commands as cmd, events as ev
from knock.core.breaker import BreakerState
from knock.core.job import JobState, Spent
from knock.core.policy import BreakerPolicy, JobPolicy
from tests.core.story import (
    ERROR,
    TINY,
    Story,
    a_claim,
    ended,
    guarded,
    released,
    run_of,
    send,
    settle,
    settled_as,
    told,
)

# --- failures and breakers ---


def test_worker_is_told_to_go_on_with_a_type_after_a_failure():
    story = Story(policy=JobPolicy(breaker=BreakerPolicy()))
    story.learn()
    claims = [a_claim(1), a_claim(2)]
    story.claimed(*claims)
    story.ended(ended(41, ERROR, wall_seconds=TINY))
    story.settled()
    assert story.tell(ev.JobsHandedBack(0, 1, [42])) == [
        cmd.ResumeType(0, 1, "t"),
        guarded(0, (43, claims[1])),
    ]


def test_breaker_opens_waits_probes_and_closes():
    breaker = BreakerPolicy(threshold=2, reset_timeout=10.0)
    story = Story(workers=2, policy=JobPolicy(breaker=breaker))
    claims = [a_claim(i) for i in range(1, 5)]
    assert story.claimed(*claims[:2], has_more=True) == [
        guarded(0, (1, claims[0])),
        guarded(1, (2, claims[1])),
    ]
    # One failure more opens it, so one worker may have the type, and one has.
    [claim, _] = story.ended(ended(1, ERROR))
    assert claim == cmd.ClaimJobs(2, 1, {"t": 0})
    assert story.ended(ended(2, ERROR), worker=1) == [
        told(cmd.NoticeName.BREAKER_OPENED, 100.0, job_type="t")
    ]
    assert story.machine.breakers() == {"t": BreakerState.OPEN}
    assert story.machine.next_deadline() == 110.0
    story.settled()
    story.settled()
    assert story.claimed(has_more=True) == [cmd.ClaimJobs(3, 2, {"t": 0})]
    assert story.claimed(has_more=True) == []

    assert story.tell(ev.TimePassed(), at=110.0) == [
        cmd.ClaimJobs(4, 2, {"t": 1}),
        told(cmd.NoticeName.BREAKER_HALF_OPENED, 110.0, job_type="t"),
    ]
    assert story.claimed(claims[2], has_more=True) == [
        cmd.ResumeType(0, 1, "t"),
        guarded(0, (3, claims[2])),
    ]
    assert story.ended(ended(3)) == [
        cmd.ClaimJobs(5, 2, {}),
        settle(3, settled_as(claims[2], JobState.COMPLETED, run_of(claims[2]))),
        told(cmd.NoticeName.BREAKER_CLOSED, 110.0, job_type="t"),
    ]


def test_job_of_an_open_type_goes_back_to_the_storage_uncharged():
    breaker = BreakerPolicy(threshold=1, reset_timeout=10.0)
    story = Story(workers=2, policy=JobPolicy(breaker=breaker))
    first, second = a_claim(1), a_claim(2)
    assert story.claimed(first, second) == [guarded(0, (1, first))]
    attempt = run_of(first, ERROR)
    assert story.ended(ended(1, ERROR)) == [
        settle(
            1,
            settled_as(
                first,
                JobState.DEAD,
                attempt,
                spent=Spent(failures=1),
                reason="retries_exhausted",
            ),
            released(second),
        ),
        told(cmd.NoticeName.BREAKER_OPENED, 100.0, job_type="t"),
    ]


def test_hung_job_of_the_past_does_not_take_the_place_of_a_probe():
    breaker = BreakerPolicy(threshold=1, probes=2, reset_timeout=10.0)
    story = Story(workers=3, policy=JobPolicy(breaker=breaker))
    story.claimed(a_claim(1))
    story.ended(ended(1, ERROR))
    story.settled()
    story.tell(ev.TimePassed(), at=110.0)
    story.claimed(a_claim(2), a_claim(3))
    # Of the two probes one fails and one hangs.
    story.ended(ended(2, ERROR))
    # The one that hangs has begun.
    reading = ev.Reading(3, 110.0, 0)
    assert story.tell(ev.LedgersRead({1: (1, reading)})) == []
    assert story.machine.next_deadline() == 130.0
    assert story.tell(ev.TimePassed(), at=130.0)[-1] == told(
        cmd.NoticeName.BREAKER_HALF_OPENED, 130.0, job_type="t"
    )
    probes = a_claim(4), a_claim(5)
    assert story.claimed(*probes) == [
        cmd.ResumeType(0, 1, "t"),
        guarded(0, (4, probes[0])),
        guarded(2, (5, probes[1])),
    ]


def test_second_probe_goes_to_another_worker_in_the_same_turn():
    breaker = BreakerPolicy(threshold=1, probes=2, reset_timeout=10.0)
    story = Story(workers=2, policy=JobPolicy(breaker=breaker))
    story.learn(jobs=1)
    claim = a_claim(1)
    story.claimed(claim)
    story.ended(ended(2, ERROR))
    story.settled()
    story.tell(ev.TimePassed(), at=110.0)
    probes = a_claim(2), a_claim(3)
    assert story.claimed(*probes) == [
        cmd.ResumeType(0, 1, "t"),
        guarded(0, (3, probes[0])),
        guarded(1, (4, probes[1])),
    ]


def test_worker_that_holds_a_bounded_type_is_refilled_though_another_is_idle():
    story = Story(workers=2, policy=JobPolicy(max_concurrency=1))
    story.learn(0.001)
    first, second = a_claim(1), a_claim(2)
    assert story.claimed(first) == [send(0, (41, first))]
    assert story.claimed(second) == [send(0, (42, second))]


def test_max_concurrency_bounds_the_workers_that_hold_the_type():
    story = Story(workers=3, policy=JobPolicy(max_concurrency=2))
    claims = [a_claim(i) for i in range(1, 4)]
    assert story.claimed(*claims) == [send(0, (1, claims[0])), send(1, (2, claims[1]))]
    orders = story.ended(ended(2), worker=1)
    assert send(1, (3, claims[2])) in orders or send(2, (3, claims[2])) in orders


# --- order ---


def test_urgent_job_has_less_urgent_ones_taken_back_before_it_is_sent():
    story = Story()
    story.learn()
    low = [a_claim(i, priority=2) for i in range(1, 4)]
    high = a_claim(4, priority=0)
    story.claimed(*low)
    assert story.claimed(high) == [cmd.RevokePermits(0, 1, [42, 43])]
    assert story.tell(ev.PermitsRevoked(0, 1, [42, 43])) == [
        send(0, (44, high)),
    ]


def test_idle_worker_gets_half_of_what_waits_behind_another():
    story = Story(workers=2)
    story.learn(0.001)
    claims = [a_claim(i) for i in range(1, 9)]
    first, second = story.claimed(*claims)
    assert [len(first.jobs), len(second.jobs)] == [4, 4]
    story.ended(*[ended(d.ticket, wall_seconds=0.001) for d in second.jobs], worker=1)
    tickets = [d.ticket for d in first.jobs]
    assert story.settled() == []
    assert story.tell(ev.TimePassed(), at=100.001) == []
    assert story.machine._slots[0].revoking[0] == tickets[2:]


# --- the storage fails ---


def test_claim_that_failed_is_asked_again_later():
    story = Story()
    assert story.tell(ev.ClaimFailed(1)) == []
    assert story.machine.next_deadline() == pytest.approx(100.1)
    assert story.tell(ev.JobsAdded(1, 0.0)) == []
    assert story.tell(ev.TimePassed(), at=100.2) == [cmd.ClaimJobs(2, 1, {})]
    assert story.tell(ev.ClaimFailed(2)) == []
    assert story.machine.next_deadline() == pytest.approx(100.4)


def test_settlement_that_failed_is_sent_again_and_more_gathers_behind_it():
    story = Story(workers=2)
    first, second = a_claim(1), a_claim(2)
    story.claimed(first, second)
    one = settled_as(first, JobState.COMPLETED, run_of(first))
    two = settled_as(second, JobState.COMPLETED, run_of(second, pid=1001))
    assert story.ended(ended(1)) == [settle(1, one)]
    assert story.ended(ended(2), worker=1) == []
    assert story.tell(ev.SettleFailed(1)) == []
    assert story.tell(ev.TimePassed(), at=100.1) == [settle(2, one)]
    assert story.settled() == [settle(3, two)]
