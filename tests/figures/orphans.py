"""The process with the supervisor is killed while jobs hold the GIL: nothing of it lives on."""

import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator

from tests.figures.row import Row, at_most, equal
from tests.figures.witness import note, notes, wait_until
from tests.witness import is_alive, script

METHODS = ("forkserver", "spawn", "fork")
ALIVE_SECONDS = 1.0
WORKERS = 2
PROGRAM = """
import sys
import knock
from tests.figures.orphans import work
knock.run_pool(work, [tuple(sys.argv[1:])] * 2, workers=2, start_method=sys.argv[1], progress=False)
"""


def work(item: tuple[str, str]) -> int:
    method, path = item
    # Where the caller itself was forked, children of jobs that leave the session are not promised.
    leaves = method != "fork"
    children = [subprocess.Popen(["sleep", "1000"], start_new_session=leaves).pid]
    if leaves:
        children.append(daemon())
    note(path, *children)
    return sum(range(10**12))


def daemon() -> int:
    """Start a process by two forks and a session of its own; return its pid."""
    read, write = os.pipe()
    child = os.fork()
    if not child:
        os.setsid()
        grandchild = os.fork()
        if grandchild:
            os.write(write, b"%d" % grandchild)
            os._exit(0)
        time.sleep(1000)
        os._exit(0)
    os.waitpid(child, 0)
    return int(os.read(read, 20))


def rows(*, quick: bool) -> Iterator[Row]:
    runs = 2 if quick else 50
    for method in METHODS:
        seen, alive, took = 0, 0, []
        for _ in range(runs):
            processes, left, seconds = _once(method)
            seen, alive = seen + processes, alive + left
            took.append(seconds)
        yield equal(
            f"{method}: alive {ALIVE_SECONDS:g} s after it, of {seen} in {runs} runs", alive, 0
        )
        yield at_most(f"{method}: the last gone after", max(took), ALIVE_SECONDS, "s")


def _once(method: str) -> tuple[int, int, float]:
    """Kill one program; return its processes, those that live on, and when the last was gone."""
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "witness")
        with script("-c", PROGRAM, method, path) as running:
            assert wait_until(lambda: len(notes(path)) == WORKERS, 30) is not None
            pids = running.descendants() | {int(pid) for words in notes(path) for pid in words}
            running.kill(signal.SIGKILL)
            started = time.monotonic()
            gone = wait_until(lambda: not any(map(is_alive, pids)), ALIVE_SECONDS)
            # Whoever was born meanwhile counts too.
            left = {pid for pid in pids if is_alive(pid)} | running.descendants()
            return len(pids), len(left), time.monotonic() - started if gone is None else gone
