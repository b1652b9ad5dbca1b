"""Each pool, used as its documentation recommends, one tracked result per job."""

import multiprocessing
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor

import knock

Job = Callable[[int], int]


def knock_run_pool(job: Job, count: int, workers: int) -> list[int]:
    """Every promise on: a limit, retries, resources of each attempt."""
    report = knock.run_pool(
        job, range(count), workers=workers, timeout=60, retry_attempts=3, progress=False
    )
    return report.results


def executor_submit(job: Job, count: int, workers: int) -> list[int]:
    with ProcessPoolExecutor(workers) as executor:
        futures = [executor.submit(job, number) for number in range(count)]
        return [future.result() for future in futures]


def pool_imap(job: Job, count: int, workers: int) -> list[int]:
    with multiprocessing.get_context("fork").Pool(workers) as pool:
        return sorted(pool.imap_unordered(job, range(count)))


CONTENDERS = {
    "knock.run_pool": knock_run_pool,
    "ProcessPoolExecutor.submit": executor_submit,
    "multiprocessing.Pool.imap_unordered": pool_imap,
}
