"""How many workers there are if nobody says so, and what is told of it."""

import logging
import os
import subprocess
import sys

import pytest

from knock import run_pool
from knock.config import usable_cores
from knock.queue import Queue
from tests.run import jobs

pytestmark = pytest.mark.process

ON_ONE_CORE = """
import logging, os
import knock
os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
logging.basicConfig(level=logging.INFO, format="%(name)s %(levelname)s %(message)s")
report = knock.run_pool(lambda x: x, [1], progress=False)
print(report.facts.workers)
"""


def told(caplog):
    return [
        r.getMessage() for r in caplog.records if (r.name, r.levelname) == ("knock.pool", "INFO")
    ]


def test_workers_are_as_many_as_cores_and_the_log_says_why(caplog):
    cores, reason = usable_cores()
    with caplog.at_level(logging.INFO, "knock.pool"):
        report = run_pool(jobs.square, [3], progress=False)
    assert report.facts.workers == cores
    assert told(caplog) == [f"{cores} worker{'s' * (cores > 1)}: {reason}"]


@pytest.mark.skipif((os.cpu_count() or 1) < 2, reason="a machine of one core has no smaller mask")
def test_affinity_mask_bounds_the_workers_and_is_named():
    run = subprocess.run(
        [sys.executable, "-c", ON_ONE_CORE], capture_output=True, text=True, check=True, timeout=60
    )
    assert run.stdout == "1\n"
    assert run.stderr == "knock.pool INFO 1 worker: affinity mask\n"


def test_number_that_was_given_is_not_explained(caplog):
    with caplog.at_level(logging.INFO, "knock.pool"):
        run_pool(jobs.square, [3], workers=1, progress=False)
    assert told(caplog) == []


def test_queue_tells_at_its_start(caplog):
    cores, reason = usable_cores()
    queue = Queue()
    with caplog.at_level(logging.INFO, "knock.pool"):
        assert told(caplog) == []
        queue.start()
        queue.stop()
    assert told(caplog) == [f"{cores} worker{'s' * (cores > 1)}: {reason}"]
