"""Priorities are exact with 10,000 waiting jobs; delayed jobs are neither early nor late."""

import os
import random
import tempfile
import time
from collections.abc import Iterator

import knock
from tests.figures.row import Row, at_least, at_most, equal
from tests.figures.witness import note, notes

PRIORITIES = ("high", "normal", "low")


def mark(job: knock.Job) -> None:
    path, priority = job.data
    note(path, priority, job.id)


def stamp(job: knock.Job) -> float:
    return time.time()


def rows(*, quick: bool) -> Iterator[Row]:
    yield from _priorities(900 if quick else 10_000)
    yield from _delays(40 if quick else 200)


def _priorities(total: int) -> Iterator[Row]:
    rng = random.Random(3)
    for workers in (1, 2):
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "order")
            queue = knock.QueueInstance(concurrency=workers)
            queue.process("mark", mark)
            wanted = {name: [] for name in PRIORITIES}
            for _ in range(total):
                priority = rng.choice(PRIORITIES)
                wanted[priority].append(queue.add("mark", (path, priority), priority=priority))
            queue.start()
            queue.join()
            started = {
                r.spec.id: r.attempts[-1].usage.started_at
                for ids in wanted.values()
                for r in map(queue.get_job, ids)
            }
            queue.stop()
            if workers == 1:
                order = [int(words[1]) for words in notes(path)]
                yield equal(
                    f"{total:,} jobs, 1 worker: order of the witness is exact",
                    order == [i for name in PRIORITIES for i in wanted[name]],
                    True,
                )
            yield equal(
                f"{total:,} jobs, {workers} worker(s): started before a more urgent one",
                _inversions(wanted, started),
                0,
            )


def _inversions(wanted: dict[str, list[int]], started: dict[int, float]) -> int:
    found, latest = 0, 0.0
    for name in PRIORITIES:
        found += sum(started[job_id] < latest for job_id in wanted[name])
        latest = max([latest, *[started[job_id] for job_id in wanted[name]]])
    return found


def _delays(total: int) -> Iterator[Row]:
    rng = random.Random(4)
    queue = knock.QueueInstance(concurrency=2)
    queue.process("stamp", stamp)
    queue.start()
    queue.result(queue.add("stamp", None))
    due = {}
    for n in range(total):
        delay = 0.5 + n * 0.01 + rng.random() * 0.005
        due[queue.add("stamp", None, delay=delay)] = None
    queue.join()
    late = []
    for job_id in due:
        record = queue.get_job(job_id)
        late.append(record.attempts[-1].usage.started_at - record.spec.run_at)
    queue.stop()
    late.sort()
    yield at_least(f"{total} delayed jobs: the earliest start after it was due", late[0], 0.0, "s")
    p99 = late[max(0, int(len(late) * 0.99) - 1)]
    yield at_most(f"{total} delayed jobs: late, p99", p99, 0.02, "s")
