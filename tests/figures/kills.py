"""Workers killed in five ways amid tiny jobs: each is charged to the right job, and to no other."""

import ctypes
import os
import signal
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import knock
from knock.core.events import WorkerExited
from tests.figures.row import Row, at_least, equal
from tests.figures.tap import tapped
from tests.figures.witness import counts, note, processes_of

ONE_IN = 20
# How it dies, and what is told of it: signal, exit code.
WAYS = {
    "SIGKILL": (signal.SIGKILL, None),
    "SIGSEGV": (signal.SIGSEGV, None),
    "SIGABRT": (signal.SIGABRT, None),
    "exit 0": (None, 0),
    # As the kernel does when memory runs out.
    "SIGKILL from outside": (signal.SIGKILL, None),
}


def die(way: str, fifo: str) -> None:
    if way == "SIGKILL":
        os.kill(os.getpid(), signal.SIGKILL)
    elif way == "SIGSEGV":
        ctypes.string_at(0)
    elif way == "SIGABRT":
        os.abort()
    elif way == "exit 0":
        os._exit(0)
    with open(fifo, "w") as file:
        file.write(f"{os.getpid()}\n")
    signal.pause()


def job(item: tuple[int, str, str]) -> int:
    number, folder, way = item
    note(os.path.join(folder, "witness"), number)
    if way:
        die(way, os.path.join(folder, "fifo"))
    return number * 2


def way_of(number: int) -> str:
    """Return how this job dies; "" if it does not."""
    names = list(WAYS)
    return names[number // ONE_IN % len(names)] if number % ONE_IN == 7 else ""


def rows(*, quick: bool) -> Iterator[Row]:
    total = 2_000 if quick else 20_000
    before = set(processes_of(os.getpid()))
    windows: list[int] = []

    def look(event: object, _: object) -> None:
        # In the end the workers are told to stop, and exit with code 0 too.
        if isinstance(event, WorkerExited) and event.started_at is not None:
            windows.append(len(event.unstarted))

    with tempfile.TemporaryDirectory() as folder, killer(os.path.join(folder, "fifo")):
        items = [(number, folder, way_of(number)) for number in range(total)]
        with tapped(look):
            report = knock.run_pool(job, items, workers=2, progress=False, preload=[__name__])
        ran = counts(os.path.join(folder, "witness"))
    yield from _judge(report, ran, windows)
    yield equal("processes left", len(set(processes_of(os.getpid())) - before), 0)


@contextmanager
def killer(fifo: str) -> Iterator[None]:
    """Kill whoever writes its pid to this named pipe."""
    os.mkfifo(fifo)

    def kill() -> None:
        with open(fifo) as file:
            for line in file:
                if int(line) == 0:
                    return
                os.kill(int(line), signal.SIGKILL)

    thread = threading.Thread(target=kill)
    thread.start()
    # While this is open the reader sees no end.
    with open(fifo, "w") as file:
        try:
            yield
        finally:
            file.write("0\n")
            file.flush()
            thread.join()


def _judge(report, ran, windows) -> Iterator[Row]:
    guilty = {n: WAYS[way_of(n)] for n in range(len(report.outcomes)) if way_of(n)}
    charged = {o.index: o for o in report.outcomes if not o.ok}
    right = sum(n in charged and told(charged[n]) == how for n, how in guilty.items())
    yield equal("kills charged to the right job, once and by their kind", right, len(guilty))
    harmed = {o.index for o in report.outcomes if o.index not in guilty and not is_unharmed(o)}
    harmed |= {n for n in range(len(report.outcomes)) if ran[str(n)] != 1 and n not in guilty}
    yield equal(f"innocents harmed, of {len(report.outcomes) - len(guilty):,}", len(harmed), 0)
    twice = sum(count != 1 for count in ran.values())
    yield equal("jobs run more than once, by the witness", twice, 0)
    yield equal("jobs run, by the witness", len(ran), len(report.outcomes))
    share = sum(map(bool, windows)) / len(windows)
    yield equal("deaths of which the supervisor heard", len(windows), len(guilty))
    yield at_least("... with other jobs in the window", 100 * share, 90, "%")


def told(outcome) -> tuple[int | None, int | None] | None:
    """Return the signal and the exit code of a job's only attempt, if that was a crash."""
    if len(outcome.attempts) != 1 or outcome.outcome != "crash":
        return None
    death = outcome.attempts[0].death
    return None if death is None else (death.signal, death.exit_code)


def is_unharmed(outcome) -> bool:
    return outcome.ok and outcome.value == 2 * outcome.index and len(outcome.attempts) == 1
