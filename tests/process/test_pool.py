"""What a pool does on command, with each start method."""

import os
import signal
from dataclasses import replace
from itertools import pairwise

import pytest

from knock.core.commands import (
    KillCause,
)
from knock.core.events import (
    KillDropped,
    WorkerReady,
    WorkerWorn,
)
from knock.core.job import AttemptOutcome
from knock.pool.definition import Processor, Style, dump_definitions
from tests.process import jobs
from tests.witness import wait_for

pytestmark = [pytest.mark.process, pytest.mark.platform]


def test_jobs_run_in_order_and_their_values_come_back(drive):
    tickets = drive.start().send(*[(jobs.square, n) for n in range(100)])
    assert drive.values(tickets) == [n * n for n in range(100)]
    assert list(drive.ended()) == tickets
    usages = [ended.usage for ended in drive.ended().values()]
    assert all(a.started_at <= b.started_at for a, b in pairwise(usages))


def test_workers_are_processes_of_their_own(drive):
    drive.start(0, 1)
    [first] = drive.values(drive.send((jobs.pid,), worker=0))
    [second] = drive.values(drive.send((jobs.pid,), worker=1))
    assert len({first, second, os.getpid()}) == 3
    assert drive.pool.pids() == {0: first, 1: second}
    assert [ready.pid for ready in drive.all(WorkerReady)] in ([first, second], [second, first])


def test_a_failure_hands_the_rest_of_its_type_back(drive):
    drive.start()
    before = drive.send((jobs.square, 3))
    failing = drive.send((jobs.refuse,), (jobs.square, 4), (jobs.square, 5))
    others = drive.send_as("other", (jobs.square, 6))
    assert drive.values(before + others) == [9, 36]
    assert drive.ended()[failing[0]].outcome is AttemptOutcome.ERROR
    assert drive.handed_back() == failing[1:]
    drive.pool.resume_type(0, 1, "do")
    assert drive.values(drive.send((jobs.square, 7))) == [49]


def test_a_worker_can_ask_to_be_replaced_with_a_text_of_any_length(drive):
    drive.start()
    drive.values(drive.send((jobs.wear, "left threads", "\udcff" * 5000)))
    short, long = drive.all(WorkerWorn)
    assert short == WorkerWorn(0, 1, "left threads")
    assert long.reason == ("\\udcff" * 200)[:1024]


def test_what_has_not_started_can_be_revoked_and_never_runs(drive, witness, gate):
    drive.start()
    running, second, third = drive.send(
        (jobs.wait, witness, gate), (jobs.note, witness, "second"), (jobs.note, witness, "third")
    )
    witness.wait(1)
    assert drive.revoke(running, second) == [second]
    gate.open()
    assert drive.values([running, third]) == ["waits", "third"]
    assert drive.values(drive.send((jobs.note, witness, "later"))) == ["later"]
    assert witness.facts() == ["waits", "third", "later"]


def test_a_job_can_be_killed_by_name(drive, witness):
    drive.start()
    done, guilty, third = drive.send(
        (jobs.square, 2), (jobs.spin, witness), (jobs.note, witness, "third")
    )
    witness.wait(1)
    assert not [event for event in drive.kill(guilty) if isinstance(event, KillDropped)]
    exited = drive.exit()
    assert drive.guilty() == {guilty}
    assert drive.values([done]) == [4]
    assert exited.unstarted == [third]
    assert exited.death.signal == signal.SIGKILL
    assert exited.death.cause == "killed by SIGKILL (ordered: timeout)"
    assert exited.started_at == pytest.approx(drive.clock.now(), abs=10)
    assert len(witness.facts()) == 1


def test_a_kill_that_comes_too_late_is_dropped_and_gives_the_permits_back(drive, witness, gate):
    drive.start()
    first, running, third = drive.send(
        (jobs.square, 2), (jobs.wait, witness, gate), (jobs.note, witness, "third")
    )
    witness.wait(1)
    # That the first has ended is in the channel, but has not been read.
    drive.kill(first)
    assert drive.dropped() == [first]
    assert list(drive.ended()) == [first]
    gate.open()
    assert drive.values([running, third]) == ["waits", "third"]
    assert not drive.exits()


