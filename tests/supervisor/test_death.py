"""Who dies, what is told of it, and that nothing is left."""

import os
import pickle
import signal
import threading
import time

import pytest

from knock.errors import (
    ConfigError,
    ForkedProcessError,
    SupervisorLostError,
    WorkerBootError,
)
from knock.storage.memory import InMemoryStorage
from knock.supervisor.client import check_place
from knock.supervisor.messages import Ended, Failed, Stop
from tests.process import jobs as make
from tests.supervisor.conftest import Caller
from tests.supervisor.storages import Unpicklable
from tests.witness import is_alive, script, wait_for, wait_gone

pytestmark = [pytest.mark.process, pytest.mark.platform]


@pytest.fixture
def in_process():
    caller = Caller("process")
    yield caller
    caller.client.close()


# --- the supervisor's process ---------------------------------------------------------------------


@pytest.mark.needs("subreaper")
def test_a_killed_supervisor_is_told_to_all_who_wait_and_leaves_nothing(in_process, witness):
    caller, errors = in_process, []
    caller.add((make.breed_and_spin, witness))
    pids = {*map(int, witness.wait(4)), *caller.client.call("pids").values(), caller.client.pid}

    def wait(ask):
        try:
            ask()
        except Exception as exc:
            errors.append(exc)

    waits = [lambda: caller.client.watch(1), caller.client.wait_idle]
    threads = [threading.Thread(target=wait, args=(ask,)) for ask in waits]
    for thread in threads:
        thread.start()
    caller.stats()
    os.kill(caller.client.pid, signal.SIGKILL)
    killed_at = time.monotonic()
    for thread in threads:
        thread.join(5)
    assert time.monotonic() - killed_at < 1.0
    wait_gone(pids, 1.0 - (time.monotonic() - killed_at))
    assert [str(error) for error in errors] == [
        "the supervisor process died: killed by SIGKILL"
    ] * 2
    assert {type(error) for error in errors} == {SupervisorLostError}
    [failed] = caller.client.receive(5)
    assert isinstance(failed, Failed)
    with pytest.raises(SupervisorLostError):
        caller.add((make.square, 1))


def test_posting_to_a_dead_supervisor_is_an_error_and_never_blocks(in_process):
    caller = in_process
    os.kill(caller.client.pid, signal.SIGSTOP)
    data = b"x" * (1 << 20)
    failures = []

    def post():
        try:
            for _ in range(100):
                caller.add((make.length, data))
        except SupervisorLostError as exc:
            failures.append(exc)

    thread = threading.Thread(target=post)
    thread.start()
    os.kill(caller.client.pid, signal.SIGKILL)
    thread.join(5)
    assert not thread.is_alive()
    assert len(failures) == 1


HOLDER = """
import sys
from tests.process import jobs
from tests.supervisor.conftest import Caller
from tests.witness import Witness
witness = Witness(sys.argv[2])
caller = Caller(sys.argv[1])
caller.add((jobs.breed_and_spin, witness), (jobs.spin, witness))
witness.wait(5)
print("ready", flush=True)
{then}
"""


@pytest.mark.needs("subreaper")
@pytest.mark.parametrize(
    "then", ["sys.stdin.readline()", "sum(range(10**12))", "sys.exit(0)", "import os; os._exit(1)"]
)
def test_nothing_outlives_the_caller(place, witness, then):
    with script("-c", HOLDER.format(then=then), place, witness.path) as running:
        assert running.line() == "ready"
        if "exit" not in then:
            assert running.descendants()
            running.kill(signal.SIGKILL)
        running.wait_descendants_gone(1.5)
        wait_for(lambda: not is_alive(running.pid), 1.5)


# --- a storage or a pool that cannot be -----------------------------------------------------------


@pytest.mark.needs("subreaper")
def test_a_supervisor_whose_client_is_forgotten_ends(place, witness):
    before = set(threading.enumerate())
    caller = Caller(place)
    threads = set(threading.enumerate()) - before
    caller.add((make.breed_and_spin, witness))
    pids = {*map(int, witness.wait(4)), *caller.client.call("pids").values()}
    caller.client = None
    wait_gone(pids, 2.0)
    for thread in threads:
        thread.join(2.0)
        assert not thread.is_alive()


def test_a_storage_that_cannot_be_sent_is_an_error_of_the_settings():
    with pytest.raises(ConfigError, match=r"cannot be sent .*supervisor='thread'"):
        Caller("process", storage=Unpicklable())


def test_a_storage_that_cannot_be_sent_may_stay_here():
    caller = Caller("thread", storage=Unpicklable())
    try:
        assert caller.value(*caller.add((make.square, 3))) == 9
    finally:
        caller.client.close()


def test_a_storage_comes_back_from_its_process(in_process):
    caller = in_process
    caller.value(*caller.add((make.square, 3)))
    caller.client.post(Stop(None))
    storage = pickle.loads(caller.hear_last(Ended).storage)
    assert isinstance(storage, InMemoryStorage)
    assert storage.counts(now=caller.clock.now()).completed == 1


def test_a_place_that_there_is_not():
    with pytest.raises(ConfigError, match="'process' or 'thread'"):
        check_place("moon")


def test_workers_that_cannot_boot_fail_the_pool_with_their_traceback(call_up):
    caller = call_up(initializer=make.fail_to_initialize)
    with pytest.raises(WorkerBootError) as raised:
        caller.watch(*caller.add((make.square, 3)))
    assert "RuntimeError: the initializer says no" in str(raised.value)
    caller.hear(lambda: caller.messages)
    assert isinstance(caller.messages[-1], Failed)
    with pytest.raises(WorkerBootError):
        caller.client.wait_idle(5)


def test_workers_that_end_while_booting_fail_the_pool_with_their_last_words(call_up):
    caller = call_up(initializer=make.leave_at_boot)
    with pytest.raises(WorkerBootError, match="last words"):
        caller.watch(*caller.add((make.square, 3)))


# --- a forked child -------------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_child_cannot_use_its_parents_supervisor(caller, witness, gate):
    [running] = caller.add((make.wait, witness, gate))
    witness.wait(1)
    child = os.fork()
    if not child:
        refused = 0
        try:
            for use in (caller.stats, caller.client.wait, caller.client.receive):
                try:
                    use()
                except ForkedProcessError:
                    refused += 1
        finally:
            caller.client.close()
            os._exit(refused)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 3
    # And what the child closed was its own only.
    gate.open()
    assert caller.value(running) == "waits"
