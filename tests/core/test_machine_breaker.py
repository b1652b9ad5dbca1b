"""What a breaker counts in the machine, what it never counts, and how few probes it lets out."""

import pytest

from knock.core import commands as cmd, events as ev
from knock.core.breaker import BreakerState
from knock.core.job import Death
from knock.core.policy import BreakerPolicy, JobPolicy
from tests.core.story import ERROR, SEGFAULT, Story, a_claim, ended

CLOSED, OPEN, HALF_OPEN = BreakerState.CLOSED, BreakerState.OPEN, BreakerState.HALF_OPEN
ONE = BreakerPolicy(threshold=1, probes=1, reset_timeout=10.0)
KILLED = Death(signal=9)


def died(death):
    return lambda story: story.tell(ev.WorkerExited(0, 1, death, [], 100.0))


def ran_over_its_limit(story):
    reading = ev.LedgersRead({0: (1, ev.Reading(1, 100.0, 0))})
    story.tell(ev.TimePassed(), at=105.0)
    assert story.tell(reading) == [cmd.KillWorker(0, 1, 1, cmd.KillCause.TIMEOUT)]
    died(KILLED)(story)


def was_cancelled(story):
    story.tell(ev.CancelRequested([1]))
    story.tell(ev.PermitsRevoked(0, 1, []))
    died(KILLED)(story)


def ran_at_the_end_of_a_stop(story):
    story.tell(ev.StopRequested(103.0))
    story.tell(ev.PermitsRevoked(0, 1, []))
    story.tell(ev.TimePassed(), at=103.0)
    died(KILLED)(story)


def met_a_storage_that_is_away(story):
    story.ended(ended(1))
    for _ in range(9):
        story.tell(ev.SettleFailed(story.batches))
        story.tell(ev.TimePassed(), at=story.now + 60.0)


def another_worker_never_boots(story):
    for generation in (1, 2):
        story.tell(ev.WorkerExited(1, generation, SEGFAULT), at=story.now + 10.0)
        story.tell(ev.TimePassed(), at=story.now + 10.0)


ENDS = [
    ("raises", lambda story: story.ended(ended(1, ERROR)), OPEN),
    ("crashes", died(SEGFAULT), OPEN),
    ("has too much memory", died(Death(signal=9, out_of_memory=True)), OPEN),
    ("is over its limit", ran_over_its_limit, OPEN),
    ("returns", lambda story: story.ended(ended(1)), CLOSED),
    ("asks for later", lambda story: story.ended(ended(1, ERROR, retry_after=1.0)), CLOSED),
    ("gives itself up", lambda story: story.ended(ended(1, ERROR, discard="no")), CLOSED),
    ("is lost with its nursery", died(Death(is_infrastructure=True)), CLOSED),
    ("is cancelled", was_cancelled, CLOSED),
    ("runs at the end of a stop", ran_at_the_end_of_a_stop, CLOSED),
    ("was never begun", lambda s: s.tell(ev.WorkerExited(0, 1, SEGFAULT, [1])), CLOSED),
    ("cannot be stored", met_a_storage_that_is_away, CLOSED),
    ("has a neighbour that never boots", another_worker_never_boots, CLOSED),
]


@pytest.mark.parametrize("end, state", [end[1:] for end in ENDS], ids=[end[0] for end in ENDS])
def test_only_what_the_job_did_counts(end, state):
    story = Story(workers=2, policy=JobPolicy(breaker=ONE, timeout=5.0))
    story.claimed(a_claim(1))
    end(story)
    assert story.machine.breakers() == {"t": state}


def probing(workers=1, **policy):
    """A story in which the breaker of type "t" has opened and waited."""
    story = Story(workers=workers, policy=JobPolicy(breaker=ONE, **policy))
    story.claimed(a_claim(1))
    story.ended(ended(1, ERROR))
    story.settled()
    story.tell(ev.TimePassed(), at=110.0)
    assert story.machine.breakers() == {"t": HALF_OPEN}
    return story


def sent(orders):
    return [d.job.id for order in orders if isinstance(order, cmd.SendJobs) for d in order.jobs]


def test_of_a_thousand_jobs_and_16_workers_one_probe_is_out():
    story = probing(workers=16)
    orders = story.claimed(*[a_claim(n) for n in range(2, 1002)])
    assert len(sent(orders)) == 1
    assert all(order.places == {"t": 0} for order in orders if isinstance(order, cmd.ClaimJobs))
    # Whatever happens meanwhile.
    for event in (ev.JobsAdded(0, 0.0), ev.TimePassed(), ev.PauseRequested(), ev.ResumeRequested()):
        assert sent(story.tell(event, at=story.now + 1.0)) == []


@pytest.mark.parametrize(
    "end, state",
    [(died(SEGFAULT), OPEN), (died(Death(is_infrastructure=True)), HALF_OPEN)],
    ids=["it kills its worker", "the nursery dies"],
)
def test_a_probe_that_does_not_return_leaves_its_place(end, state):
    story = probing(workers=2)
    assert sent(story.claimed(a_claim(2))) == [2]
    end(story)
    assert story.machine.breakers() == {"t": state}
    if state is OPEN:
        story.tell(ev.TimePassed(), at=130.0)
        assert story.machine.breakers() == {"t": HALF_OPEN}
    assert story.machine._kinds._kinds["t"].breaker.free_probes == 1


def test_a_probe_that_was_not_begun_is_one_again():
    story = probing(workers=2)
    assert sent(story.claimed(a_claim(2))) == [2]
    assert sent(story.tell(ev.WorkerExited(0, 1, SEGFAULT, [2]))) == [2]
    assert story.machine.breakers() == {"t": HALF_OPEN}


def test_types_with_like_names_have_breakers_of_their_own():
    names = ("t", "t:", "t:a", "tt", "T", "t ")
    story = Story(policies={name: JobPolicy(breaker=ONE) for name in names})
    story.claimed(a_claim(1, job_type="t:"))
    story.ended(ended(1, ERROR))
    assert story.machine.breakers() == dict.fromkeys(names, CLOSED) | {"t:": OPEN}
