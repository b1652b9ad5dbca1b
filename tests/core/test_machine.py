"""Stories of the machine: feed it, and compare all that it orders."""

from random import Random

import pytest

from knock.core import events as ev
from knock.core.breaker import BreakerState
from knock.core.job import (
    NOTHING_SPENT,
    UNSET,
    Attempt,
    AttemptOutcome,
    Claim,
    Death,
    JobOptions,
    JobSpec,
    JobState,
    Settlement,
    Spent,
    Usage,
)
from knock.core.machine import Machine
from knock.core.policy import BreakerPolicy, JobPolicy, RetryPolicy, StopRule

SUCCESS, ERROR = AttemptOutcome.SUCCESS, AttemptOutcome.ERROR
SEGFAULT = Death(signal=11, pid=1001)
LONG = 1.0  # seconds; a job like that has its worker for itself
TINY = 1e-5


def a_claim(job_id, *, job_type="t", priority=1, run_at=0.0, token=1, spent=NOTHING_SPENT, **spec):
    options = JobOptions(
        timeout=spec.pop("timeout", UNSET), retry_attempts=spec.pop("retry_attempts", UNSET)
    )
    job = JobSpec(job_id, job_type, b"", priority, run_at, 0.0, options=options, **spec)
    return Claim(job, token, spent)


def usage(started_at=0.0, wall_seconds=LONG):
    return Usage(started_at, wall_seconds, 0.0, 0, 0)


def ended(ticket, outcome=SUCCESS, *, wall_seconds=LONG, **more):
    return ev.AttemptEnded(ticket, outcome, usage(0.0, wall_seconds), **more)


class Story:
    """A machine whose workers are ready, and the shortest way to tell it things."""

    def __init__(self, *, workers=1, policy=None, policies=None, **more):
        self.now = 100.0
        self.machine = Machine(
            workers=workers,
            policies=policies or {"t": policy or JobPolicy()},
            rng=Random(1),
            **more,
        )
        self.machine.start(self.now)
        self.claims = self.batches = 0
        for worker in range(workers):
            self.tell(ev.WorkerReady(worker, 1, 1000 + worker))

    def tell(self, event, *, at=None):
        if at is not None:
            self.now = at
        commands = self.machine.handle(event, self.now)
        for command in commands:
            match command:
                case ev.ClaimJobs():
                    self.claims = command.claim
                case ev.SettleJobs():
                    self.batches = command.batch
        return commands

    def claimed(self, *claims, has_more=False, next_at=None):
        if not self.machine._docket.intake.is_out:
            self.tell(ev.JobsAdded(min(claim.job.priority for claim in claims), 0.0))
        return self.tell(ev.JobsClaimed(self.claims, list(claims), has_more, next_at))

    def ended(self, *attempts, worker=0, generation=1):
        return self.tell(ev.AttemptsEnded(worker, generation, list(attempts)))

    def settled(self):
        return self.tell(ev.JobsSettled(self.batches))

    def learn(self, wall_seconds=TINY, jobs=40):
        """Let the machine find out how long jobs of type "t" take, on its first worker."""
        for i in range(jobs):
            self.claimed(a_claim(10_000 + i))
            self.ended(ended(i + 1, wall_seconds=wall_seconds))
            self.settled()


def send(worker, *pairs, generation=1):
    """The order to hand out each claim under its ticket."""
    jobs = [ev.Dispatch(ticket, claim.job, claim.attempt) for ticket, claim in pairs]
    return ev.SendJobs(worker, generation, jobs)


def settle(batch, *settlements):
    return ev.SettleJobs(batch, list(settlements))


def run_of(claim, outcome=SUCCESS, *, pid=1000, **more):
    """The record of a run that ended as ``ended`` says."""
    seconds = more.pop("wall_seconds", LONG)
    return Attempt(claim.attempt, outcome, usage(0.0, seconds), 0.0, pid, **more)


def death_of(claim, outcome, death, *, started_at, wall_seconds, waited, pid=1000):
    """The record of a run that ended with its worker."""
    measured = Usage(started_at, wall_seconds, 0.0, 0, 0, is_exact=False)
    return Attempt(claim.attempt, outcome, measured, waited, pid, death=death)


def settled_as(claim, state, attempt=None, *, spent=None, **more):
    spent = claim.spent if spent is None else spent
    return Settlement(claim.job.id, claim.token, state, attempt, spent, **more)


def released(claim):
    return settled_as(claim, JobState.QUEUED)


def worker_exited(worker, at, death):
    notice = ev.Notice(ev.NoticeName.WORKER_EXITED, at, worker=worker, death=death)
    return ev.Publish([notice])