def test_a_kill_of_nobody_in_particular_kills_an_idle_worker(drive):
    drive.start()
    drive.kill(None, cause=KillCause.RELEASED)
    exited = drive.exit()
    assert (exited.unstarted, drive.guilty()) == ([], set())


def test_what_was_said_of_an_earlier_process_does_not_reach_its_successor(drive):
    drive.start()
    drive.kill(None)
    drive.exit()
    drive.start(generation=2)
    drive.pool.kill(0, 1, None, KillCause.TIMEOUT)
    drive.pool.stop_worker(0, 1)
    assert drive.pool.revoke(0, 1, [1]) == []
    assert drive.values(drive.send((jobs.square, 5), generation=2)) == [25]


def test_jobs_sent_to_a_dead_worker_are_told_as_unstarted(drive):
    drive.start()
    os.kill(drive.pid(), signal.SIGKILL)
    exited = drive.exit()
    tickets = drive.send((jobs.square, 1), (jobs.square, 2))
    assert exited.unstarted == tickets


def test_jobs_sent_after_an_unheard_death_come_back(drive):
    drive.start()
    os.kill(drive.pid(), signal.SIGKILL)
    # Whether the permits get into a pipe that still exists or not.
    tickets = drive.send((jobs.square, 1), (jobs.square, 2))
    assert drive.exit().unstarted == tickets
    assert drive.guilty() == set()


def test_a_worker_told_to_stop_does_what_it_has_and_ends(drive):
    drive.start()
    tickets = drive.send(*[(jobs.square, n) for n in range(50)])
    drive.pool.stop_worker(0, 1)
    exited = drive.exit()
    assert drive.values(tickets) == [n * n for n in range(50)]
    assert (exited.death.exit_code, exited.unstarted) == (0, [])


def test_definitions_reach_workers_of_now_and_of_later(drive):
    drive.start()
    drive.pool.define(dump_definitions(processors={"new": Processor(jobs.square, Style.ITEM)}))
    drive.pool.start_worker(1, 1)
    for worker in (0, 1):
        [ticket] = drive.send_as("new", 4, worker=worker)
        assert drive.values([ticket]) == [16]


def test_a_reading_shows_what_runs_and_what_waits(drive, witness, gate):
    drive.start()
    idle = drive.pool.read_ledgers([0]).readings[0]
    running, *_ = drive.send((jobs.wait, witness, gate), (jobs.pid,), (jobs.pid,))
    witness.wait(1)
    generation, reading = drive.pool.read_ledgers([0, 7]).readings[0]
    started_at, sent_at = idle[1].started_at, idle[1].sent_at
    empty = replace(reading, ticket=0, started_at=started_at, permits_left=0, sent_at=sent_at)
    assert idle == (1, empty)
    assert sent_at <= reading.sent_at <= drive.clock.now()
    assert (generation, reading.ticket, reading.permits_left) == (1, running, 2)
    assert reading.started_at == pytest.approx(drive.clock.now(), abs=10)


def test_values_larger_than_every_buffer_pass_both_ways(drive):
    drive.start()
    size = 16 << 20
    out, back = drive.send((jobs.length, b"x" * size), (jobs.long_answer, size))
    assert drive.values([out]) == [size]
    assert drive.values([back]) == [b"x" * size]


def test_what_running_jobs_log_is_told_in_order(drive):
    said = []
    drive.pool.on_message = lambda message: said.append(message.message.text)
    drive.values(drive.start().send((jobs.flood_log, 2000)))
    assert said == [f"line {n}" for n in range(2000)]


@pytest.mark.needs("subreaper")
def test_closing_kills_what_runs_and_what_it_left_behind(drive, witness):
    drive.start(0, 1)
    drive.send((jobs.breed_and_spin, witness))
    drive.send((jobs.spin, witness), worker=1)
    pids = {*map(int, witness.wait(5)), *drive.pool.pids().values()}
    drive.close()
    assert not [pid for pid in pids if os.path.exists(f"/proc/{pid}")]
    drive.pool.close()


@pytest.mark.needs("subreaper")
def test_what_a_dead_job_left_behind_is_killed(drive, witness):
    drive.start()
    drive.send((jobs.breed_and_die, witness))
    drive.exit()
    wait_for(lambda: not [p for p in witness.facts() if os.path.exists(f"/proc/{p}")], seconds=1)
