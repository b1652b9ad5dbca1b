"""Stories of one job: it runs, it overruns, it takes its worker with it."""

from dataclasses import replace
from random import Random

import pytest

from knock.core import commands as cmd, events as ev
from knock.core.boot import PATIENCE_SECONDS
from knock.core.job import AttemptOutcome, Death, JobState, Settlement, Spent
from knock.core.limit import CONFIRM_SECONDS, START_SECONDS
from knock.core.machine import Machine
from knock.core.policy import JobPolicy, RetryPolicy
from tests.core.story import (
    ERROR,
    SEGFAULT,
    TINY,
    Story,
    a_claim,
    death_of,
    ended,
    run_of,
    send,
    settle,
    settled_as,
    usage,
    worker_exited,
)

# --- one job ---


def test_pool_starts_its_workers_and_claims_when_one_is_ready():
    machine = Machine(workers=2, policies={"t": JobPolicy()}, rng=Random(1))
    assert machine.start(1.0) == [cmd.StartWorker(0, 1), cmd.StartWorker(1, 1)]
    assert machine.handle(ev.WorkerReady(1, 1, 7), 1.0) == [cmd.ClaimJobs(1, 1, {})]
    assert machine.handle(ev.WorkerReady(0, 1, 8), 1.0) == []


def test_job_that_returns_is_completed():
    story = Story()
    claim = a_claim(1, token=3)
    assert story.claimed(claim) == [send(0, (1, claim))]
    assert story.machine.in_flight == 1
    assert story.ended(ended(1, result=b"42")) == [
        settle(1, settled_as(claim, JobState.COMPLETED, run_of(claim), result=b"42"))
    ]
    assert story.settled() == []
    assert story.machine.in_flight == 0


def test_job_that_raises_is_retried_after_its_delay():
    policy = JobPolicy(retry=RetryPolicy(retry_attempts=1, retry_delay=4.0))
    story = Story(policy=policy)
    claim = a_claim(1)
    story.claimed(claim)
    [order] = story.ended(ended(1, ERROR))
    run_at = order.settlements[0].run_at
    assert 104.0 <= run_at <= 106.0
    spent = Spent(failures=1)
    assert order == settle(
        1, settled_as(claim, JobState.QUEUED, run_of(claim, ERROR), spent=spent, run_at=run_at)
    )
    assert story.settled() == []
    assert story.machine.next_deadline() == run_at
    assert story.tell(ev.TimePassed(), at=run_at) == [cmd.ClaimJobs(2, 1, {})]

    again = a_claim(1, token=2, spent=spent)
    assert story.claimed(again) == [send(0, (2, again))]
    assert story.ended(ended(2, ERROR)) == [
        settle(
            2,
            settled_as(
                again,
                JobState.DEAD,
                run_of(again, ERROR),
                spent=Spent(failures=2),
                reason="retries_exhausted",
            ),
        )
    ]


def test_job_of_an_unknown_type_is_dead_unrun():
    story = Story()
    assert story.claimed(a_claim(1, job_type="what")) == [
        settle(1, Settlement(1, 1, JobState.DEAD, reason="unknown_type")),
    ]
    assert story.machine.in_flight == 0


def test_job_that_expired_on_its_way_is_dead_unrun():
    story = Story()
    claim = a_claim(1, expires_at=99.0)
    assert story.claimed(claim) == [
        settle(1, Settlement(1, 1, JobState.DEAD, reason="expired")),
    ]


# --- limits and kills ---


def test_job_at_its_limit_is_killed_then_buried_and_its_worker_replaced():
    story = Story(policy=JobPolicy(timeout=5.0))
    claim = a_claim(1)
    story.claimed(claim)
    assert story.machine.next_deadline() == 105.0
    assert story.tell(ev.TimePassed(), at=104.9) == []
    assert story.tell(ev.TimePassed(), at=105.0) == [cmd.ReadLedgers([0])]

    # It started half a second after it was sent, and is granted its five.
    reading = ev.LedgersRead({0: (1, ev.Reading(1, 100.5, 0))})
    assert story.tell(reading) == []
    assert story.machine.next_deadline() == 105.5
    assert story.tell(ev.TimePassed(), at=105.5) == [cmd.ReadLedgers([0])]
    assert story.tell(reading) == [cmd.KillWorker(0, 1, 1, cmd.KillCause.TIMEOUT)]

    death = Death(signal=9)
    attempt = death_of(
        claim, AttemptOutcome.TIMEOUT, death, started_at=100.5, wall_seconds=5.5, waited=100.5
    )
    assert story.tell(ev.WorkerExited(0, 1, death, [], 100.5), at=106.0) == [
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
        cmd.Publish([cmd.Notice(cmd.NoticeName.WORKER_EXITED, 106.0, worker=0, death=death)]),
    ]


