"""The supervisor's side of one worker, the test being the worker."""

import fcntl
import os
import resource
import struct

import pytest

from knock.core.events import (
    AttemptsEnded,
    WorkerReady,
)
from knock.core.handout import Dispatch
from knock.core.job import JobSpec
from knock.pool.handle import Handle
from knock.pool.hearing import hear
from knock.pool.ledger import LedgerWriter
from knock.protocol.attempt import Measured, encode_result
from knock.protocol.frame import FrameDecoder
from knock.protocol.message import FROM_WORKER, Kind, encode_handed_back, encode_ready
from tests.conftest import open_fds

pytestmark = pytest.mark.process


@pytest.fixture
def handle():
    handle = Handle(0, 1)
    yield handle
    handle.close()


def send(handle, *tickets, size=1):
    spec = JobSpec(1, "do", b"x" * size, 1, 0.0, 0.0)
    handle.send_jobs([Dispatch(ticket, spec, 1) for ticket in tickets])


def take(handle, count=1):
    """Take permits, as the worker does."""
    try:
        data = os.read(handle.permits.worker_end.fd, 8 * count)
    except BlockingIOError:
        return []
    return [ticket for (ticket,) in struct.iter_unpack("<Q", data)]


def say(handle, *buffers):
    """Let the worker have sent this; return the events."""
    frames = FrameDecoder(FROM_WORKER).feed(b"".join(buffers))
    return hear(handle, frames, lambda ns: ns * 1e-9, lambda _: None)


def answer(ticket):
    return b"".join(encode_result(ticket, Measured(0, 0, 0, 0, 0, True), b"N."))


def test_answers_are_believed_in_the_order_of_the_permits(handle):
    send(handle, 1, 2, 3)
    assert take(handle, 2) == [1, 2]
    [told] = say(handle, answer(1), answer(2))
    assert isinstance(told, AttemptsEnded)
    assert [ended.ticket for ended in told.ended] == [1, 2]
    assert (list(handle.window), handle.violation) == ([3], None)


@pytest.mark.parametrize("taken, answered", [(0, 1), (2, 2), (1, 3), (1, 9)])
def test_an_answer_out_of_turn_is_a_lie(handle, taken, answered):
    send(handle, 1, 2, 3)
    take(handle, taken)
    assert say(handle, answer(answered)) == []
    assert handle.violation == f"an answer for ticket {answered}, which it has not taken"
    assert list(handle.window) == [1, 2, 3]


def test_what_came_before_a_lie_counts(handle):
    send(handle, 1, 2)
    take(handle, 1)
    [told] = say(handle, answer(1), answer(2))
    assert [ended.ticket for ended in told.ended] == [1]
    assert handle.violation is not None
    # And nothing can start any more.
    assert (take(handle), handle.withheld) == ([], [2])


def test_a_second_answer_for_the_last_ticket_is_not_heard(handle):
    send(handle, 1, 2, 3)
    take(handle, 2)
    say(handle, answer(1))
    [told] = say(handle, answer(1), answer(2), answer(2))
    assert [ended.ticket for ended in told.ended] == [2]
    assert (list(handle.window), handle.violation) == ([3], None)


@pytest.mark.parametrize("tickets", [[1, 2], [2, 3], [3], [2, 2]])
def test_of_tickets_handed_back_with_one_that_was_not_taken_none_is_taken_back(handle, tickets):
    send(handle, 1, 2, 3)
    take(handle, 2)
    [told] = say(handle, answer(1), encode_handed_back(tickets))
    assert [ended.ticket for ended in told.ended] == [1]
    assert handle.violation == f"{len(tickets)} tickets handed back, not all of which it has taken"
    assert list(handle.window) == [2, 3]


def test_an_answer_for_a_job_that_still_runs_counts_and_is_a_lie(handle):
    ledger = LedgerWriter(handle.worker_fds()[2])
    send(handle, 1, 2)
    take(handle)
    ledger.load(1)
    [told] = say(handle, answer(1))
    assert [ended.ticket for ended in told.ended] == [1]
    assert handle.violation == "an answer for ticket 1, which still runs"
    assert (take(handle), handle.withheld) == ([], [2])


