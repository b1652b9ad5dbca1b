"""Stories of workers that are replaced though nothing has gone wrong with them."""

import pytest

from knock.core import commands as cmd, events as ev
from knock.core.job import AttemptOutcome, Death, JobState, Spent
from knock.core.policy import JobPolicy
from tests.core.story import (
    SEGFAULT,
    TINY,
    Story,
    a_claim,
    death_of,
    ended,
    released,
    run_of,
    send,
    settle,
    settled_as,
    told,
    worker_exited,
)

EXIT = Death(exit_code=0, pid=1000)
KILLED = Death(signal=9, pid=1000)
WORN = ev.WorkerWorn(0, 1, "left threads")
STOP = cmd.StopWorker(0, 1)


def recycled(at, death=EXIT, *, detail="left threads"):
    return told(cmd.NoticeName.WORKER_RECYCLED, at, worker=0, death=death, detail=detail)


def exits(death=EXIT, unstarted=(), **more):
    return ev.WorkerExited(0, 1, death, list(unstarted), **more)


def test_worn_worker_ends_after_its_job_and_another_takes_its_place():
    story = Story()
    claim, other = a_claim(1), a_claim(2)
    story.claimed(claim)
    assert story.tell(WORN) == [cmd.RevokePermits(0, 1, [1])]
    assert story.tell(ev.PermitsRevoked(0, 1, [])) == []
    assert story.ended(ended(1)) == [
        STOP,
        settle(1, settled_as(claim, JobState.COMPLETED, run_of(claim))),
    ]
    assert story.tell(ev.JobsAdded(1, 0.0)) == []
    assert story.tell(exits()) == [cmd.StartWorker(0, 2), recycled(100.0)]
    assert story.tell(ev.WorkerReady(0, 2, 1001)) == [cmd.ClaimJobs(2, 1, {})]
    assert story.claimed(other) == [send(0, (2, other), generation=2)]


def test_what_waits_for_a_worn_worker_goes_to_another():
    story = Story(workers=2)
    story.learn()
    claims = [a_claim(1), a_claim(2), a_claim(3), a_claim(4)]
    story.claimed(*claims)
    first, second = sorted(story.machine._slots[0].window), sorted(story.machine._slots[1].window)
    assert len(first) == len(second) == 2
    assert story.tell(WORN) == [cmd.RevokePermits(0, 1, first)]
    [sent] = story.tell(ev.PermitsRevoked(0, 1, first[1:]))
    assert [job.job.id for job in sent.jobs] == [2]
    assert sent.worker == 1
    assert story.ended(ended(first[0], wall_seconds=TINY))[0] == STOP


def test_worker_that_wore_out_at_its_boot_is_not_replaced_ever_faster():
    story = Story()
    delays = []
    for generation in range(1, 5):
        story.tell(ev.WorkerWorn(0, generation, "left threads"))
        story.tell(ev.WorkerExited(0, generation, EXIT))
        deadline = story.machine.next_deadline()
        delays.append(0.0 if deadline is None else deadline - story.now)
        if deadline is not None:
            story.tell(ev.TimePassed(), at=deadline)
        story.tell(ev.WorkerReady(0, generation + 1, 1000))
    assert delays == pytest.approx([0.0, 0.1, 0.2, 0.4])


def test_wish_that_is_heard_before_the_boot_waits_for_it():
    story = Story()
    story.claimed(a_claim(1))
    story.tell(exits(SEGFAULT))
    assert story.tell(ev.WorkerWorn(0, 2, "left threads")) == []
    assert cmd.StopWorker(0, 2) in story.tell(ev.WorkerReady(0, 2, 1001))


def test_job_over_its_limit_is_killed_in_a_worker_that_retires():
    story = Story(policy=JobPolicy(timeout=5.0))
    claim = a_claim(1)
    story.claimed(claim)
    story.tell(WORN)
    story.tell(ev.PermitsRevoked(0, 1, []))
    assert story.machine.next_deadline() == 105.0
    assert story.tell(ev.TimePassed(), at=105.0) == [cmd.ReadLedgers([0])]
    assert story.tell(ev.LedgersRead({0: (1, ev.Reading(1, 100.0, 0))})) == [
        cmd.KillWorker(0, 1, 1, cmd.KillCause.TIMEOUT)
    ]
    attempt = death_of(
        claim, AttemptOutcome.TIMEOUT, KILLED, started_at=100.0, wall_seconds=5.0, waited=100.0
    )
    assert story.tell(exits(KILLED, started_at=100.0)) == [
        cmd.StartWorker(0, 2),
        settle(
            1,
            settled_as(
                claim,
                JobState.DEAD,
                attempt,
                spent=Spent(failures=1),
                reason="retries_exhausted",
            ),
        ),
        worker_exited(0, 105.0, KILLED),
    ]


def test_kill_that_comes_too_late_leaves_the_worker_retiring():
    story = Story()
    story.claimed(a_claim(1))
    story.tell(WORN)
    story.tell(ev.PermitsRevoked(0, 1, []))
    story.tell(ev.CancelRequested([1]))
    assert story.tell(ev.PermitsRevoked(0, 1, [])) == [
        cmd.KillWorker(0, 1, 1, cmd.KillCause.CANCELLED)
    ]
    assert STOP not in story.ended(ended(1))
    assert story.tell(ev.KillDropped(0, 1, 1)) == [STOP]


def test_crash_of_a_worker_that_retires_is_charged_to_its_job():
    story = Story()
    claim = a_claim(1)
    story.claimed(claim)
    story.tell(WORN)
    story.tell(ev.PermitsRevoked(0, 1, []))
    _, settled, notice = story.tell(exits(SEGFAULT, started_at=100.0))
    [settlement] = settled.settlements
    assert settlement.attempt.outcome is AttemptOutcome.CRASH
    assert notice == worker_exited(0, 100.0, SEGFAULT)


def test_worker_that_does_not_end_is_killed_and_nobody_is_charged():
    story = Story()
    story.claimed(a_claim(1))
    story.ended(ended(1))
    assert story.tell(WORN) == [STOP]
    assert story.machine.next_deadline() == 105.0
    assert story.tell(ev.TimePassed(), at=105.0) == [
        cmd.KillWorker(0, 1, None, cmd.KillCause.RELEASED)
    ]
    assert story.tell(exits(KILLED)) == [cmd.StartWorker(0, 2), recycled(105.0, KILLED)]


def test_stop_of_the_pool_meets_a_worker_that_retires():
    story = Story()
    claim = a_claim(1)
    story.claimed(claim)
    story.tell(WORN)
    story.tell(ev.PermitsRevoked(0, 1, []))
    story.tell(ev.StopRequested(103.0))
    story.tell(ev.PermitsRevoked(0, 1, []))
    assert story.machine.next_deadline() == 103.0
    assert story.tell(ev.TimePassed(), at=103.0) == [
        cmd.KillWorker(0, 1, 1, cmd.KillCause.RELEASED)
    ]
    [settled] = story.tell(exits(KILLED, started_at=100.0))
    assert settled.settlements[0].state is JobState.QUEUED
    assert story.settled() == [cmd.EndPool()]


def test_pause_meets_a_worker_that_retires():
    story = Story()
    story.learn()
    claims = [a_claim(1), a_claim(2)]
    story.claimed(*claims)
    story.tell(ev.PauseRequested())
    assert story.tell(WORN) == []
    assert story.tell(ev.PermitsRevoked(0, 1, [41, 42])) == [
        STOP,
        settle(41, *(released(claim) for claim in claims)),
    ]
    assert story.tell(exits()) == [cmd.StartWorker(0, 2), recycled(100.0)]