def test_result_that_beat_the_kill_counts():
    story = Story(policy=JobPolicy(timeout=5.0))
    claim = a_claim(1)
    story.claimed(claim)
    story.tell(ev.TimePassed(), at=105.0)
    story.tell(ev.LedgersRead({0: (1, ev.Reading(1, 100.0, 0))}))
    assert story.ended(ended(1)) == [
        settle(1, settled_as(claim, JobState.COMPLETED, run_of(claim)))
    ]
    # Until the answer to the kill the worker gets nothing.
    assert story.tell(ev.JobsAdded(1, 0.0)) == []
    assert story.tell(ev.KillDropped(0, 1, 1)) == [cmd.ClaimJobs(2, 1, {})]


def test_job_that_never_gets_to_its_start_is_killed_from_when_it_was_seen_taken():
    story = Story(policy=JobPolicy(timeout=5.0))
    story.claimed(a_claim(1))
    nothing = ev.LedgersRead({0: (1, ev.Reading(0, 0.0, 0))})
    story.tell(ev.TimePassed(), at=105.0)
    assert story.tell(nothing) == []
    story.tell(ev.TimePassed(), at=110.0)
    assert story.tell(nothing) == [cmd.KillWorker(0, 1, 1, cmd.KillCause.TIMEOUT)]


def test_ledger_that_lies_about_the_future_gains_one_limit_only():
    story = Story(policy=JobPolicy(timeout=5.0))
    story.claimed(a_claim(1))
    lie = ev.LedgersRead({0: (1, ev.Reading(1, 1e12, 0))})
    story.tell(ev.TimePassed(), at=105.0)
    assert story.tell(lie) == []
    story.tell(ev.TimePassed(), at=110.0)
    assert story.tell(lie) == [cmd.KillWorker(0, 1, 1, cmd.KillCause.TIMEOUT)]


def test_no_limit_counts_the_time_in_which_the_clock_stood_still():
    story = Story(policy=JobPolicy(timeout=5.0))
    story.claimed(a_claim(1))
    running = ev.LedgersRead({0: (1, ev.Reading(1, 101.0, 0))})
    # From 103 to 123, and from 124 to 126.
    assert story.tell(ev.ClockStopped(20.0), at=123.0) == []
    assert story.tell(ev.ClockStopped(2.0), at=126.0) == []
    assert story.tell(ev.TimePassed()) == [cmd.ReadLedgers([0])]
    assert story.tell(running) == []
    assert story.machine.next_deadline() == 128.0
    story.tell(ev.TimePassed(), at=128.0)
    assert story.tell(running) == [cmd.KillWorker(0, 1, 1, cmd.KillCause.TIMEOUT)]


def test_a_stop_of_the_clock_counts_for_nothing_that_began_after_it():
    story = Story(policy=JobPolicy(timeout=5.0))
    story.claimed(a_claim(1))
    story.tell(ev.ClockStopped(2.0), at=103.0)
    story.tell(ev.TimePassed(), at=105.0)
    assert story.tell(ev.LedgersRead({0: (1, ev.Reading(1, 103.0, 0))})) == []
    assert story.machine.next_deadline() == 108.0


def test_a_deadline_is_not_put_off_by_a_stop_of_the_clock():
    story = Story()
    story.claimed(a_claim(1, deadline=105.0))
    story.tell(ev.ClockStopped(6.0), at=106.0)
    story.tell(ev.TimePassed())
    reading = ev.LedgersRead({0: (1, ev.Reading(1, 100.0, 0))})
    assert story.tell(reading) == [cmd.KillWorker(0, 1, 1, cmd.KillCause.DEADLINE)]


def test_limit_of_the_job_wins_over_that_of_its_type():
    story = Story(policy=JobPolicy(timeout=5.0))
    story.claimed(a_claim(1, timeout=2.0))
    assert story.machine.next_deadline() == 102.0
    other = Story(policy=JobPolicy(timeout=5.0))
    other.claimed(a_claim(1, timeout=None))
    assert other.machine.next_deadline() == 100.0 + START_SECONDS


def test_worker_that_still_takes_in_its_data_is_not_taken_for_one_that_cannot_begin():
    story = Story()
    story.claimed(a_claim(1))

    def look(at, sent_at):
        assert story.tell(ev.TimePassed(), at=at) == [cmd.ReadLedgers([0])]
        return story.tell(ev.LedgersRead({0: (1, ev.Reading(0, 0.0, 1, sent_at=sent_at))}))

    assert look(100.0 + START_SECONDS, 109.0) == []
    late = 109.0 + START_SECONDS
    assert story.machine.next_deadline() == late
    assert look(late, 109.0) == []
    # It was held up for a moment only, and takes in more.
    assert look(late + CONFIRM_SECONDS, 119.5) == []
    late = 119.5 + START_SECONDS
    assert story.machine.next_deadline() == late
    assert look(late, 119.5) == []
    assert look(late + CONFIRM_SECONDS, 119.5) == [
        cmd.KillWorker(0, 1, 1, cmd.KillCause.UNRESPONSIVE)
    ]


def test_what_waits_behind_a_slow_job_is_taken_back():
    story = Story()
    story.learn()
    first, second = a_claim(1), a_claim(2)
    assert story.claimed(first, second) == [send(0, (41, first), (42, second))]
    soon = story.machine.next_deadline()
    assert soon == pytest.approx(100.02)
    assert story.tell(ev.TimePassed(), at=soon) == [cmd.ReadLedgers([0])]
    reading = ev.Reading(41, 100.0, 1)
    assert story.tell(ev.LedgersRead({0: (1, reading)})) == [cmd.RevokePermits(0, 1, [42])]