def told(name, at, **more):
    return ev.Publish([ev.Notice(name, at, **more)])


# --- one job ---


def test_pool_starts_its_workers_and_claims_when_one_is_ready():
    machine = Machine(workers=2, policies={"t": JobPolicy()}, rng=Random(1))
    assert machine.start(1.0) == [ev.StartWorker(0, 1), ev.StartWorker(1, 1)]
    assert machine.handle(ev.WorkerReady(1, 1, 7), 1.0) == [ev.ClaimJobs(1, 1, {})]
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
    assert story.tell(ev.TimePassed(), at=run_at) == [ev.ClaimJobs(2, 1, {})]

    again = a_claim(1, token=2, spent=spent)
    assert story.claimed(again) == [ev.ResumeType(0, 1, "t"), send(0, (2, again))]
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
    assert story.tell(ev.TimePassed(), at=105.0) == [ev.ReadLedgers([0])]

    # It started half a second after it was sent, and is granted its five.
    reading = ev.LedgersRead({0: (1, ev.Reading(1, 100.5, 0))})
    assert story.tell(reading) == []
    assert story.machine.next_deadline() == 105.5
    assert story.tell(ev.TimePassed(), at=105.5) == [ev.ReadLedgers([0])]
    assert story.tell(reading) == [ev.KillWorker(0, 1, 1, ev.KillCause.TIMEOUT)]

    death = Death(signal=9)
    attempt = death_of(
        claim, AttemptOutcome.TIMEOUT, death, started_at=100.5, wall_seconds=5.5, waited=100.5
    )
    assert story.tell(ev.WorkerExited(0, 1, death, [], 100.5), at=106.0) == [
        ev.StartWorker(0, 2),
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
    assert story.tell(ev.KillDropped(0, 1, 1)) == [ev.ClaimJobs(2, 1, {})]


def test_job_that_never_gets_to_its_start_is_killed_from_when_it_was_seen_taken():
    story = Story(policy=JobPolicy(timeout=5.0))
    story.claimed(a_claim(1))
    nothing = ev.LedgersRead({0: (1, ev.Reading(0, 0.0, 0))})
    story.tell(ev.TimePassed(), at=105.0)
    assert story.tell(nothing) == []
    story.tell(ev.TimePassed(), at=110.0)
    assert story.tell(nothing) == [ev.KillWorker(0, 1, 1, ev.KillCause.TIMEOUT)]


def test_ledger_that_lies_about_the_future_gains_one_limit_only():
    story = Story(policy=JobPolicy(timeout=5.0))
    story.claimed(a_claim(1))
    lie = ev.LedgersRead({0: (1, ev.Reading(1, 1e12, 0))})
    story.tell(ev.TimePassed(), at=105.0)
    assert story.tell(lie) == []
    story.tell(ev.TimePassed(), at=110.0)
    assert story.tell(lie) == [ev.KillWorker(0, 1, 1, ev.KillCause.TIMEOUT)]


def test_limit_of_the_job_wins_over_that_of_its_type():
    story = Story(policy=JobPolicy(timeout=5.0))
    story.claimed(a_claim(1, timeout=2.0))
    assert story.machine.next_deadline() == 102.0
    other = Story(policy=JobPolicy(timeout=5.0))
    other.claimed(a_claim(1, timeout=None))
    assert other.machine.next_deadline() is None


def test_what_waits_behind_a_slow_job_is_taken_back():
    story = Story()
    story.learn()
    first, second = a_claim(1), a_claim(2)
    assert story.claimed(first, second) == [send(0, (41, first), (42, second))]
    soon = story.machine.next_deadline()
    assert soon == pytest.approx(100.02)
    assert story.tell(ev.TimePassed(), at=soon) == [ev.ReadLedgers([0])]
    reading = ev.Reading(41, 100.0, 1)
    assert story.tell(ev.LedgersRead({0: (1, reading)})) == [ev.RevokePermits(0, 1, [42])]


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
        ev.StartWorker(0, 2),
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
        ev.StartWorker(0, 2),
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


def test_workers_that_never_boot_end_the_pool_with_their_last_words():
    story = Story(workers=1)
    story.tell(ev.WorkerExited(0, 1, SEGFAULT))
    death = Death(exit_code=1)
    for generation, delay in ((2, 0.1), (3, 0.2)):
        story.tell(ev.WorkerBootFailed(0, generation, "no module named x"))
        assert story.tell(ev.WorkerExited(0, generation, death)) == [
            worker_exited(0, story.now, death)
        ]
        assert story.machine.next_deadline() == pytest.approx(story.now + delay)
        assert story.tell(ev.TimePassed(), at=story.machine.next_deadline()) == [
            ev.StartWorker(0, generation + 1)
        ]
    story.tell(ev.WorkerBootFailed(0, 4, "no module named x"))
    assert story.tell(ev.WorkerExited(0, 4, death)) == [
        worker_exited(0, story.now, death),
        ev.FailPool("no module named x"),
    ]
    assert story.machine.is_ended
    assert story.tell(ev.TimePassed(), at=1e9) == []


# --- failures and breakers ---


def test_worker_is_told_to_go_on_with_a_type_after_a_failure():
    story = Story()
    story.learn()
    claims = [a_claim(1), a_claim(2)]
    story.claimed(*claims)
    story.ended(ended(41, ERROR, wall_seconds=TINY))
    story.settled()
    assert story.tell(ev.JobsHandedBack(0, 1, [42])) == [
        ev.ResumeType(0, 1, "t"),
        send(0, (43, claims[1])),
    ]


def test_breaker_opens_waits_probes_and_closes():
    breaker = BreakerPolicy(threshold=2, reset_timeout=10.0)
    story = Story(workers=2, policy=JobPolicy(breaker=breaker))
    claims = [a_claim(i) for i in range(1, 5)]
    assert story.claimed(*claims[:2], has_more=True) == [
        send(0, (1, claims[0])),
        send(1, (2, claims[1])),
    ]
    # One failure more opens it, so one worker may have the type, and one has.
    [claim, _] = story.ended(ended(1, ERROR))
    assert claim == ev.ClaimJobs(2, 1, {"t": 0})
    assert story.ended(ended(2, ERROR), worker=1) == [
        told(ev.NoticeName.BREAKER_OPENED, 100.0, job_type="t")
    ]
    assert story.machine.breakers() == {"t": BreakerState.OPEN}
    assert story.machine.next_deadline() == 110.0
    story.settled()
    story.settled()
    assert story.claimed(has_more=True) == [ev.ClaimJobs(3, 2, {"t": 0})]
    assert story.claimed(has_more=True) == []

    assert story.tell(ev.TimePassed(), at=110.0) == [
        ev.ClaimJobs(4, 2, {"t": 1}),
        told(ev.NoticeName.BREAKER_HALF_OPENED, 110.0, job_type="t"),
    ]
    assert story.claimed(claims[2], has_more=True) == [
        ev.ResumeType(0, 1, "t"),
        send(0, (3, claims[2])),
    ]
    assert story.ended(ended(3)) == [
        ev.ClaimJobs(5, 2, {"t": 2}),
        settle(3, settled_as(claims[2], JobState.COMPLETED, run_of(claims[2]))),
        told(ev.NoticeName.BREAKER_CLOSED, 110.0, job_type="t"),
    ]


def test_job_of_an_open_type_goes_back_to_the_storage_uncharged():
    breaker = BreakerPolicy(threshold=1, reset_timeout=10.0)
    story = Story(workers=2, policy=JobPolicy(breaker=breaker))
    first, second = a_claim(1), a_claim(2)
    assert story.claimed(first, second) == [send(0, (1, first))]
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
        told(ev.NoticeName.BREAKER_OPENED, 100.0, job_type="t"),
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
    assert story.machine.next_deadline() == 130.0
    assert story.tell(ev.TimePassed(), at=130.0)[-1] == told(
        ev.NoticeName.BREAKER_HALF_OPENED, 130.0, job_type="t"
    )
    probes = a_claim(4), a_claim(5)
    assert story.claimed(*probes) == [
        ev.ResumeType(0, 1, "t"),
        send(0, (4, probes[0])),
        send(2, (5, probes[1])),
    ]


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
    assert story.claimed(high) == [ev.RevokePermits(0, 1, [42, 43])]
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
    assert story.tell(ev.TimePassed(), at=100.2) == [ev.ClaimJobs(2, 1, {})]
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


# --- cancel, pause, stop ---


def test_cancel_of_a_job_that_is_not_here_goes_to_the_storage():
    assert Story().tell(ev.CancelRequested([77])) == [ev.CancelStored([77])]


def test_cancel_of_a_job_in_a_window_takes_it_back():
    story = Story()
    story.learn()
    claims = [a_claim(1), a_claim(2)]
    story.claimed(*claims)
    assert story.tell(ev.CancelRequested([2])) == [ev.RevokePermits(0, 1, [42])]
    assert story.tell(ev.PermitsRevoked(0, 1, [42])) == [
        settle(41, settled_as(claims[1], JobState.CANCELLED))
    ]


def test_cancel_of_a_running_job_kills_its_worker_and_charges_nothing():
    story = Story(policy=JobPolicy(retry=RetryPolicy(retry_attempts=3)))
    claim = a_claim(1)
    story.claimed(claim)
    assert story.tell(ev.CancelRequested([1])) == [ev.RevokePermits(0, 1, [1])]
    assert story.tell(ev.PermitsRevoked(0, 1, [])) == [
        ev.KillWorker(0, 1, 1, ev.KillCause.CANCELLED)
    ]
    death = Death(signal=9)
    attempt = death_of(
        claim, AttemptOutcome.CANCELLED, death, started_at=100.0, wall_seconds=1.0, waited=100.0
    )
    assert story.tell(ev.WorkerExited(0, 1, death, [], 100.0), at=101.0) == [
        ev.StartWorker(0, 2),
        settle(1, settled_as(claim, JobState.CANCELLED, attempt)),
    ]


def test_cancelled_job_that_started_behind_an_unheard_result_is_killed_too():
    story = Story()
    story.learn()
    story.claimed(a_claim(1), a_claim(2))
    story.tell(ev.CancelRequested([2]))
    assert story.tell(ev.PermitsRevoked(0, 1, [])) == []
    assert story.ended(ended(41, wall_seconds=TINY))[0] == ev.KillWorker(
        0, 1, 42, ev.KillCause.CANCELLED
    )


def test_cancel_that_meets_a_claim_under_way_is_kept():
    story = Story()
    assert story.tell(ev.CancelRequested([1])) == [ev.CancelStored([1])]
    claim = a_claim(1)
    assert story.claimed(claim) == [settle(1, settled_as(claim, JobState.CANCELLED))]


def test_pause_takes_back_what_waits_and_resume_claims_again():
    story = Story()
    story.learn()
    claims = [a_claim(i) for i in range(1, 4)]
    story.claimed(*claims)
    assert story.tell(ev.PauseRequested()) == [ev.RevokePermits(0, 1, [41, 42, 43])]
    assert story.tell(ev.PermitsRevoked(0, 1, [42, 43])) == [
        settle(41, released(claims[1]), released(claims[2]))
    ]
    assert story.settled() == []
    assert story.ended(ended(41, wall_seconds=TINY)) == [
        settle(42, settled_as(claims[0], JobState.COMPLETED, run_of(claims[0], wall_seconds=TINY)))
    ]
    assert story.tell(ev.ResumeRequested()) == [ev.ClaimJobs(42, 1, {})]


def test_stop_waits_for_what_runs_then_ends_the_workers_and_the_pool():
    story = Story()
    claim = a_claim(1)
    story.claimed(claim)
    assert story.tell(ev.StopRequested(None)) == [ev.RevokePermits(0, 1, [1])]
    assert story.tell(ev.PermitsRevoked(0, 1, [])) == []
    assert story.ended(ended(1)) == [
        ev.StopWorker(0, 1),
        settle(1, settled_as(claim, JobState.COMPLETED, run_of(claim))),
    ]
    assert story.tell(ev.WorkerExited(0, 1, Death(exit_code=0))) == []
    assert story.settled() == [ev.EndPool()]
    assert story.machine.is_ended


def test_job_that_runs_at_the_deadline_of_the_stop_is_killed_and_released_uncharged():
    story = Story()
    claim = a_claim(1, spent=Spent(failures=1))
    story.claimed(claim)
    story.tell(ev.StopRequested(103.0))
    story.tell(ev.PermitsRevoked(0, 1, []))
    assert story.machine.next_deadline() == 103.0
    assert story.tell(ev.TimePassed(), at=103.0) == [ev.KillWorker(0, 1, 1, ev.KillCause.RELEASED)]
    death = Death(signal=9)
    attempt = death_of(
        claim, AttemptOutcome.RELEASED, death, started_at=100.0, wall_seconds=3.0, waited=100.0
    )
    assert story.tell(ev.WorkerExited(0, 1, death, [], 100.0)) == [
        settle(1, settled_as(claim, JobState.QUEUED, attempt, run_at=0.0))
    ]
    assert story.settled() == [ev.EndPool()]


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
        ev.RevokePermits(1, 1, [2]),
        settle(1, dead, released(claims[2])),
        told(ev.NoticeName.STOP_RULE_REACHED, 100.0, detail="1 of 1 finished jobs died"),
    ]
    assert story.tell(ev.ResumeRequested()) == []
