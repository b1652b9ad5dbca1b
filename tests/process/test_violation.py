"""Jobs that lie to the supervisor: at worst they cost themselves."""

import os
import struct

import pytest

from tests.process import jobs

pytestmark = [pytest.mark.process, pytest.mark.platform]


def test_an_answer_for_a_job_of_another_worker_is_a_violation(drive, witness, gate):
    drive.start(0, 1)
    [others] = drive.send((jobs.wait, witness, gate), worker=1)
    [guilty] = drive.send((jobs.forge, others, witness))
    exited = drive.exit()
    assert exited.death.cause.startswith(
        f"protocol violation: an answer for ticket {others}, which it "
    )
    assert others not in drive.ended()
    gate.open()
    assert drive.values([others]) == ["waits"]
    assert drive.guilty() == {guilty}


def test_a_worker_that_is_worn_before_it_was_ready_is_killed(make_drive):
    drive = make_drive(initializer=jobs.wear)
    drive.pool.start_worker(0, 1)
    assert drive.exit().death.cause == "protocol violation: worn before it was ready"


@pytest.mark.parametrize(
    "data", [b"\xff" * 4096, struct.pack("<QQQ", 1 << 63, 1 << 63, 1 << 63), bytes(4096)]
)
def test_nonsense_in_the_ledger_harms_nobody(make_drive, witness, gate, data):
    drive = make_drive().start()
    tickets = drive.send(
        (jobs.write_ledger, data), (jobs.write_ledger, data), (jobs.wait, witness, gate)
    )
    witness.wait(1)
    drive.pool.read_ledgers([0])
    gate.open()
    assert drive.values(tickets) == ["written", "written", "waits"]


@pytest.mark.needs("memfd")
def test_the_ledger_cannot_be_taken_from_under_its_reader(make_drive, witness, gate):
    # Reading a page of a file that was cut off is SIGBUS: the supervisor's end, not the job's.
    drive = make_drive().start()
    ticket, running = drive.send((jobs.shrink_ledger,), (jobs.wait, witness, gate))
    witness.wait(1)
    [said] = drive.values([ticket])
    assert said.startswith("refused")
    assert drive.pool.read_ledgers([0]).readings[0][1].ticket == running


def test_a_child_of_a_job_cannot_speak_for_it(make_drive):
    drive = make_drive().start()
    tickets = drive.send((jobs.come_back_twice,), (jobs.square, 3))
    assert drive.values(tickets) == ["the parent", 9]
    assert not drive.exits()
    assert os.getpid() != drive.pid()
