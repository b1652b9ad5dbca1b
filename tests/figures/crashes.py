"""Jobs that kill their own process: each is charged alone, every other result arrives once."""

import ctypes
import os
import signal
import tempfile
from collections.abc import Iterator

import knock
from tests.conftest import children
from tests.figures.row import Row, equal
from tests.figures.witness import counts, note

ONE_IN = 100
WAYS = ("SIGKILL", "exit 0", "SIGSEGV")


def die(way: str) -> None:
    if way == "SIGKILL":
        os.kill(os.getpid(), signal.SIGKILL)
    elif way == "exit 0":
        os._exit(0)
    ctypes.string_at(0)


def job(item: tuple[int, str, str]) -> int:
    number, path, way = item
    note(path, number)
    if number % ONE_IN == 7:
        die(way)
    return number * 2


def rows(*, quick: bool) -> Iterator[Row]:
    total = 2_000 if quick else 20_000
    for way in WAYS:
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "witness")
            before = children()
            items = [(number, path, way) for number in range(total)]
            report = knock.run_pool(job, items, workers=2, progress=False)
            ran = counts(path)
            yield from _judge(way, total, report, ran)
            yield equal(f"{way}: processes left", len(children() - before), 0)


def _judge(way, total, report, ran) -> Iterator[Row]:
    guilty = {n for n in range(total) if n % ONE_IN == 7}
    right = sum(o.ok and o.value == 2 * o.index for o in report.outcomes)
    yield equal(f"{way}: right results of {total - len(guilty):,}", right, total - len(guilty))
    charged = {o.index for o in report.outcomes if o.outcome == "crash"}
    yield equal(f"{way}: charged = guilty ({len(guilty)})", charged == guilty, True)
    innocent = sum(len(o.attempts) != 1 for o in report.outcomes)
    yield equal(f"{way}: outcomes without exactly one attempt", innocent, 0)
    twice = sum(count != 1 for count in ran.values())
    yield equal(f"{way}: jobs run more than once, by the witness", twice, 0)
    yield equal(f"{way}: jobs run, by the witness", len(ran), total)
