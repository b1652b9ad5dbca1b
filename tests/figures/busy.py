"""A caller stuck in C code, a slow consumer, a slow input: limits stay on time all the same."""

import time
from collections.abc import Iterator

import knock
from tests.conftest import children
from tests.figures.row import Row, at_least, at_most, equal
from tests.figures.witness import wait_until

LIMIT = 1.0
LATE = 0.1


def hang(job: knock.Job) -> int:
    return sum(range(10**12))


def brief(job: knock.Job) -> int:
    return sum(range(10_000))


def maybe_hang(item: int) -> int:
    return sum(range(10**12)) if item == 0 else item


def rows(*, quick: bool) -> Iterator[Row]:
    pause = 3.0 if quick else 5.0
    yield from _stuck_caller(pause)
    yield from _slow_consumer(pause)
    yield from _slow_input(pause)
    yield from _left_loop()


def _stuck_caller(pause: float) -> Iterator[Row]:
    far = _counts_in(pause)  # asked of an idle machine
    queue = knock.QueueInstance(concurrency=2, retry_attempts=0)
    queue.process("hang", hang, timeout=LIMIT)
    queue.process("brief", brief)
    queue.start()
    queue.result(queue.add("brief"))
    hanging = queue.add("hang")
    short = queue.add_many("brief", range(500))
    started = time.perf_counter()
    sum(range(far))  # one call of C code that never gives up the GIL
    stuck = time.perf_counter() - started
    woke = time.time()
    took = queue.get_job(hanging).attempts[-1].usage.wall_seconds
    ended = [queue.get_job(i).attempts[-1].usage.started_at for i in short]
    queue.stop(0)
    yield at_least("caller stuck in C code: for", stuck, 2 * LIMIT, "s")
    yield at_most("caller stuck in C code: a 1 s limit is late by", took - LIMIT, LATE, "s")
    yield equal("... jobs that ran meanwhile, of 500", sum(at < woke for at in ended), 500)


def _counts_in(seconds: float) -> int:
    """Return how far this machine counts in so many seconds."""
    sample = 10**7
    started = time.perf_counter()
    sum(range(sample))
    return int(sample * seconds / (time.perf_counter() - started))


def _slow_consumer(pause: float) -> Iterator[Row]:
    took = None
    for outcome in knock.iter_pool(maybe_hang, range(3), workers=2, timeout=LIMIT, progress=False):
        time.sleep(pause)  # the consumer takes its time
        if outcome.outcome == "timeout":
            took = outcome.wall_seconds
    yield at_most("slow consumer of iter_pool: late by", (took or 99) - LIMIT, LATE, "s")


def _slow_input(pause: float) -> Iterator[Row]:
    def items() -> Iterator[int]:
        for item in range(3):
            yield item
            time.sleep(pause)  # the input takes its time

    took = None
    for outcome in knock.iter_pool(maybe_hang, items(), workers=2, timeout=LIMIT, progress=False):
        if outcome.outcome == "timeout":
            took = outcome.wall_seconds
    yield at_most("slow input of iter_pool: late by", (took or 99) - LIMIT, LATE, "s")
    yield at_least("... and not early", (took or 0) - LIMIT, 0.0, "s")


def _left_loop() -> Iterator[Row]:
    before = children()
    for outcome in knock.iter_pool(maybe_hang, range(1000), workers=2, progress=False):
        if outcome.item > 10:
            break
    del outcome
    gone = wait_until(lambda: not children() - before, 2)
    yield equal("break out of iter_pool leaves no process", gone is not None, True)
