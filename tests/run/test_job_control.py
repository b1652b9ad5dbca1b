"""Ctrl-Z and ``fg``: what stood still is not over its limits for that."""

import os
import signal
import time

import pytest

from tests.witness import process_state, script, wait_for

pytestmark = pytest.mark.process

LIMIT = 3.0
# From the last start of a job to the end of the stop.
STOP = 4.5
BATCH = """
import sys
from knock import run_pool
from tests.process import jobs
from tests.witness import Gate, Witness
witness, gate = Witness(sys.argv[1] + "/witness"), Gate(sys.argv[1] + "/gate")
def do(item):
    if item == "quick":
        return witness.note("quick")
    if item == "spin":
        jobs.spin(witness)
    jobs.wait(witness, gate)
    witness.note("done")
def items():
    yield from ["wait", sys.argv[3]]
    sys.stdin.readline()
    yield "quick"
report = run_pool(do, items(), workers=3, timeout=float(sys.argv[4]), progress=False,
                  supervisor=sys.argv[2], retry_attempts=0)
print(*[outcome.state.value for outcome in report.outcomes])
print(*[outcome.record.attempts[-1].outcome.value for outcome in report.outcomes])
"""


@pytest.fixture(params=["thread", "process"])
def place(request):
    return request.param


def batch(tmp_path, place, second):
    return script("-c", BATCH, str(tmp_path), place, second, str(LIMIT))


def stop(pids):
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    wait_for(lambda: all(process_state(pid) == "T" for pid in pids))


def go_on(pids, not_before):
    wait_for(lambda: time.monotonic() >= not_before)
    for pid in pids:
        os.kill(pid, signal.SIGCONT)


def test_what_ended_while_the_caller_was_stopped_has_not_timed_out(tmp_path, place, witness, gate):
    with batch(tmp_path, place, "wait") as running:
        witness.wait(2)
        until = time.monotonic() + STOP
        stop([running.pid])
        # Workers are no part of the terminal's job: they go on.
        gate.open()
        wait_for(lambda: witness.count("done") == 2)
        go_on([running.pid], until)
        running.say()
        assert running.line() == "completed completed completed"
        assert running.line() == "success success success"
        code, _, errors = running.end()
        assert (code, errors) == (0, "")


def test_no_limit_counts_a_stop_of_all_and_each_counts_on_after_it(tmp_path, place, witness, gate):
    with batch(tmp_path, place, "spin") as running:
        witness.wait(2)
        until = time.monotonic() + STOP
        family = [running.pid, *running.descendants()]
        stop(family)
        go_on(family, until)
        running.say()
        # By now the supervisor has judged what was running.
        wait_for(lambda: witness.count("quick"))
        gate.open()
        assert running.line() == "completed dead completed"
        assert running.line() == "success timeout success"
        assert running.end()[0] == 0
