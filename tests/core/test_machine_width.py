"""Stories of jobs that take several worker slots."""

import pytest

from knock.core import commands as cmd, events as ev
from knock.core.policy import JobPolicy
from tests.core.story import LONG, Story, a_claim, ended, released, send, settle

TYPES = {"t": JobPolicy(), "wide": JobPolicy(threads=3), "pair": JobPolicy(threads=2)}


def a_wide(job_id, *, job_type="wide", **more):
    return a_claim(job_id, job_type=job_type, **more)


def sent(commands):
    """The jobs that go out, by worker."""
    return {
        command.worker: [dispatch.job.id for dispatch in command.jobs]
        for command in commands
        if isinstance(command, cmd.SendJobs)
    }


def test_slots_of_a_wide_job_are_kept_empty_while_a_worker_holds_it():
    story = Story(workers=4, policies=TYPES)
    wide, small = a_wide(1), [a_claim(i) for i in (2, 3)]
    assert story.claimed(wide, *small) == [send(0, (1, wide)), send(1, (2, small[0]))]
    # The freed slots go to what waits.
    assert sent(story.ended(ended(1))) == {0: [3]}


def test_wide_job_waits_for_its_slots_and_nothing_behind_it_overtakes():
    story = Story(workers=4, policies=TYPES)
    small = [a_claim(i) for i in (1, 2, 3)]
    assert sent(story.claimed(*small, a_wide(4), a_claim(5), a_claim(6))) == {
        0: [1],
        1: [2],
        2: [3],
    }
    assert sent(story.ended(ended(1), worker=0)) == {}
    # Three slots are free, so it takes them.
    assert sent(story.ended(ended(2), worker=1)) == {0: [4]}
    assert sent(story.ended(ended(3), worker=2)) == {1: [5]}
    assert sent(story.ended(ended(4), worker=0)) == {0: [6]}


def test_small_jobs_that_keep_coming_do_not_starve_a_wide_one():
    story = Story(workers=3, policies=TYPES)
    story.claimed(a_claim(1), a_claim(2), a_wide(3))
    for worker in (0, 1):
        assert sent(story.claimed(*(a_claim(10 * (worker + 1) + i) for i in range(5)))) == {}
        story.settled()
        assert sent(story.ended(ended(worker + 1), worker=worker)) == ({0: [3]} if worker else {})


def test_more_urgent_job_goes_ahead_of_a_wide_one_that_waits():
    story = Story(workers=3, policies=TYPES)
    story.claimed(a_claim(1), a_claim(2), a_wide(4), a_claim(5))
    assert sent(story.ended(ended(1), worker=0)) == {}
    assert sent(story.claimed(a_claim(6, priority=0))) == {0: [6]}


def test_what_the_storage_has_behind_a_waiting_wide_job_is_left_there_until_it_has_started():
    story = Story(workers=3, policies=TYPES)
    running = [a_claim(1), a_claim(2)]
    story.claimed(*running)
    claims = story.claims
    story.claimed(a_wide(3), has_more=True)
    assert story.claims == claims + 1
    story.ended(ended(1), worker=0)
    assert story.claims == claims + 1
    assert sent(story.ended(ended(2), worker=1)) == {0: [3]}
    # No slot is free, so nothing is claimed; all are afterwards.
    assert story.claims == claims + 1
    story.settled()
    assert story.ended(ended(3), worker=0)[0] == cmd.ClaimJobs(
        claims + 2, 3, {"wide": 1, "pair": 1}
    )


def test_wide_jobs_of_a_type_are_claimed_only_as_far_as_they_could_run_at_once():
    story = Story(workers=4, policies=TYPES)
    pair = a_wide(1, job_type="pair")
    assert story.claimed(pair, has_more=True) == [
        send(0, (1, pair)),
        cmd.ClaimJobs(2, 2, {"wide": 1, "pair": 1}),
    ]


@pytest.mark.parametrize("threads", [1, 2, 4])
def test_wide_job_is_alone_in_its_window(threads):
    story = Story(workers=4, policies={"t": JobPolicy(), "wide": JobPolicy(threads=threads)})
    story.learn()
    out = story.claimed(a_wide(1), *(a_claim(i) for i in range(2, 20)))
    held = sent(out)
    [first] = [jobs for jobs in held.values() if 1 in jobs]
    assert threads == 1 or len(first) == 1
    assert len(held) == {1: 4, 2: 3, 4: 1}[threads]


def test_wide_job_that_was_cancelled_gives_back_what_was_kept_for_it():
    story = Story(workers=3, policies=TYPES)
    story.claimed(a_claim(1))
    story.claimed(a_wide(2), a_claim(3), a_claim(4))
    commands = story.tell(ev.CancelRequested([2]))
    assert sent(commands) == {1: [3], 2: [4]}


def test_type_keeps_its_threads_whatever_policy_it_gets():
    story = Story(workers=3, policies=TYPES)
    story.tell(ev.PolicySet("wide", JobPolicy(threads=1, timeout=LONG)))
    assert sent(story.claimed(a_wide(1), a_claim(2))) == {0: [1]}


def test_job_of_more_threads_than_workers_is_left_in_the_storage():
    story = Story(workers=2, policies={"wide": JobPolicy(threads=3)})
    wide = a_wide(1)
    assert story.claimed(wide)[-1:] == [settle(1, released(wide))]
