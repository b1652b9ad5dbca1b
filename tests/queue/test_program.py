"""Whole programs: how they start and end, and how they lose their supervisor."""

import pytest

from tests.queue.program import SERVICE, assert_gone, run

pytestmark = pytest.mark.process

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
        import os, sys, warnings
        from knock.queue import Queue
        warnings.simplefilter("ignore")  # of a fork beside threads: that is what this is about
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


def test_a_caller_that_is_killed_leaves_nothing(place, start):
    program = start(SERVICE.format(place=place, seconds=60))
    assert program.line() == "working"
    family = program.family()
    program.process.kill()
    program.end()
    assert_gone(family)


@pytest.mark.serial
def test_a_caller_stuck_in_c_code_delays_no_limit_and_no_job(tmp_path):
    done = run(
        """
        import ctypes
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
        ctypes.PyDLL(None).sleep(3)  # unlike CDLL, keeps the GIL: the same length on any machine
        ended = time.time()
        walls = [queue.get_job(i).attempts[0].usage.wall_seconds for i in hung]
        late = max(queue.get_job(i).attempts[0].usage.started_at for i in quick)
        print(ended - started, max(walls), late - started)
        """,
        tmp_path=tmp_path,
    )
    stuck, wall, late = done.stdout.split()
    assert float(stuck) >= 3.0
    assert 1.0 <= float(wall) < 1.1
    assert 1.2 <= float(late) < 1.5
