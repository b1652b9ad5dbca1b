"""Messages cut in two, nonsense, an early end: nothing is lost silently, nobody waits in vain."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from knock.errors import ProtocolError, QueueClosedError, SupervisorLostError, WorkerBootError
from knock.pool.channel import channel_pair
from knock.protocol.frame import encode_frame
from knock.supervisor.messages import Ended, Enqueue, Failed, Pause, Stop
from knock.supervisor.process import _MESSAGES, _PipeLine
from knock.supervisor.reception import Reception
from tests.process import jobs as make
from tests.supervisor.conftest import Caller
from tests.witness import wait_gone

pytestmark = pytest.mark.process

LARGE = b"x" * (3 << 20)
INTERRUPTS = 5
NONSENSE = b"nonsense" * 4


@pytest.fixture
def in_process() -> Iterator[Caller]:
    caller = Caller("process")
    caller.value(*caller.add((make.square, 1)))
    yield caller
    caller.client.close()


@contextmanager
def interrupts(seconds: float) -> Iterator[None]:
    """Raise KeyboardInterrupt after a while.

    The signal is sent until it is noticed: one that comes just before a call that blocks is not.
    """
    noticed = threading.Event()

    def press() -> None:
        while not noticed.wait(seconds):
            os.kill(os.getpid(), signal.SIGINT)

    def notice(*_: object) -> None:
        if not noticed.is_set():
            noticed.set()
            raise KeyboardInterrupt

    before = signal.signal(signal.SIGINT, notice)
    thread = threading.Thread(target=press)
    thread.start()
    try:
        yield
    finally:
        noticed.set()
        thread.join()
        signal.signal(signal.SIGINT, before)


def post_large(caller: Caller, posted: list[int]) -> None:
    """Post more than the socket takes."""
    while True:
        specs = caller.specs((make.length, LARGE))
        caller.client.post(Enqueue(None, specs))
        posted.append(specs[0].id)


def test_what_an_interrupt_cut_in_two_is_completed_by_the_next_message(in_process):
    caller = in_process
    posted: list[int] = []
    for _ in range(INTERRUPTS):
        os.kill(caller.client.pid, signal.SIGSTOP)
        with pytest.raises(KeyboardInterrupt), interrupts(0.1):
            post_large(caller, posted)
        os.kill(caller.client.pid, signal.SIGCONT)
        assert caller.value(*caller.add((make.square, 3))) == 9
    assert len(posted) >= INTERRUPTS
    assert None not in caller.client.call("get", posted)
    caller.client.post(Stop(caller.clock.now()))
    caller.hear_last(Ended)


# --- nonsense on the line -------------------------------------------------------------------------


def test_a_supervisor_that_hears_nonsense_says_so_and_ends(in_process):
    caller = in_process
    caller.client.post(Pause())
    caller.add((make.square, 2))
    pids = {caller.client.pid, *caller.client.call("pids").values()}
    caller.client._line._socket.sendall(NONSENSE)
    with pytest.raises(ProtocolError, match="caller cannot be understood"):
        caller.client.wait_idle(10)
    wait_gone(pids, 5)


@pytest.mark.parametrize(
    "said", [NONSENSE, encode_frame(_MESSAGES, b"no pickle")], ids=["no frame", "no pickle"]
)
def test_a_caller_that_hears_nonsense_says_so(said):
    mine, theirs = channel_pair()
    process = subprocess.Popen([sys.executable, "-c", ""])
    reception = Reception()
    line = _PipeLine(mine, process, reception)
    try:
        theirs.sendall(said)
        with pytest.raises(SupervisorLostError, match="cannot be understood"):
            reception.ask(lambda _: None, 10)
    finally:
        theirs.close()
        line.close()


# --- an end while somebody waits ------------------------------------------------------------------


def test_who_waits_when_the_supervisor_ends_is_told(caller, witness):
    told = []

    def wait() -> None:
        try:
            caller.client.watch(job_id)
        except QueueClosedError as exc:
            told.append(exc)

    [job_id] = caller.add((make.spin, witness))
    witness.wait(1)
    thread = threading.Thread(target=wait)
    thread.start()
    caller.stats()
    caller.client.post(Stop(caller.clock.now()))
    thread.join(10)
    assert len(told) == 1


def test_the_last_word_comes_last(call_up):
    caller = call_up(initializer=make.leave_at_boot)
    caller.subscribe("worker_exited", finished=True)
    failed = caller.hear_last(Failed)
    assert isinstance(failed.error, WorkerBootError)
    assert caller.messages.index(failed) == len(caller.messages) - 1
    assert caller.client.receive(0) == []
