"""Kills by name among jobs that are over in no time: nobody else is ever hit."""

from random import Random

import pytest

from knock.core.commands import KillCause
from tests.process import jobs

pytestmark = [pytest.mark.process, pytest.mark.platform]

KILLS = 60
WINDOW = 40
JOB_SECONDS = 0.0002


@pytest.mark.parametrize("cause", [KillCause.CANCELLED, KillCause.TIMEOUT])
def test_a_kill_hits_the_job_that_it_names_or_nobody(make_drive, witness, cause):
    drive = make_drive(start_method="forkserver").start()
    random, generation = Random(7), 1
    hit = 0
    for _ in range(KILLS):
        tickets = drive.send(
            *[(jobs.note_and_take_time, witness, JOB_SECONDS)] * WINDOW, generation=generation
        )
        running = look(drive, random.uniform(0.0, 0.006))
        if not running:
            drive.values(tickets)
            continue
        drive.kill(running, generation=generation, cause=cause)
        # Who is over its limit is asked for its stack first, and may end meanwhile.
        drive.until(
            lambda ticket=running, wanted=generation: (
                ticket in drive.dropped() or exit_of(drive, wanted)
            )
        )
        if running in drive.dropped():
            drive.values(tickets)
            continue
        exited = exit_of(drive, generation)
        told = {*drive.ended(), *exited.unstarted}
        guilty = set(tickets) - told
        assert guilty <= {running}
        # In order: what ended, the one that was killed, what had not started.
        assert (
            sorted([*(t for t in tickets if t in drive.ended()), *guilty])
            == tickets[: len(tickets) - len(exited.unstarted)]
        )
        hit += bool(guilty)
        generation += 1
        drive.start(generation=generation)
    # A job that took two permits, or ran after it was taken back, would have noted more.
    started = len(drive.ended()) + hit
    assert len(drive.ended()) <= len(witness.facts()) <= started


def exit_of(drive, generation):
    return next((e for e in drive.exits() if e.generation == generation), None)


def look(drive, seconds):
    """Wait a moment, reading nothing, and return the ticket that the ledger shows."""
    until = drive.clock.now() + seconds
    while drive.clock.now() < until:
        pass
    return drive.pool.read_ledgers([0]).readings[0][1].ticket
