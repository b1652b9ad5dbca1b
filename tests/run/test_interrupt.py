"""Ctrl-C, and a child forked in the middle of a batch."""

import os
import signal
import time

import pytest

from knock import iter_pool
from knock.errors import ForkedProcessError
from knock.supervisor.interrupt import Shield
from tests.run import jobs
from tests.witness import script

pytestmark = pytest.mark.process

BATCH = """
import sys, threading
from knock import PoolInterrupted, iter_pool, run_pool
from tests.process import jobs
from tests.witness import Gate, Witness
witness, gate = Witness(sys.argv[1] + "/witness"), Gate(sys.argv[1] + "/gate")
options = dict(workers=2, progress=False, supervisor=sys.argv[2])
def quick(item):
    if item == "wait":
        jobs.wait(witness, gate)
    elif item == "spin":
        jobs.spin(witness)
    elif item == "later":
        jobs.take_time(0.05)
    return item
def told(report):
    states = [o.state.value for o in report.outcomes]
    print(states.count("completed"), states.count("cancelled"), len(states), flush=True)
    reasons = {o.record.reason for o in report.outcomes if o.state == "cancelled"}
    assert reasons <= {"interrupted"}, reasons
"""
RUN_POOL = (
    BATCH
    + """
try:
    run_pool(quick, items, **options)
except PoolInterrupted as exc:
    told(exc.report)
else:
    print("not interrupted")
"""
)


@pytest.fixture(params=["thread", "process"])
def place(request):
    return request.param


def batch(code, tmp_path, place):
    return script("-c", code, str(tmp_path), place)


def test_ctrl_c_once_lets_what_runs_finish_and_returns_what_is_done(tmp_path, place, witness, gate):
    items = '["a", "b", "wait", "wait"] + ["later"] * 100'
    with batch(RUN_POOL.replace("items,", f"{items},"), tmp_path, place) as running:
        witness.wait(2)
        running.kill(signal.SIGINT)
        # It says so first.
        assert "running jobs may finish" in running.process.stderr.readline()
        gate.open()
        done, cancelled, number = map(int, running.line().split())
        # Four, and what had begun before the word came to the supervisor.
        assert 4 <= done <= 8
        assert (done + cancelled, number) == (104, 104)
        code, _, errors = running.end()
        assert code == 0, errors
        assert not running.descendants()
    assert len(witness.facts()) == 2


def test_ctrl_c_twice_kills_what_runs(tmp_path, place, witness):
    items = '["a", "spin", "spin"] + ["later"] * 10'
    with batch(RUN_POOL.replace("items,", f"{items},"), tmp_path, place) as running:
        witness.wait(2)
        running.kill(signal.SIGINT)
        assert "running jobs may finish" in running.process.stderr.readline()
        running.kill(signal.SIGINT)
        killed_at = time.monotonic()
        assert running.line() == "1 12 13"
        code, _, errors = running.end()
        assert code == 0, errors
        assert time.monotonic() - killed_at < 2.0
        assert not running.descendants()


def test_ctrl_c_between_the_coming_of_outcomes_and_their_keeping_loses_none(
    tmp_path, place, witness
):
    # Pressed when messages were taken from the supervisor and nobody holds them yet.
    code = (
        BATCH
        + """
import signal
from knock.supervisor.client import SupervisorClient
from knock.supervisor.messages import Finished
receive, pressed = SupervisorClient.receive, []
def receive_and_press(self, timeout=None):
    messages = receive(self, timeout)
    if not pressed and any(isinstance(message, Finished) for message in messages):
        pressed.append(True)
        signal.raise_signal(signal.SIGINT)
    return messages
SupervisorClient.receive = receive_and_press
try:
    run_pool(lambda item: witness.note(item), range(2000), **options)
except PoolInterrupted as exc:
    told(exc.report)
"""
    )
    with batch(code, tmp_path, place) as running:
        done, cancelled, number = map(int, running.line().split())
        code, _, errors = running.end()
        assert code == 0, errors
    assert done == len(witness.facts())
    assert (done + cancelled, number) == (2000, 2000)
    assert 0 < done < 2000


