"""Jobs that lie to the supervisor: at worst they cost themselves."""

import os
import signal
import struct

import pytest

from tests.process import jobs

pytestmark = pytest.mark.process


# A forked worker has the descriptors of the test runner too, and garbage in these would end it.
@pytest.mark.parametrize("start_method", ["forkserver", "spawn"])
def test_garbage_in_every_descriptor_is_a_violation(make_drive, start_method, witness, caplog):
    drive = make_drive(start_method=start_method).start()
    first, guilty, last = drive.send(
        (jobs.square, 2), (jobs.write_garbage, witness), (jobs.square, 3)
    )
    exited = drive.exit()
    assert drive.guilty() == {guilty}
    assert drive.values([first]) == [4]
    assert (exited.unstarted, exited.death.signal) == ([last], signal.SIGKILL)
    assert exited.death.cause.startswith("protocol violation: ")
    [record] = [r for r in caplog.records if r.name == "knock.pool"]
    assert "not a frame" in record.getMessage()


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


def test_an_answer_for_no_job_at_all_is_a_violation(drive, witness):
    drive.start().send((jobs.forge, 1 << 60, witness))
    assert "protocol violation" in drive.exit().death.cause
    assert drive.guilty() == {1}


def test_a_second_answer_for_the_same_job_is_a_violation(make_drive, witness):
    drive = make_drive().start()
    # Its own ticket: the forged answer counts, for the job is its own to end.
    [ticket, last] = drive.send((jobs.forge, 1, witness), (jobs.square, 2))
    assert drive.values([ticket]) == [None]
    assert drive.revoke(last) == [last]


def test_a_worker_that_is_worn_before_it_was_ready_is_killed(make_drive):
    drive = make_drive(initializer=jobs.wear)
    drive.pool.start_worker(0, 1)
    assert drive.exit().death.cause == "protocol violation: worn before it was ready"


def test_a_worker_that_closes_its_channel_and_lives_on_is_killed(make_drive, witness):
    drive = make_drive().start()
    [guilty] = drive.send((jobs.close_channel, witness))
    exited = drive.exit()
    assert exited.death.signal == signal.SIGKILL
    assert drive.guilty() == {guilty}


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