# --- deaths ---


def test_crash_is_charged_to_the_job_that_ran_and_to_no_other():
    story = Story()
    story.learn()
    claims = [a_claim(i) for i in range(1, 5)]
    story.claimed(*claims)
    _, guilty, *rest = claims
    story.ended(ended(41, wall_seconds=TINY))
    story.settled()

    attempt = death_of(
        guilty, AttemptOutcome.CRASH, SEGFAULT, started_at=100.0, wall_seconds=0.0, waited=100.0,
        pid=1001,
    )  # fmt: skip
    assert story.tell(ev.WorkerExited(0, 1, SEGFAULT, [43, 44], 100.0)) == [
        cmd.StartWorker(0, 2),
        settle(
            42,
            settled_as(guilty, JobState.DEAD, attempt, spent=Spent(crashes=1), reason="poison"),
        ),
        worker_exited(0, 100.0, SEGFAULT),
    ]
    assert story.tell(ev.WorkerReady(0, 2, 2000)) == [
        send(0, (45, rest[0]), (46, rest[1]), generation=2)
    ]


@pytest.mark.parametrize(
    "death,outcome,spent,reason",
    [
        (Death(exit_code=0), "crash", Spent(crashes=1), "poison"),
        (Death(signal=9, out_of_memory=True), "out_of_memory", Spent(out_of_memory=1), "poison"),
        (Death(is_infrastructure=True), "lost", Spent(lost=1), "lost"),
    ],
)
def test_each_way_to_die_has_a_name_and_a_budget(death, outcome, spent, reason):
    story = Story(policy=JobPolicy(retry=RetryPolicy(retry_lost=0)))
    claim = a_claim(1)
    story.claimed(claim)
    attempt = death_of(
        claim, AttemptOutcome(outcome), death, started_at=101.0, wall_seconds=2.0, waited=101.0
    )
    assert story.tell(ev.WorkerExited(0, 1, death, [], 101.0), at=103.0) == [
        cmd.StartWorker(0, 2),
        settle(1, settled_as(claim, JobState.DEAD, attempt, spent=spent, reason=reason)),
        worker_exited(0, 103.0, death),
    ]


def test_words_of_a_process_that_is_gone_change_nothing():
    story = Story()
    story.claimed(a_claim(1))
    story.tell(ev.WorkerExited(0, 1, SEGFAULT, [1]))
    story.tell(ev.WorkerReady(0, 2, 2000))
    for late in (
        ev.AttemptsEnded(0, 1, [ended(2, result=b"a lie")]),
        ev.JobsHandedBack(0, 1, [2]),
        ev.PermitsRevoked(0, 1, [2]),
        ev.KillDropped(0, 1, 2),
        ev.WorkerReady(0, 1, 1),
        ev.WorkerExited(0, 1, SEGFAULT, [2]),
        ev.LedgersRead({0: (1, ev.Reading(2, 0.0, 0))}),
    ):
        assert story.tell(late) == []
    assert story.machine.in_flight == 1


def test_workers_that_boot_no_more_end_the_pool_with_their_last_words():
    story = Story(workers=1)
    story.tell(ev.WorkerExited(0, 1, SEGFAULT))
    death = Death(exit_code=1)
    since = story.now
    generation, delay = 2, 0.1
    while story.now - since < PATIENCE_SECONDS:
        story.tell(ev.WorkerBootFailed(0, generation, "no module named x"))
        assert story.tell(ev.WorkerExited(0, generation, death)) == [
            worker_exited(0, story.now, death)
        ]
        assert story.machine.next_deadline() == pytest.approx(story.now + delay)
        generation, delay = generation + 1, min(2 * delay, 5.0)
        assert story.tell(ev.TimePassed(), at=story.machine.next_deadline()) == [
            cmd.StartWorker(0, generation)
        ]
    story.tell(ev.WorkerBootFailed(0, generation, "no module named x"))
    assert story.tell(ev.WorkerExited(0, generation, death)) == [
        worker_exited(0, story.now, death),
        cmd.FailPool("no module named x"),
    ]
    assert story.machine.is_ended
    assert story.tell(ev.TimePassed(), at=1e9) == []


def test_crash_is_not_charged_with_the_cpu_time_of_the_jobs_before_it():
    story = Story()
    for job_id, cpu_seconds in ((1, 2.0), (2, 3.0)):
        story.claimed(a_claim(job_id))
        used = usage()._replace(cpu_seconds=cpu_seconds)
        story.tell(ev.AttemptsEnded(0, 1, [replace(ended(job_id), usage=used)]))
        story.settled()
    story.claimed(a_claim(3))
    orders = story.tell(ev.WorkerExited(0, 1, Death(signal=11, cpu_seconds=5.5), []))
    [settled] = [order for order in orders if isinstance(order, cmd.SettleJobs)]
    assert settled.settlements[0].attempt.usage.cpu_seconds == 0.5