@pytest.mark.parametrize(
    "how", ["list(iter_pool(quick, 'ab', **options))", "run_pool(quick, 'ab', **options)"]
)
def test_ctrl_c_during_the_start_leaves_no_pool(tmp_path, place, how):
    code = (
        BATCH
        + f"""
import signal
from knock.run import batch
start = batch.start_supervisor
def start_and_press(*args):
    client = start(*args)
    client.call("counts")
    signal.raise_signal(signal.SIGINT)
    return client
batch.start_supervisor = start_and_press
try:
    {how}
except KeyboardInterrupt:
    print("interrupted", flush=True)
    sys.stdin.readline()
"""
    )
    with batch(code, tmp_path, place) as running:
        assert running.line() == "interrupted"
        running.wait_descendants_gone(5.0)


def test_ctrl_c_while_the_input_is_pulled(tmp_path, place):
    code = RUN_POOL.replace("items,", "items(),").replace(
        "\ntry:",
        """
def items():
    yield "a"
    print("pulling", flush=True)
    threading.Event().wait()
try:""",
    )
    with batch(code, tmp_path, place) as running:
        assert running.line() == "pulling"
        running.kill(signal.SIGINT)
        done, cancelled, number = map(int, running.line().split())
        assert (done + cancelled, number) == (1, 1)
        code, _, errors = running.end()
        assert code == 0, errors
        assert not running.descendants()


def test_a_script_that_does_not_catch_it_ends_by_it(tmp_path, witness):
    code = BATCH + 'run_pool(quick, ["spin", "spin"], **options)\n'
    with batch(code, tmp_path, "thread") as running:
        witness.wait(2)
        running.kill(signal.SIGINT)
        running.process.stderr.readline()
        running.kill(signal.SIGINT)
        code, _, errors = running.end()
        assert code == 1
        assert "PoolInterrupted" in errors
        assert not running.descendants()


def test_ctrl_c_in_iter_pool_is_a_keyboard_interrupt_of_the_consumer(tmp_path, place, witness):
    code = (
        BATCH
        + """
try:
    for outcome in iter_pool(quick, ["a", "spin", "spin"], **options):
        print(outcome.value, flush=True)
except KeyboardInterrupt as exc:
    print(type(exc).__name__, flush=True)
"""
    )
    with batch(code, tmp_path, place) as running:
        assert running.line() == "a"
        witness.wait(2)
        running.kill(signal.SIGINT)
        assert running.line() == "KeyboardInterrupt"
        code, _, errors = running.end()
        assert code == 0, errors
        assert not running.descendants()


def test_sigterm_leaves_nothing(tmp_path, place, witness):
    with batch(RUN_POOL.replace("items,", '["spin", "spin"],'), tmp_path, place) as running:
        witness.wait(2)
        running.kill(signal.SIGTERM)
        running.wait_descendants_gone(1.5)
        assert running.end()[0] == -signal.SIGTERM


def test_a_handler_of_the_user_is_left_alone(tmp_path, witness, gate):
    code = (
        BATCH
        + """
import signal
signal.signal(signal.SIGINT, lambda *_: print("mine", flush=True))
report = run_pool(quick, ["wait", "a"], **options)
told(report)
"""
    )
    with batch(code, tmp_path, "thread") as running:
        witness.wait(1)
        running.kill(signal.SIGINT)
        assert running.line() == "mine"
        gate.open()
        assert running.line() == "2 0 2"


def test_a_shield_left_in_the_middle_of_its_end_keeps_no_later_one_from_its_work():
    before = signal.getsignal(signal.SIGINT)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        left = Shield().__enter__()
        with Shield() as later:
            later.close()
            signal.raise_signal(signal.SIGINT)  # waits
            with pytest.raises(KeyboardInterrupt):
                later.open()
        assert signal.getsignal(signal.SIGINT) == left._interrupted
        left.__exit__(None, None, None)
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    finally:
        signal.signal(signal.SIGINT, before)


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_child_cannot_go_on_with_its_parents_batch():
    outcomes = iter_pool(jobs.square, range(2000), workers=2, progress=False)
    next(outcomes)
    child = os.fork()
    if not child:
        code = 1
        try:
            for _ in outcomes:
                pass
        except ForkedProcessError:
            code = 42
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 42
    assert len(list(outcomes)) == 1999
