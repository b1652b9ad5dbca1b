"""What users' type checkers see; checked by mypy --strict, never run."""

from collections.abc import Iterator
from typing import assert_type

import knock


def square(number: int) -> float:
    return float(number * number)


def add(first: int, second: str) -> str:
    return second * first


report = knock.run_pool(square, [1, 2, 3], workers=2, threads=2, timeout=1.5, stop_after="5%")
assert_type(report, knock.PoolReport[float])
assert_type(report.results, list[float])
assert_type(report.values(default=None), list[float | None])
assert_type(report.outcomes[0].value, float)
assert_type(report.ok, bool)

zipped = knock.run_pool(add, [1, 2], ["a", "b"])
assert_type(zipped.results, list[str])

stream = knock.iter_pool(square, iter([1]))
assert_type(stream, Iterator[knock.Outcome[float]])

queue = knock.QueueInstance(concurrency=2, retry_attempts=1)


@queue.process(
    "square", timeout=3.0, soft_timeout=2, memory_limit="1GiB", max_concurrency=1, threads=2
)
def process(job: knock.Job) -> dict[str, int]:
    return {"squared": int(job.data) ** 2}


assert_type(process(knock.current_job()), dict[str, int])  # type: ignore[arg-type]  # may be None
assert_type(queue.add("square", 3, priority="high", delay=1.0), int)
assert_type(queue.add_many("square", [1, 2]), list[int])
assert_type(queue.get_stats().queued, int)
assert_type(queue.get_job(1), knock.JobRecord)
assert_type(queue.get_dead_letter_items(10), list[knock.JobRecord])


@queue.on("completed")
def completed(event: knock.QueueEvent) -> None:
    assert_type(event.job_id, int | None)
