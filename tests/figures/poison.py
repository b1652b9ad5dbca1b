"""A job that kills its worker every time: it runs as often as it may, and the others go on."""

import os
import signal
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace

import knock
from tests.figures.row import Row, at_least, equal
from tests.figures.witness import counts, note, processes_of

CRASHES = 5
DELAY = 0.01
JOB_SECONDS = 0.002


def poison(job: knock.Job) -> None:
    note(job.data, "poison")
    os.kill(os.getpid(), signal.SIGKILL)


def other(job: knock.Job) -> int:
    path, number = job.data
    note(path, number)
    until = time.perf_counter() + JOB_SECONDS
    while time.perf_counter() < until:
        pass
    return number


def rows(*, quick: bool) -> Iterator[Row]:
    total = 1_000 if quick else 10_000
    before = set(processes_of(os.getpid()))
    with tempfile.TemporaryDirectory() as folder:
        alone, _ = _run(os.path.join(folder, "alone"), total, is_poisoned=False)
        path = os.path.join(folder, "beside")
        beside, record = _run(path, total, is_poisoned=True)
        ran = counts(path)
    yield equal("runs of the poison, by the witness", ran.pop("poison"), CRASHES + 1)
    assert record is not None
    yield equal("... attempts charged", record.spent.crashes, CRASHES + 1)
    yield equal("... set aside as", (record.state.value, record.reason), ("dead", "poison"))
    once = sum(count == 1 for count in ran.values())
    yield equal("other jobs done exactly once", once, total)
    rate = at_least("their throughput beside it / alone", 100 * alone / beside, 80, "%")
    yield replace(rate, is_speed=True)
    yield equal("processes left", len(set(processes_of(os.getpid())) - before), 0)


def _run(path: str, total: int, *, is_poisoned: bool) -> tuple[float, knock.JobRecord | None]:
    queue = knock.QueueInstance(concurrency=2, retry_delay=DELAY, breaker=None, preload=[__name__])
    queue.process("poison", poison, retry_crashes=CRASHES)
    queue.process("other", other)
    queue.start()
    # Both workers have booted when these have ended.
    for job_id in queue.add_many("other", [(os.devnull, -1)] * 20):
        queue.result(job_id, timeout=60)
    started = time.perf_counter()
    guilty = queue.add("poison", path) if is_poisoned else None
    queue.add_many("other", [(path, number) for number in range(total)])
    queue.join()
    took = time.perf_counter() - started
    record = None if guilty is None else queue.get_job(guilty)
    queue.stop()
    return took, record
