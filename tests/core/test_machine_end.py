"""Stories of jobs that are not to run on: cancel, pause, stop."""

from dataclasses import replace

import pytest

from knock.core import commands as cmd, events as ev
from knock.core.job import AttemptOutcome, Death, JobState, Spent
from knock.core.policy import BreakerPolicy, JobPolicy, RetryPolicy, StopRule
from tests.core.story import (
    ERROR,
    TINY,
    Story,
    a_claim,
    death_of,
    ended,
    released,
    run_of,
    settle,
    settled_as,
    told,
)

# --- cancel, pause, stop ---


def test_cancel_of_a_job_that_is_not_here_goes_to_the_storage():
    assert Story().tell(ev.CancelRequested([77])) == [cmd.CancelStored([77])]


def test_cancel_of_a_job_in_a_window_takes_it_back():
    story = Story()
    story.learn()
    claims = [a_claim(1), a_claim(2)]
    story.claimed(*claims)
    assert story.tell(ev.CancelRequested([2])) == [cmd.RevokePermits(0, 1, [42])]
    assert story.tell(ev.PermitsRevoked(0, 1, [42])) == [
        settle(41, settled_as(claims[1], JobState.CANCELLED))
    ]


def test_cancel_of_a_running_job_kills_its_worker_and_charges_nothing():
    story = Story(policy=JobPolicy(retry=RetryPolicy(retry_attempts=3)))
    claim = a_claim(1)
    story.claimed(claim)
    assert story.tell(ev.CancelRequested([1])) == [cmd.RevokePermits(0, 1, [1])]
    assert story.tell(ev.PermitsRevoked(0, 1, [])) == [
        cmd.KillWorker(0, 1, 1, cmd.KillCause.CANCELLED)
    ]
    death = Death(signal=9)
    attempt = death_of(
        claim, AttemptOutcome.CANCELLED, death, started_at=100.0, wall_seconds=1.0, waited=100.0
    )
    assert story.tell(ev.WorkerExited(0, 1, death, [], 100.0), at=101.0) == [
        cmd.StartWorker(0, 2),
        settle(1, settled_as(claim, JobState.CANCELLED, attempt)),
        cmd.Publish([cmd.Notice(cmd.NoticeName.WORKER_EXITED, 101.0, worker=0, death=death)]),
    ]


def test_cancelled_job_that_started_behind_an_unheard_result_is_killed_too():
    story = Story()
    story.learn()
    story.claimed(a_claim(1), a_claim(2))
    story.tell(ev.CancelRequested([2]))
    assert story.tell(ev.PermitsRevoked(0, 1, [])) == []
    assert story.ended(ended(41, wall_seconds=TINY))[0] == cmd.KillWorker(
        0, 1, 42, cmd.KillCause.CANCELLED
    )


def test_cancel_that_meets_a_claim_under_way_is_kept():
    story = Story()
    assert story.tell(ev.CancelRequested([1])) == [cmd.CancelStored([1])]
    claim = a_claim(1)
    assert story.claimed(claim) == [settle(1, settled_as(claim, JobState.CANCELLED))]


def test_cancel_that_meets_a_claim_of_a_type_that_has_opened_is_kept():
    breaker = BreakerPolicy(threshold=1, reset_timeout=10.0)
    story = Story(workers=2, policy=JobPolicy(breaker=breaker))
    story.claimed(a_claim(1))
    story.tell(ev.JobsAdded(1, 0.0))
    story.ended(ended(1, ERROR))
    story.settled()
    assert story.tell(ev.CancelRequested([2])) == [cmd.CancelStored([2])]
    claim = a_claim(2)
    assert story.claimed(claim) == [settle(2, released(claim))]
    assert story.settled() == [cmd.CancelStored([2]), cmd.ClaimJobs(3, 2, {"t": 0})]


def test_pause_takes_back_what_waits_and_resume_claims_again():
    story = Story()
    story.learn()
    claims = [a_claim(i) for i in range(1, 4)]
    story.claimed(*claims)
    assert story.tell(ev.PauseRequested()) == [cmd.RevokePermits(0, 1, [41, 42, 43])]
    assert story.tell(ev.PermitsRevoked(0, 1, [42, 43])) == [
        settle(41, released(claims[1]), released(claims[2]))
    ]
    assert story.settled() == []
    assert story.ended(ended(41, wall_seconds=TINY)) == [
        settle(42, settled_as(claims[0], JobState.COMPLETED, run_of(claims[0], wall_seconds=TINY)))
    ]
    assert story.tell(ev.ResumeRequested()) == [cmd.ClaimJobs(42, 1, {})]