def test_a_worker_is_ready_once(handle):
    handle.pid = os.getppid()
    assert say(handle, encode_ready()) == [WorkerReady(0, 1, os.getppid())]
    handle.pid = None  # or the kill that follows would be a real one
    assert say(handle, encode_ready()) == []
    assert handle.violation == "a second word about its boot"


def test_a_doomed_worker_gets_no_permit(handle):
    send(handle, 1)
    handle.kill()
    send(handle, 2, 3)
    handle.restore()
    assert take(handle, 9) == []
    assert handle.withheld == [1, 2, 3]
    assert handle.revoke({2}) == [2]
    assert handle.withheld == [1, 3]
    assert take(handle, 9) == []


def test_what_was_withheld_for_a_moment_comes_back_in_order(handle):
    send(handle, 1, 2)
    send(handle, 3, size=32 << 20)  # not wholly in the socket
    send(handle, 4)
    take(handle)
    handle.withhold()
    assert take(handle) == []
    assert handle.unstarted() == 3
    handle.restore()
    assert take(handle, 9) == [2, 3, 4]


def test_revoking_leaves_the_others_where_they_were(handle):
    send(handle, 1, 2, 3)
    send(handle, 4, 5, size=32 << 20)
    take(handle)
    assert handle.revoke({1, 2, 5}) == [2, 5]
    assert take(handle, 9) == [3]  # and 4 is still to be sent
    assert list(handle.window) == [1, 3, 4]


def test_a_stopping_worker_sees_the_end_when_it_is_through_and_not_before(handle):
    send(handle, 1, 2)
    handle.stop()
    take(handle)
    handle.withhold()
    handle.restore()
    assert take(handle) == [2]
    say(handle, answer(1))
    with pytest.raises(BlockingIOError):
        os.read(handle.permits.worker_end.fd, 8)
    say(handle, answer(2))
    assert os.read(handle.permits.worker_end.fd, 8) == b""


def test_tickets_that_a_worker_forges_are_nobodys(handle):
    send(handle, 1, 2)
    with own_write_end(handle) as fd:
        os.write(fd, struct.pack("<QQQQ", 2, 77, 1, 2))
    assert handle.revoke({2, 77}) == [2]
    assert list(handle.window) == [1]
    handle.withhold()
    assert handle.withheld == [1]


def test_a_permit_pipe_that_a_worker_stuffs_is_its_own_end(handle):
    with own_write_end(handle) as fd:
        os.write(fd, bytes(fcntl.fcntl(fd, fcntl.F_GETPIPE_SZ)))
    send(handle, 1)
    assert handle.violation == "its permit pipe is full of what it was not given"
    assert handle.withheld == [1]


def test_half_a_ticket_that_a_worker_read_harms_nobody_else(handle):
    send(handle, 1, 2)
    os.read(handle.permits.worker_end.fd, 3)
    handle.withhold()
    assert handle.withheld in ([], [1], [2])
    assert handle.unstarted() == len(handle.withheld)


def test_without_descriptors_a_birth_fails_and_leaves_none():
    before = open_fds()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    failures = 0
    # From below what is open: there may be gaps in it.
    limits = range(3, max(before) + 20)
    try:
        for limit in limits:
            resource.setrlimit(resource.RLIMIT_NOFILE, (limit, hard))
            try:
                Handle(0, 1).close()
            except OSError:
                failures += 1
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert 0 < failures < len(limits)
    assert open_fds().keys() == before.keys()


def test_kinds_that_only_a_supervisor_sends_are_not_heard(handle):
    assert not FROM_WORKER & {Kind.BOOT, Kind.DEFINE, Kind.JOBS, Kind.RESUME_TYPE, Kind.ANSWER}


class own_write_end:  # noqa: N801 - used like a function
    """The write end that a worker can make itself of the read end that it holds."""

    def __init__(self, handle):
        self.path = f"/proc/self/fd/{handle.permits.worker_end.fd}"

    def __enter__(self):
        self.fd = os.open(self.path, os.O_WRONLY)
        return self.fd

    def __exit__(self, *_):
        os.close(self.fd)
