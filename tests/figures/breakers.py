"""10,000 jobs of a type that always fails: few are attempted, the rest wait uncharged."""

import os
import tempfile
import time
from collections.abc import Iterator

import knock
from tests.figures.row import Row, at_most, equal
from tests.figures.witness import note, notes, wait_until

THRESHOLD = 5
WORKERS = 4


def fail(job: knock.Job) -> None:
    note(job.data, "failed", job.id)
    raise ValueError("always")


def sometimes(job: knock.Job) -> None:
    path, is_good = job.data
    if not is_good:
        note(path, "failed", job.id)
        raise ValueError("from now on")


def other(job: knock.Job) -> int:
    return job.data


def make_queue() -> knock.QueueInstance:
    return knock.QueueInstance(
        concurrency=WORKERS,
        retry_attempts=0,
        breaker=knock.BreakerPolicy(threshold=THRESHOLD, reset_timeout=60.0),
    )


def rows(*, quick: bool) -> Iterator[Row]:
    total = 1_000 if quick else 10_000
    with tempfile.TemporaryDirectory() as folder:
        yield from _always(os.path.join(folder, "always"), total)
        yield from _after_successes(os.path.join(folder, "after"), total)


def _always(path: str, total: int) -> Iterator[Row]:
    queue = make_queue()
    queue.process("bad", fail)
    queue.process("good", other)
    queue.add_many("bad", [path] * total)
    good = queue.add_many("good", range(total))
    alone = _seconds_alone(total)
    started = time.perf_counter()
    queue.start()
    results = [queue.result(job_id, timeout=60) for job_id in good]
    took = time.perf_counter() - started
    stats = _settled(queue, "bad")
    yield at_most("attempts of a type that always fails", len(notes(path)), THRESHOLD + WORKERS - 1)
    yield equal("... charged, by the queue's own count", stats.failed, len(notes(path)))
    yield equal("... waiting uncharged", stats.queued, total - stats.failed)
    yield equal("results of the other type", results == list(range(total)), True)
    yield at_most("other type beside it / alone, wall time", took / alone, 1.5)
    queue.stop(0)


def _settled(queue: knock.QueueInstance, job_type: str) -> knock.QueueStats:
    """Return the counts when the breaker has opened and what was in windows has come back."""

    def is_settled() -> bool:
        stats = queue.get_stats()
        return stats.breakers.get(job_type) == "open" and not stats.processing

    wait_until(is_settled, 30)
    return queue.get_stats()


def _seconds_alone(total: int) -> float:
    queue = make_queue()
    queue.process("good", other)
    good = queue.add_many("good", range(total))
    started = time.perf_counter()
    queue.start()
    for job_id in good:
        queue.result(job_id, timeout=60)
    took = time.perf_counter() - started
    queue.stop()
    return took


def _after_successes(path: str, total: int) -> Iterator[Row]:
    queue = make_queue()
    queue.process("turning", sometimes)
    queue.start()
    queue.add_many("turning", [(path, True)] * total)
    queue.join()
    queue.add_many("turning", [(path, False)] * total)
    stats = _settled(queue, "turning")
    yield equal("successes before", stats.completed, total)
    yield at_most(f"attempts after {total:,} successes", len(notes(path)), THRESHOLD + WORKERS - 1)
    yield equal("... waiting uncharged", stats.queued, total - stats.failed)
    queue.stop(0)