def test_stop_waits_for_what_runs_then_ends_the_workers_and_the_pool():
    story = Story()
    claim = a_claim(1)
    story.claimed(claim)
    assert story.tell(ev.StopRequested(None)) == [cmd.RevokePermits(0, 1, [1])]
    assert story.tell(ev.PermitsRevoked(0, 1, [])) == []
    assert story.ended(ended(1)) == [
        cmd.StopWorker(0, 1),
        settle(1, settled_as(claim, JobState.COMPLETED, run_of(claim))),
    ]
    assert story.tell(ev.WorkerExited(0, 1, Death(exit_code=0))) == []
    assert story.settled() == [cmd.EndPool()]
    assert story.machine.is_ended


def test_job_that_runs_at_the_deadline_of_the_stop_is_killed_and_released_uncharged():
    story = Story()
    claim = a_claim(1, spent=Spent(failures=1))
    story.claimed(claim)
    story.tell(ev.StopRequested(103.0))
    story.tell(ev.PermitsRevoked(0, 1, []))
    assert story.machine.next_deadline() == 103.0
    assert story.tell(ev.TimePassed(), at=103.0) == [
        cmd.KillWorker(0, 1, 1, cmd.KillCause.RELEASED)
    ]
    death = Death(signal=9)
    attempt = death_of(
        claim, AttemptOutcome.RELEASED, death, started_at=100.0, wall_seconds=3.0, waited=100.0
    )
    assert story.tell(ev.WorkerExited(0, 1, death, [], 100.0)) == [
        settle(1, settled_as(claim, JobState.QUEUED, attempt, run_at=0.0))
    ]
    assert story.settled() == [cmd.EndPool()]


def test_batch_is_given_up_after_so_many_deaths():
    story = Story(workers=2, stop_rule=StopRule(failures=1))
    claims = [a_claim(1), a_claim(2), a_claim(3)]
    story.claimed(*claims)
    dead = settled_as(
        claims[0],
        JobState.DEAD,
        run_of(claims[0], ERROR),
        spent=Spent(failures=1),
        reason="retries_exhausted",
    )
    assert story.ended(ended(1, ERROR)) == [
        cmd.RevokePermits(1, 1, [2]),
        settle(1, dead, released(claims[2])),
        told(cmd.NoticeName.STOP_RULE_REACHED, 100.0, detail="1 of 1 finished jobs died"),
    ]
    assert story.tell(ev.ResumeRequested()) == []


def test_worker_that_keeps_ending_before_its_first_job_is_started_ever_later():
    story = Story()
    crash = Death(signal=9)
    delays = []
    for generation in range(1, 11):
        died = story.tell(ev.WorkerExited(0, generation, crash))
        start = cmd.StartWorker(0, generation + 1)
        if start not in died:
            due = story.machine.next_deadline()
            delays.append(due - story.now)
            assert start in story.tell(ev.TimePassed(), at=due)
        else:
            delays.append(0.0)
        story.tell(ev.WorkerReady(0, generation + 1, 1000))
    assert delays == pytest.approx([0.0, 0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 5.0, 5.0, 5.0])


def test_job_given_ends_the_waiting_for_workers_that_ended_early():
    story = Story()
    crash = Death(signal=9)
    story.tell(ev.WorkerExited(0, 1, crash))
    story.tell(ev.WorkerReady(0, 2, 1000))
    story.claimed(a_claim(1))
    story.ended(ended(1), generation=2)
    assert cmd.StartWorker(0, 3) in story.tell(ev.WorkerExited(0, 2, crash))


def test_policy_that_replaces_an_open_breaker_tells_that_it_is_closed():
    policy = JobPolicy(breaker=BreakerPolicy(threshold=1))
    story = Story(policy=policy)
    story.claimed(a_claim(1))
    story.ended(ended(1, ERROR))
    story.settled()
    closed = told(cmd.NoticeName.BREAKER_CLOSED, 100.0, job_type="t")
    assert closed not in story.tell(ev.PolicySet("t", replace(policy, timeout=1.0)))
    assert closed in story.tell(ev.PolicySet("t", JobPolicy()))
