"""The supervisor process is killed: callers hear of it at once, and no process is left."""

import os
import signal
import statistics
import threading
import time
from collections.abc import Iterator

import knock
from tests.figures.row import Row, at_most, equal
from tests.figures.witness import processes_of, wait_until


def spin(job: knock.Job) -> int:
    return sum(range(10**12))


def rows(*, quick: bool) -> Iterator[Row]:
    runs = 2 if quick else 10
    told, gone, errors = [], [], 0
    for _ in range(runs):
        latest, after, right = _once()
        told.append(latest)
        gone.append(after)
        errors += not right
    yield at_most(f"result() and join() raise after, the latest of {runs}", max(told), 1.0, "s")
    yield at_most("... median", statistics.median(told), 1.0, "s")
    yield equal("calls that raised anything but SupervisorLostError", errors, 0)
    yield at_most(f"all processes gone after, the latest of {runs}", max(gone), 1.0, "s")


def _once() -> tuple[float, float, bool]:
    queue = knock.QueueInstance(concurrency=2)
    queue.process("spin", spin)
    ids = queue.add_many("spin", range(4))
    queue.start()
    # The supervisor, its nursery and two workers.
    wait_until(lambda: queue.get_stats().processing >= 2, 10)
    supervisor = next(p for p in processes_of(os.getpid()) if "supervisor_main" in _command(p))
    mine = processes_of(supervisor)
    raised: list[tuple[float, BaseException]] = []
    calls = [lambda: queue.result(ids[0]), queue.join]
    threads = [threading.Thread(target=_call, args=(call, raised)) for call in calls]
    for thread in threads:
        thread.start()
    started = time.monotonic()
    os.kill(supervisor, signal.SIGKILL)
    for thread in threads:
        thread.join(5)
    gone = wait_until(lambda: not any(_is_alive(pid) for pid in mine), 5)
    latest = max((at for at, _ in raised), default=started + 99) - started
    right = len(raised) == 2 and all(
        isinstance(exc, knock.SupervisorLostError) for _, exc in raised
    )
    queue.stop(0)
    return latest, time.monotonic() - started if gone is None else gone, right


def _call(call, raised) -> None:
    try:
        call()
    except BaseException as exc:
        raised.append((time.monotonic(), exc))


def _command(pid: int) -> str:
    try:
        with open(f"/proc/{pid}/cmdline") as file:
            return file.read()
    except OSError:
        return ""


def _is_alive(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
