"""What an attempt is said to have used."""

import gc
import os
import pickle
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from knock.core.job import Usage
from knock.pool.definition import Processor, Style, dump_definitions
from knock.pool.usage import UsageMeter
from tests.worker import jobs
from tests.worker.harness import LocalWorker

pytestmark = pytest.mark.process

MIB = 1 << 20


@pytest.fixture
def worker() -> Iterator[LocalWorker]:
    functions = {
        "allocate": jobs.allocate,
        "burn": jobs.burn,
        "burn_in_a_child": jobs.burn_in_a_child,
        "echo": jobs.echo,
    }
    processors = {name: Processor(fn, Style.ITEM) for name, fn in functions.items()}
    with LocalWorker(dump_definitions(processors=processors)) as found:
        yield found.ready()


def test_peak_is_of_the_attempt_and_not_of_one_before(worker: LocalWorker) -> None:
    big = worker.run("allocate", 200 * MIB).usage
    small = worker.run("allocate", 20 * MIB).usage
    for usage, size in ((big, 200 * MIB), (small, 20 * MIB)):
        assert usage.is_exact
        assert size * 0.95 < usage.peak_rss_bytes - usage.rss_before_bytes < size * 1.1


def test_cpu_and_wall_are_of_the_attempt(worker: LocalWorker) -> None:
    before = time.monotonic()
    usage = worker.run("burn", 0.1).usage
    after = time.monotonic()
    assert 0.1 <= usage.cpu_seconds < 0.15
    assert usage.cpu_seconds <= usage.wall_seconds + 0.01
    assert before <= usage.started_at <= usage.started_at + usage.wall_seconds <= after


def test_children_that_a_job_waited_for_count(worker: LocalWorker) -> None:
    usage = worker.run("burn_in_a_child", 0.2).usage
    assert usage.cpu_seconds >= 0.2
    assert usage.peak_rss_bytes >= 200 * MIB
    assert worker.run("burn", 0.01).usage.cpu_seconds < 0.1


def test_tiny_jobs_share_a_reading_and_say_so(worker: LocalWorker) -> None:
    payload = pickle.dumps(1)
    tickets = [worker.hand("echo", payload) for _ in range(300)]
    worker.permit(*tickets)
    usages: list[Usage] = [worker.hear().usage for _ in tickets]
    exact = sum(usage.is_exact for usage in usages)
    assert 1 <= exact < 150
    assert all(usage.peak_rss_bytes >= MIB for usage in usages)
    assert all(usage.peak_rss_bytes >= usage.rss_before_bytes for usage in usages)


def test_long_job_right_after_a_tiny_one_is_measured(worker: LocalWorker) -> None:
    worker.permit(
        worker.hand("echo", pickle.dumps(1)), worker.hand("allocate", pickle.dumps(100 * MIB))
    )
    worker.hear()
    usage = worker.hear().usage
    assert usage.is_exact
    assert 95 * MIB < usage.peak_rss_bytes - usage.rss_before_bytes < 120 * MIB


def test_meter_without_proc_says_that_it_does_not_know(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("knock.pool.usage._open", lambda path, flags: None)
    meter = UsageMeter()
    meter.begin()
    time.sleep(0.002)
    assert not meter.end().is_exact


def test_high_water_mark_is_read_where_maxrss_is_not_true() -> None:
    meter = UsageMeter()
    meter._is_maxrss_true = False
    gc.collect()
    time.sleep(0.002)
    meter.begin()
    jobs.allocate(64 * MIB)
    measured = meter.end()
    assert measured.is_exact
    grown = measured.peak_rss_bytes - measured.rss_before_bytes
    assert 60 * MIB < grown < 70 * MIB


def test_file_that_a_job_put_in_the_place_of_a_descriptor_is_not_written_to(tmp_path: Path) -> None:
    meter = UsageMeter()
    assert meter._clear_refs is not None
    path = tmp_path / "file"
    with path.open("wb") as file:
        os.dup2(file.fileno(), meter._clear_refs)
    fd = meter._clear_refs
    try:
        time.sleep(0.002)  # so long a meter trusts its last reading
        meter.begin()
        assert not meter.end().is_exact
    finally:
        os.close(fd)
    assert path.read_bytes() == b""
