"""``run``, signals, and Ctrl-C wherever it may come."""

import signal

import pytest

from tests.queue.program import SERVICE, assert_gone, run

pytestmark = pytest.mark.process


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_lets_the_running_job_finish(number, place, start):
    program = start(SERVICE.format(place=place, seconds=0.5))
    assert program.line() == "working"
    family = program.family()
    program.process.send_signal(number)
    assert program.line() == "worked"
    assert program.line() == "returned 1"
    code, output = program.end()
    assert (code, output) == (0, "1 jobs were not run: the queue was stopped\n")
    assert_gone(family)


def test_a_second_signal_kills(place, start):
    program = start(SERVICE.format(place=place, seconds=60))
    assert program.line() == "working"
    family = program.family()
    # Two of one number that come together would be one.
    program.process.send_signal(signal.SIGTERM)
    program.process.send_signal(signal.SIGINT)
    assert program.line() == "returned 2"
    assert program.end()[0] == 0
    assert_gone(family)


def test_fifty_signals_at_once_are_a_stop_and_a_kill(place, start):
    program = start(SERVICE.format(place=place, seconds=60))
    assert program.line() == "working"
    family = program.family()
    for _ in range(25):
        program.process.send_signal(signal.SIGTERM)
        program.process.send_signal(signal.SIGINT)
    assert program.line() == "returned 2"
    code, output = program.end()
    assert code == 0
    assert "Traceback" not in output
    assert_gone(family)


def test_a_terminal_that_is_closed_ends_all_of_it(place, start):
    program = start(SERVICE.format(place=place, seconds=60))
    assert program.line() == "working"
    family = program.family()
    program.process.send_signal(signal.SIGHUP)
    assert program.end() == (-signal.SIGHUP, "")
    assert_gone(family)


def test_run_in_another_thread_returns_when_the_queue_is_stopped(place, tmp_path):
    done = run(
        f"""
        import threading
        from knock.queue import Queue
        queue = Queue(supervisor={place!r})
        queue.process("a", lambda job: job.data)
        thread = threading.Thread(target=queue.run)
        thread.start()
        while True:
            try:
                print(queue.result(queue.add("a", 5), 30))
                break
            except Exception as exc:
                pass
        queue.stop()
        thread.join(10)
        print(thread.is_alive())
        """,
        tmp_path=tmp_path,
    )
    assert (done.stdout, done.returncode) == ("5\nFalse\n", 0)


def test_ctrl_c_at_exit_leaves_at_once(place, start):
    program = start(
        f"""
        import time
        from knock.queue import Queue
        queue = Queue(supervisor={place!r})
        queue.process("work", lambda job: (print("working", flush=True), time.sleep(60)))
        queue.add("work")
        queue.start()
        """
    )
    assert program.line() == "working"
    family = program.family()
    program.process.send_signal(signal.SIGINT)
    code, output = program.end()
    assert code == 0
    assert "1 jobs were not run" in output
    assert "Traceback" not in output
    assert_gone(family)


def test_ctrl_c_ends_a_wait_for_a_result(place, start):
    program = start(
        f"""
        import time
        from knock.queue import Queue
        with Queue(supervisor={place!r}) as queue:
            queue.process("work", lambda job: (print("working", flush=True), time.sleep(60)))
            queue.result(queue.add("work"))
        """
    )
    assert program.line() == "working"
    family = program.family()
    program.process.send_signal(signal.SIGINT)
    code, output = program.end()
    assert code == -signal.SIGINT
    assert "KeyboardInterrupt" in output
    assert_gone(family)


def test_run_raises_why_workers_cannot_start(place, tmp_path):
    done = run(
        f"""
        from knock.errors import WorkerBootError
        from knock.queue import Queue
        queue = Queue(supervisor={place!r}, initializer=lambda: 1 / 0)
        queue.add("a")
        queue.process("a", lambda job: None)
        try:
            queue.run()
        except WorkerBootError as exc:
            print("ZeroDivisionError" in exc.detail)
        """,
        tmp_path=tmp_path,
    )
    assert (done.stdout, done.returncode) == ("True\n", 0)


@pytest.mark.process
def test_ctrl_c_during_the_start_waits_until_the_queue_is_started(place, start):
    program = start(
        f"""
import signal
from knock.queue import Queue, session

start = session.start_supervisor
def start_and_press(*args):
    client = start(*args)
    signal.raise_signal(signal.SIGINT)
    return client
session.start_supervisor = start_and_press

queue = Queue(supervisor={place!r}, concurrency=1)
queue.process("square", lambda job: job.data ** 2)
try:
    queue.start()
except KeyboardInterrupt:
    print("interrupted")
print(queue.result(queue.add("square", 3), 30))
"""
    )
    assert program.end() == (0, "interrupted\n9\n")
