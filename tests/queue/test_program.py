"""Whole programs: how they start, end, are interrupted, lose their supervisor."""

import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import psutil
import pytest

pytestmark = pytest.mark.process

ROOT = Path(__file__).parents[2]

QUICK_START = """
from knock.queue import QueueInstance

queue = QueueInstance(supervisor={place!r})

def email(job):
    print("to", job.data["to"])
    return {{"sent": True}}

queue.process("email", email)
queue.add("email", {{"to": "user@example.com"}})
queue.start()
"""


def environment() -> dict[str, str]:
    return os.environ | {"PYTHONPATH": str(ROOT)}


def run(code: str, *, how: str = "file", tmp_path: Path) -> "subprocess.CompletedProcess[str]":
    """Run a program as a file, from standard input or by ``-c``."""
    code = textwrap.dedent(code)
    command = [sys.executable]
    if how == "file":
        path = tmp_path / "program.py"
        path.write_text(code)
        command.append(str(path))
    elif how == "-c":
        command += ["-c", code]
    return subprocess.run(
        command,
        check=False,
        input=code if how == "stdin" else None,
        stdin=subprocess.DEVNULL if how != "stdin" else None,
        env=environment(),
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
    )


class Program:
    """A program that runs until it is told to end; its output is read by line."""

    def __init__(self, code: str, tmp_path: Path) -> None:
        path = tmp_path / "program.py"
        path.write_text(textwrap.dedent(code))
        self.process = subprocess.Popen(
            [sys.executable, "-u", str(path)],
            env=environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def line(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def family(self) -> list[psutil.Process]:
        return psutil.Process(self.process.pid).children(recursive=True)

    def end(self) -> tuple[int, str]:
        assert self.process.stdout is not None
        with self.process.stdout:
            output = self.process.stdout.read()
        return self.process.wait(timeout=30), output


def assert_gone(processes: list[psutil.Process]) -> None:
    _, alive = psutil.wait_procs(processes, timeout=10)
    assert alive == []


# --- the original's Quick Start -------------------------------------------------------------------


@pytest.mark.parametrize("how", ["file", "stdin", "-c"])
def test_the_quick_start_runs_its_job_and_exits_with_0(how, place, tmp_path):
    done = run(QUICK_START.format(place=place), how=how, tmp_path=tmp_path)
    assert (done.stdout, done.stderr, done.returncode) == ("to user@example.com\n", "", 0)


def test_code_and_data_of_main_go_to_workers_and_back(place, tmp_path):
    done = run(
        f"""
        import dataclasses, enum
        from knock.queue import Queue

        class Color(enum.Enum):
            RED = 1

        @dataclasses.dataclass
        class Item:
            color: Color
            size: int

        class Refused(Exception):
            pass

        queue = Queue(supervisor={place!r}, retry_attempts=0)
        factor = 3

        @queue.process("grow")
        def grow(job):
            assert isinstance(job.data, Item)
            if job.data.size > 5:
                raise Refused(job.data.size)
            return dataclasses.replace(job.data, size=factor * job.data.size)

        before = queue.add("grow", Item(Color.RED, 1))
        queue.start()
        after = queue.add("grow", Item(Color.RED, 2))
        assert queue.result(before, 30) == Item(Color.RED, 3)
        assert queue.result(after, 30) == Item(Color.RED, 6)
        try:
            queue.result(queue.add("grow", Item(Color.RED, 6)), 30)
        except Refused as exc:
            print("refused", exc)
        queue.stop()
        queue.start()
        print(queue.result(queue.add("grow", Item(Color.RED, 4)), 30).size)
        """,
        tmp_path=tmp_path,
    )
    assert (done.stdout, done.stderr, done.returncode) == ("refused 6\n12\n", "", 0)


def test_at_exit_queued_and_delayed_jobs_are_done_after_an_exception_too(place, tmp_path):
    done = run(
        f"""
        from knock.queue import Queue
        queue = Queue(supervisor={place!r}, concurrency=1)
        queue.process("say", lambda job: print(job.data, flush=True))
        queue.add("say", "later", delay=0.5)
        queue.add_many("say", ["first", "second"])
        queue.start()
        raise SystemExit(3)
        """,
        tmp_path=tmp_path,
    )
    assert (done.stdout, done.stderr) == ("first\nsecond\nlater\n", "")
    assert done.returncode == 3


def test_a_queue_that_was_never_started_says_so_at_exit(tmp_path):
    done = run(
        """
        from knock.queue import Queue
        queue = Queue()
        queue.add_many("a", range(3))
        """,
        tmp_path=tmp_path,
    )
    assert done.stderr == "3 jobs were not run: the queue was never started\n"
    assert done.returncode == 0


def test_a_paused_queue_does_not_keep_the_program_from_ending(place, tmp_path):
    done = run(
        f"""
        from knock.queue import Queue
        queue = Queue(supervisor={place!r})
        queue.process("a", lambda job: None)
        queue.start()
        queue.pause()
        queue.add("a")
        """,
        tmp_path=tmp_path,
    )
    assert done.stderr == "1 jobs were not run: the queue was stopped\n"
    assert done.returncode == 0


def test_a_forked_child_leaves_the_queue_to_its_parent(place, tmp_path):
    done = run(
        f"""
        import os, sys
        from knock.queue import Queue
        queue = Queue(supervisor={place!r})
        queue.process("a", lambda job: job.data)
        queue.start()
        job_id = queue.add("a", 5)
        pid = os.fork()
        if pid == 0:
            sys.exit(7)  # runs the functions registered for the exit
        print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
        print(queue.result(job_id, 30))
        """,
        tmp_path=tmp_path,
    )
    assert (done.stdout, done.stderr, done.returncode) == ("7\n5\n", "", 0)


# --- run and signals ------------------------------------------------------------------------------

SERVICE = """
import signal
from knock.queue import Queue

queue = Queue(supervisor={place!r}, concurrency=1)

@queue.process("work")
def work(job):
    import time
    print("working", flush=True)
    time.sleep({seconds})
    print("worked", flush=True)

before = [signal.getsignal(n) for n in (signal.SIGTERM, signal.SIGINT)]
queue.add_many("work", range(2))
queue.run()
assert [signal.getsignal(n) for n in (signal.SIGTERM, signal.SIGINT)] == before
print("returned", queue.get_stats().queued)
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_lets_the_running_job_finish(number, place, tmp_path):
    program = Program(SERVICE.format(place=place, seconds=0.5), tmp_path)
    assert program.line() == "working"
    family = program.family()
    program.process.send_signal(number)
    assert program.line() == "worked"
    assert program.line() == "returned 1"
    code, output = program.end()
    assert (code, output) == (0, "1 jobs were not run: the queue was stopped\n")
    assert_gone(family)


def test_a_second_signal_kills(place, tmp_path):
    program = Program(SERVICE.format(place=place, seconds=60), tmp_path)
    assert program.line() == "working"
    family = program.family()
    # Two of one number that come together would be one.
    program.process.send_signal(signal.SIGTERM)
    program.process.send_signal(signal.SIGINT)
    assert program.line() == "returned 2"
    assert program.end()[0] == 0
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


def test_ctrl_c_at_exit_leaves_at_once(place, tmp_path):
    program = Program(
        f"""
        import time
        from knock.queue import Queue
        queue = Queue(supervisor={place!r})
        queue.process("work", lambda job: (print("working", flush=True), time.sleep(60)))
        queue.add("work")
        queue.start()
        """,
        tmp_path,
    )
    assert program.line() == "working"
    family = program.family()
    program.process.send_signal(signal.SIGINT)
    code, output = program.end()
    assert code == 0
    assert "1 jobs were not run" in output
    assert "Traceback" not in output
    assert_gone(family)


def test_ctrl_c_ends_a_wait_for_a_result(place, tmp_path):
    program = Program(
        f"""
        import time
        from knock.queue import Queue
        with Queue(supervisor={place!r}) as queue:
            queue.process("work", lambda job: (print("working", flush=True), time.sleep(60)))
            queue.result(queue.add("work"))
        """,
        tmp_path,
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


# --- the supervisor's end, and the caller's -------------------------------------------------------


def test_a_supervisor_that_is_killed_is_told_within_a_second_and_leaves_nothing(tmp_path):
    done = run(
        """
        import os, signal, threading, time
        import psutil
        from knock.errors import SupervisorLostError
        from knock.queue import Queue

        queue = Queue(concurrency=2)
        queue.process("work", lambda job: time.sleep(60))
        queue.process("quick", lambda job: None)
        queue.start()
        ids = queue.add_many("work", range(2))
        while queue.get_stats().processing < 2:
            time.sleep(0.01)
        family = psutil.Process().children(recursive=True)
        [supervisor] = psutil.Process().children()
        took = {}

        def wait(name, ask):
            try:
                ask()
            except SupervisorLostError:
                took[name] = time.monotonic() - killed

        threads = [
            threading.Thread(target=wait, args=args)
            for args in (("result", lambda: queue.result(ids[0])), ("join", queue.join))
        ]
        for thread in threads:
            thread.start()
        killed = time.monotonic()
        supervisor.send_signal(signal.SIGKILL)
        for thread in threads:
            thread.join()
        assert max(took.values()) < 1.0, took
        for ask in (queue.get_stats, queue.start, lambda: queue.add("quick"), queue.join):
            wait("later", ask)
        print(sorted(took))
        gone, alive = psutil.wait_procs(family, timeout=5)
        print(len(alive))
        queue.stop()
        """,
        tmp_path=tmp_path,
    )
    assert done.stdout == "['join', 'later', 'result']\n0\n", done.stderr
    assert "the supervisor process died: killed by SIGKILL" in done.stderr
    assert done.returncode == 0


def test_a_caller_that_is_killed_leaves_nothing(place, tmp_path):
    program = Program(SERVICE.format(place=place, seconds=60), tmp_path)
    assert program.line() == "working"
    family = program.family()
    program.process.kill()
    program.end()
    assert_gone(family)


@pytest.mark.serial
def test_a_caller_stuck_in_c_code_delays_no_limit_and_no_job(tmp_path):
    done = run(
        """
        import time
        from knock.queue import Queue
        queue = Queue(concurrency=2, retry_attempts=0)

        @queue.process("hang", timeout=1.0)
        def hang(job):
            sum(range(10**12))

        queue.process("quick", lambda job: time.time())
        queue.start()
        queue.result(queue.add("quick"), 30)
        hung = queue.add_many("hang", range(2))
        quick = queue.add_many("quick", range(10), delay=1.2)
        started = time.time()
        sum(range(2 * 10**8))
        ended = time.time()
        walls = [queue.get_job(i).attempts[0].usage.wall_seconds for i in hung]
        late = max(queue.get_job(i).attempts[0].usage.started_at for i in quick)
        print(ended - started > 2.0, max(walls), late - started)
        """,
        tmp_path=tmp_path,
    )
    was_stuck, wall, late = done.stdout.split()
    assert was_stuck == "True"
    assert 1.0 <= float(wall) < 1.1
    assert 1.2 <= float(late) < 1.5
