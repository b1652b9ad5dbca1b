"""Stories of workers that are replaced though nothing has gone wrong with them."""

import pytest

from knock.core import commands as cmd, events as ev
from knock.core.job import AttemptOutcome, Death, JobState, Spent
from knock.core.policy import JobPolicy, RecyclePolicy
from knock.core.recycling import RecycleReason
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


# --- limits ---------------------------------------------------------------------------------------


def test_limit_of_one_job_is_a_process_for_each():
    story = Story(recycle=RecyclePolicy(max_jobs=1))
    story.tell(ev.JobsAdded(1, 0.0))
    for generation in range(1, 6):
        claim = a_claim(generation)
        sent = send(0, (generation, claim), generation=generation)
        assert story.claimed(claim, has_more=True) == [sent]
        assert story.ended(ended(generation, wall_seconds=TINY), generation=generation)[0] == (
            cmd.StopWorker(0, generation)
        )
        story.settled()
        assert story.tell(ev.WorkerExited(0, generation, EXIT)) == [
            cmd.StartWorker(0, generation + 1),
            recycled(100.0, detail=RecycleReason.MAX_JOBS),
        ]
        story.tell(ev.WorkerReady(0, generation + 1, 1000))


def test_worker_is_never_sent_more_than_it_may_run_and_runs_what_it_was_sent():
    story = Story(recycle=RecyclePolicy(max_jobs=60))
    story.learn(jobs=40)
    [sent] = story.claimed(*(a_claim(i) for i in range(1, 41)))
    assert len(sent.jobs) == story.machine._slots[0].soft.jobs - 40 <= 20
    ends = [ended(job.ticket, wall_seconds=TINY) for job in sent.jobs]
    # Nothing is taken back: it is within what the worker may run.
    assert not _of(cmd.RevokePermits, story.ended(*ends[:-1]))
    assert story.ended(ends[-1])[0] == STOP


def test_job_that_comes_back_unrun_does_not_count():
    story = Story(recycle=RecyclePolicy(max_jobs=3))
    claims = [a_claim(1), a_claim(2)]
    story.claimed(claims[0])
    story.tell(ev.PauseRequested())
    story.tell(ev.PermitsRevoked(0, 1, [1]))
    story.settled()
    story.tell(ev.ResumeRequested())
    for ticket in (2, 3):
        story.claimed(a_claim(ticket))
        assert STOP not in story.ended(ended(ticket))
    story.claimed(a_claim(4))
    assert story.ended(ended(4))[0] == STOP


def _of(kind, commands):
    return [command for command in commands if isinstance(command, kind)]


def test_worker_that_keeps_too_much_retires_and_a_peak_is_no_reason():
    story = Story(recycle=RecyclePolicy(max_memory_bytes=1000))
    for ticket, kept in ((1, 100), (2, 700)):
        story.claimed(a_claim(ticket))
        assert STOP not in story.ended(_that_used(ticket, kept, peak=5000))
    story.claimed(a_claim(3))
    assert story.ended(_that_used(3, 1000, peak=1000))[0] == STOP
    assert story.tell(exits())[-1] == recycled(100.0, detail=RecycleReason.MAX_MEMORY)


def _that_used(ticket, kept, peak):
    one = ended(ticket)
    one.usage = one.usage._replace(rss_before_bytes=kept, peak_rss_bytes=peak)
    return one


def test_old_worker_retires_though_nothing_happens_and_one_at_work_when_it_is_done():
    story = Story(recycle=RecyclePolicy(max_age=10.0))
    deadline = story.machine.next_deadline()
    assert 108.0 <= deadline <= 110.0
    assert STOP not in story.tell(ev.TimePassed(), at=deadline - 0.01)
    assert story.tell(ev.TimePassed(), at=deadline) == [STOP]
    assert story.tell(exits())[-1] == recycled(deadline, detail=RecycleReason.MAX_AGE)
    story.tell(ev.WorkerReady(0, 2, 1001))
    story.claimed(a_claim(1))
    # Not begun, or so it seems: that is looked at, too.
    expected = [cmd.ReadLedgers([0]), cmd.RevokePermits(0, 2, [1])]
    assert story.tell(ev.TimePassed(), at=200.0) == expected
    story.tell(ev.PermitsRevoked(0, 2, []))
    assert story.ended(ended(1), generation=2)[0] == cmd.StopWorker(0, 2)


@pytest.mark.parametrize("workers, at_once", [(1, 1), (2, 1), (7, 1), (8, 2), (12, 3)])
def test_workers_of_one_age_retire_a_few_at_a_time_until_they_must(workers, at_once):
    story = Story(workers=workers, recycle=RecyclePolicy(max_age=100.0))
    soft = sorted(slot.soft.age_at for slot in story.machine._slots)
    assert all(180.0 <= moment <= 200.0 for moment in soft)
    assert len(set(soft)) == workers
    before = story.tell(ev.TimePassed(), at=199.99)
    assert len(_of(cmd.StopWorker, before)) == min(at_once, sum(at <= 199.99 for at in soft))
    after = [] if workers == at_once else story.tell(ev.TimePassed(), at=200.0)
    assert len(_of(cmd.StopWorker, [*before, *after])) == workers


def test_next_one_retires_when_the_successor_is_ready():
    story = Story(workers=2, recycle=RecyclePolicy(max_age=100.0))
    [first] = _of(cmd.StopWorker, story.tell(ev.TimePassed(), at=199.99))
    other = 1 - first.worker
    assert not _of(cmd.StopWorker, story.tell(ev.WorkerExited(first.worker, 1, EXIT)))
    ready = story.tell(ev.WorkerReady(first.worker, 2, 1002))
    assert _of(cmd.StopWorker, ready) == [cmd.StopWorker(other, 1)]


@pytest.mark.parametrize(
    "most, drawn",
    [(1, {1}), (2, {2}), (4, {4}), (5, {4, 5}), (10, {8, 9, 10}), (100, set(range(80, 101)))],
)
def test_limits_of_jobs_are_drawn_from_the_upper_fifth(most, drawn):
    story = Story(workers=400, recycle=RecyclePolicy(max_jobs=most))
    assert {slot.soft.jobs for slot in story.machine._slots} == drawn
