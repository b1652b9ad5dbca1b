"""From a job's limit to its process's death, as a third process sees it, whatever the job does."""

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from typing import Any

import knock
from tests.figures.row import Row, at_least, at_most, equal
from tests.figures.witness import note, processes_of

LIMIT = 0.25
BAR = 0.1
GONE_SECONDS = 1.0


def tell(fifo: str, kind: str) -> None:
    note(fifo, "job", os.getpid(), kind, time.monotonic())


def loop() -> None:
    while True:
        pass


def c_loop() -> None:
    sum(range(10**12))


def blocked() -> None:
    signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    loop()


def stopped() -> None:
    os.kill(os.getpid(), signal.SIGSTOP)
    loop()


class HangsInUnpickling:
    def __init__(self, fifo: str) -> None:
        self.fifo = fifo

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[str]]:
        return hang_in_unpickling, (self.fifo,)


def hang_in_unpickling(fifo: str) -> None:
    tell(fifo, "unpickling")
    loop()


# --- what a job may start -------------------------------------------------------------------------


def breed(fifo: str, steps: str) -> None:
    """Start a process that tells of itself: ``f`` forks, ``s`` leaves the session."""
    worker = os.getpid()
    for step in steps:
        if step == "s":
            os.setsid()
        elif os.fork():
            if os.getpid() == worker:
                return
            os._exit(0)
    note(fifo, "child", os.getpid(), worker)
    time.sleep(1000)
    os._exit(0)


BREEDS = {"plain": "f", "setsid": "fs", "double fork": "ff", "daemon": "fsf"}
ACTS = {"loop": loop, "C loop": c_loop, "signals blocked": blocked, "SIGSTOP": stopped}
KINDS = (*ACTS, "unpickling", *BREEDS)


def work(item: tuple[str, str, object]) -> None:
    kind, fifo, _ = item
    tell(fifo, kind.replace(" ", "-"))
    if kind in BREEDS:
        breed(fifo, BREEDS[kind])
    ACTS.get(kind, loop)()


def rows(*, quick: bool) -> Iterator[Row]:
    total = 18 if quick else 200
    before = set(processes_of(os.getpid()))
    with tempfile.TemporaryDirectory() as folder:
        fifo = os.path.join(folder, "fifo")
        os.mkfifo(fifo)
        command = [sys.executable, "-m", "tests.figures.observer", fifo, str(LIMIT)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as observer:
            kinds = [KINDS[number % len(KINDS)] for number in range(total)]
            items = [
                (k, fifo, HangsInUnpickling(fifo) if k == "unpickling" else None) for k in kinds
            ]
            report = knock.run_pool(
                work, items, workers=2, timeout=LIMIT, progress=False, preload=[__name__]
            )
            note(fifo, "end")
            assert observer.stdout is not None
            seen = [line.split() for line in observer.stdout]
    timeouts = sum(outcome.outcome == "timeout" for outcome in report.outcomes)
    yield equal(f"jobs ended by their limit of {LIMIT} s", timeouts, total)
    yield from _judge(seen, total)
    yield equal("processes left", len(set(processes_of(os.getpid())) - before), 0)


def _judge(seen: list[list[str]], total: int) -> Iterator[Row]:
    jobs = [words for words in seen if words[0] == "job"]
    late = sorted(float(words[3]) for words in jobs)
    timer = sorted(float(words[4]) for words in jobs)
    net = sorted(float(words[3]) - float(words[4]) for words in jobs)
    yield equal("deaths seen by a third process", len(jobs), total)
    yield at_most("late, less a bare timer beside it, p99", 1000 * p99(net), 1000 * BAR, "ms")
    yield at_most("... median", 1000 * net[len(net) // 2], 1000 * BAR, "ms")
    yield at_most("late as seen, p99", 1000 * p99(late), float("inf"), "ms")
    yield at_most("the timer alone, p99", 1000 * p99(timer), float("inf"), "ms")
    children = [float(words[3]) for words in seen if words[0] == "child"]
    bred = sum(words[2].replace("-", " ") in BREEDS for words in jobs)
    # On a busy machine some are killed before they have told of themselves.
    yield at_least(f"processes that jobs had started, of {bred}", len(children), 0.8 * bred)
    survivors = sum(seconds > GONE_SECONDS for seconds in children)
    yield equal(f"... alive {GONE_SECONDS:g} s after their job", survivors, 0)
    latest = 1000 * max(children, default=0.0)
    yield at_most("... the latest gone after", latest, 1000 * GONE_SECONDS, "ms")


def p99(ordered: list[float]) -> float:
    return ordered[max(0, -(-len(ordered) * 99 // 100) - 1)]
