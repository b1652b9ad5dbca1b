"""No-op jobs, each tracked, against ProcessPoolExecutor in the same run."""

import statistics
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace

import knock
from tests.figures.row import Row, at_least

WORKERS = 2


def nothing(number: int) -> int:
    return number


def rows(*, quick: bool) -> Iterator[Row]:
    rounds, jobs = (3, 20_000) if quick else (7, 20_000)
    ratios, ours, theirs = [], [], []
    for _ in range(rounds):
        theirs.append(executor_rate(jobs))
        ours.append(knock_rate(jobs))
        ratios.append(ours[-1] / theirs[-1])
    ratio = at_least(
        f"run_pool / ProcessPoolExecutor, median of {rounds} rounds of {jobs:,} jobs",
        statistics.median(ratios),
        2.0,
        "x",
    )
    yield replace(ratio, is_speed=True)
    yield at_least("run_pool, median rate", statistics.median(ours), 0.0, "jobs/s")
    yield at_least("ProcessPoolExecutor, median rate", statistics.median(theirs), 0.0, "jobs/s")


def knock_rate(jobs: int) -> float:
    # Pools are started in both; the interpreter's own start is in neither.
    started = time.perf_counter()
    report = knock.run_pool(
        nothing, range(jobs), workers=WORKERS, timeout=60, retry_attempts=3, progress=False
    )
    took = time.perf_counter() - started
    assert report.results == list(range(jobs))
    return jobs / took


def executor_rate(jobs: int) -> float:
    started = time.perf_counter()
    with ProcessPoolExecutor(WORKERS) as executor:
        futures = [executor.submit(nothing, number) for number in range(jobs)]
        results = [future.result() for future in futures]
    took = time.perf_counter() - started
    assert results == list(range(jobs))
    return jobs / took
