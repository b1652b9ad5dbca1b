"""Who is over a limit says where it is before it is killed, if it can."""

import ctypes
import os
import re
import signal

import psutil
import pytest

from knock.core.commands import KillCause
from tests.process import jobs
from tests.witness import LIMIT_SECONDS, Witness, wait_for

pytestmark = [pytest.mark.process, pytest.mark.platform]


def spin_in_python(witness: Witness) -> None:
    """Never end, in bytecode."""
    witness.note(os.getpid())
    while True:
        pass


def spin_deaf(witness: Witness) -> None:
    """As ``spin``, with every signal blocked that can be."""
    signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    jobs.spin(witness)


def spin_with_other_handlers(witness: Witness) -> None:
    """As ``spin``, with every signal as a new process has it."""
    for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}:
        try:
            signal.signal(number, signal.SIG_DFL)
        except OSError:  # the threads library's own
            continue
    jobs.spin(witness)


def stop_oneself(witness: Witness) -> None:
    """Be stopped, as by a terminal."""
    witness.note(os.getpid())
    os.kill(os.getpid(), signal.SIGSTOP)


def sleep_in_c(witness: Witness) -> str:
    """Sleep in a call that ends with any signal, and does not tell."""
    witness.note(os.getpid())
    ctypes.PyDLL(None).sleep(600)
    return "rested"


def kill_while(make_drive, witness, job, cause=KillCause.TIMEOUT):
    drive = make_drive().start()
    [ticket] = drive.send((job, witness))
    [pid] = witness.wait(1)
    if job is stop_oneself:
        wait_for(lambda: psutil.Process(int(pid)).status() == psutil.STATUS_STOPPED, LIMIT_SECONDS)
    drive.kill(ticket, cause=cause)
    death = drive.exit().death
    assert drive.guilty() == {ticket}
    assert death.signal == signal.SIGKILL
    return death


@pytest.mark.parametrize(
    "cause", [KillCause.TIMEOUT, KillCause.STALLED, KillCause.DEADLINE, KillCause.MEMORY]
)
def test_a_job_that_holds_the_gil_in_c_code_leaves_its_stack(make_drive, witness, cause):
    death = kill_while(make_drive, witness, jobs.spin, cause)
    assert re.findall(r" in (\w+)\n", death.stderr) == ["spin", "do"]
    assert death.ordered == cause
    assert death.cause == f"killed by SIGKILL (ordered: {cause})"


def test_a_job_in_python_leaves_its_stack(make_drive, witness):
    assert "in spin_in_python\n" in kill_while(make_drive, witness, spin_in_python).stderr


@pytest.mark.parametrize(
    "job, reason",
    [
        (spin_deaf, "it blocked the signal"),
        (stop_oneself, "it was stopped"),
        (spin_with_other_handlers, "it had changed its signal handlers"),
    ],
)
def test_a_job_that_cannot_be_asked_is_killed_and_that_is_said(make_drive, witness, job, reason):
    death = kill_while(make_drive, witness, job)
    assert death.stderr == ""
    assert death.cause == f"killed by SIGKILL (ordered: timeout; no stack: {reason})"


@pytest.mark.parametrize("cause", [KillCause.CANCELLED, KillCause.RELEASED])
def test_a_job_that_nobody_wants_is_not_asked(make_drive, witness, cause):
    assert kill_while(make_drive, witness, jobs.spin, cause).stderr == ""


def test_a_job_that_ends_while_it_is_asked_is_over_its_limit_all_the_same(
    make_drive, witness, gate
):
    drive = make_drive().start()
    waiting, square = drive.send((jobs.wait, witness, gate), (jobs.square, 3))
    witness.wait(1)
    drive.kill(waiting)
    gate.open()
    # Nobody is killed before the pool's next tick, and the job is over by then.
    wait_for(lambda: not drive.pool.read_ledgers([0]).readings[0][1].ticket, LIMIT_SECONDS)
    death = drive.exit().death
    assert drive.exits()[0].unstarted == [square]
    assert drive.guilty() == {waiting}
    assert "in wait\n" in death.stderr


def test_a_call_that_the_signal_cuts_short_is_no_success(make_drive, witness):
    drive = make_drive().start()
    [ticket] = drive.send((sleep_in_c, witness))
    witness.wait(1)
    drive.kill(ticket)
    assert "in sleep_in_c\n" in drive.exit().death.stderr
    assert drive.guilty() == {ticket}


def test_what_was_said_while_booting_is_not_told_with_a_crash(make_drive):
    drive = make_drive(preload=("tests.process.jobs",), initializer=print_to_stderr).start()
    drive.send((jobs.leave,))
    assert drive.exit().death.stderr == ""


def print_to_stderr():
    import sys

    print("a warning at boot", file=sys.stderr)
