"""All workers die in one instant, again and again: each death is its own job's, and no other's."""

import os
import signal

import pytest

from knock.core.job import AttemptOutcome, JobState
from tests.process import jobs as make
from tests.witness import is_alive, wait_for

pytestmark = pytest.mark.process

WORKERS = 4
ROUNDS = 50


def test_workers_that_all_die_in_one_instant_cost_one_attempt_of_one_job_each(call_up, witness):
    caller = call_up(workers=WORKERS)
    supervisor, killed, dead = caller.client.pid, [], []
    for number in range(ROUNDS):
        ids = caller.add(*[(make.note_and_spin, witness, (number, n)) for n in range(WORKERS)])
        facts = witness.wait(WORKERS * (number + 1))[-WORKERS:]
        pids = {int(fact.partition(" ")[0]) for fact in facts}
        assert len(pids) == WORKERS
        behind = caller.add(*[(make.square, n) for n in range(WORKERS)])
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
        for job_id, fact in zip(ids, sorted(facts, key=by_job), strict=True):
            record = caller.watch(job_id)
            [attempt] = record.attempts
            assert record.state is JobState.DEAD
            assert attempt.outcome is AttemptOutcome.CRASH
            assert attempt.death.cause.startswith("killed by SIGKILL, not by knock")
            assert attempt.worker_pid == attempt.death.pid == int(fact.partition(" ")[0])
        assert [caller.value(job_id) for job_id in behind] == [n * n for n in range(WORKERS)]
        assert [len(caller.get(job_id).attempts) for job_id in behind] == [1] * WORKERS
        killed += pids
        dead += ids
    assert len(set(killed)) == len(set(dead)) == ROUNDS * WORKERS
    assert len(witness.facts()) == ROUNDS * WORKERS
    wait_for(lambda: len(caller.client.call("pids")) == WORKERS, what="a whole pool")
    assert caller.client.pid == supervisor
    assert supervisor is None or is_alive(supervisor)
    facts = caller.client.call("facts")
    assert sum(facts.exit_causes.values()) == ROUNDS * WORKERS
    assert all(cause.startswith("killed by SIGKILL, not by knock") for cause in facts.exit_causes)


def by_job(fact: str) -> int:
    """The number of a round's job in what it has noted."""
    return int(fact.rpartition(" ")[2].rstrip(")"))
