"""Channels that are full: nobody waits, and nothing is torn."""

import os
import signal

import pytest

from knock.pool.channel import Channel, channel_pair
from knock.protocol.frame import encode_frame
from tests.process import jobs
from tests.witness import Witness, process_state, wait_for

pytestmark = pytest.mark.process

LARGE = 64 << 20


def stop(drive, worker: int = 0) -> int:
    """Stop a worker; it reads nothing until it is continued."""
    pid = drive.pid(worker)
    os.kill(pid, signal.SIGSTOP)
    wait_for(lambda: process_state(pid) == "T")
    return pid


def test_a_payload_for_a_stopped_worker_waits_and_arrives_whole(drive):
    drive.start()
    pid = stop(drive)
    tickets = drive.send((jobs.length, b"x" * LARGE), (jobs.square, 3))
    assert drive.pool.read_ledgers([0]).readings[0][1].permits_left == 2
    os.kill(pid, signal.SIGCONT)
    assert drive.values(tickets) == [LARGE, 9]


def test_a_reading_tells_when_the_worker_last_took_something_in(drive):
    def sent_at():
        return drive.pool.read_ledgers([0]).readings[0][1].sent_at

    drive.start()
    pid = stop(drive)
    tickets = drive.send((jobs.length, b"x" * LARGE))
    stopped_at = sent_at()
    assert stopped_at <= drive.clock.now()
    # It takes in nothing, so nothing is new.
    drive.turn(0.05)
    assert sent_at() == stopped_at
    os.kill(pid, signal.SIGCONT)
    assert drive.values(tickets) == [LARGE]
    assert sent_at() > stopped_at


def test_a_stopped_worker_holds_up_no_other(make_drive):
    drive = make_drive().start(0, 1)
    pid = stop(drive)
    large = drive.send((jobs.length, b"x" * LARGE))
    assert drive.values(drive.send((jobs.square, 3), worker=1)) == [9]
    os.kill(pid, signal.SIGCONT)
    assert drive.values(large) == [LARGE]


def test_jobs_not_yet_sent_can_be_revoked(drive, tmp_path):
    witness = Witness(str(tmp_path / "ran"))
    drive.start()
    pid = stop(drive)
    first, second = drive.send((jobs.length, b"x" * LARGE), (jobs.note, witness, "second"))
    third = drive.send((jobs.note, witness, "third"))
    assert drive.revoke(first, *third) == [first, *third]
    os.kill(pid, signal.SIGCONT)
    later = drive.send((jobs.note, witness, "later"))
    assert drive.values([second, *later]) == ["second", "later"]
    assert witness.facts() == ["second", "later"]
    assert drive.ended().keys() == {second, *later}


def test_jobs_not_yet_sent_are_unstarted_when_the_worker_dies(drive):
    drive.start()
    pid = stop(drive)
    tickets = drive.send((jobs.length, b"x" * LARGE), (jobs.square, 3))
    os.kill(pid, signal.SIGKILL)
    assert sorted(drive.exit().unstarted) == tickets
    assert drive.guilty() == set()


def test_a_kill_takes_back_what_was_not_yet_sent(drive):
    drive.start()
    stop(drive)
    tickets = drive.send((jobs.length, b"x" * LARGE), (jobs.square, 3))
    drive.kill(None)
    assert sorted(drive.exit().unstarted) == tickets


def test_a_channel_calls_back_when_the_last_byte_is_in_the_socket():
    mine, theirs = channel_pair()
    sender, receiver = Channel(mine, ()), Channel(theirs, (1, 2))
    sent = []
    body = os.urandom(20 << 20)
    sender.send([encode_frame(1, body)], lambda: sent.append("large"))
    sender.send([encode_frame(2, b"small")], lambda: sent.append("small"))
    assert sender.wants_write
    frames = []
    while len(frames) < 2:
        assert sent == [] or not sender.wants_write
        frames += receiver.receive()
        sender.flush()
    assert frames == [(1, body), (2, b"small")]
    assert sent == ["large", "small"]
    sender.close()
    assert receiver.receive() == []
    assert receiver.is_ended
    receiver.close()


def test_a_channel_whose_peer_is_gone_ends_and_waits_for_nobody():
    mine, theirs = channel_pair()
    channel = Channel(mine, (1,))
    theirs.close()
    channel.send([encode_frame(1, b"x")], lambda: pytest.fail("it was not sent"))
    assert not channel.wants_write
    assert channel.receive() == []
    assert channel.is_ended
    channel.close()


def test_frames_of_a_kind_that_may_not_come_are_refused():
    mine, theirs = channel_pair()
    sender, receiver = Channel(mine, ()), Channel(theirs, (1,))
    sender.send([encode_frame(2, b"x")])
    assert receiver.receive() == []
    assert receiver.violation == "a frame of unknown kind 2"
    sender.close()
    receiver.close()
