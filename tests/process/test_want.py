"""Births that fail for want of something: the pool runs with what there is."""

import os
import signal

import pytest

from tests.process.test_end import nursery_pid
from tests.witness import script

pytestmark = pytest.mark.process

FEW_DESCRIPTORS = """
import os, resource
from knock import run_pool
from tests.process import jobs
# The supervisor and its nursery take about 8, each worker 6, and 9 while it is born.
limit = max(map(int, os.listdir("/proc/self/fd"))) + 30
resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))
report = run_pool(jobs.pid_later, range(40), workers=12, progress=False)
print(len(report.results), len(set(report.results)))
"""


def test_with_few_descriptors_the_pool_runs_with_the_workers_that_fit():
    with script("-c", FEW_DESCRIPTORS) as running:
        results, workers = map(int, running.line().split())
    assert results == 40
    assert 1 <= workers < 12


FEW_IN_A_SUPERVISOR = """
import os, resource
from knock import QueueInstance
from tests.queue import jobs
queue = QueueInstance(concurrency=8, retry_attempts=0)
queue.process("double", jobs.double)
# This process has what it needs; its supervisor and all below that inherit the limit.
resource.setrlimit(resource.RLIMIT_NOFILE, (32, 32))
queue.start()
ids = queue.add_many("double", range(200))
print([queue.result(i, 60) for i in ids] == [2 * n for n in range(200)])
stats = queue.get_stats()
print(stats.completed, stats.failed, stats.queued, 1 <= stats.workers < 8)
print({len(queue.get_job(i).attempts) for i in ids})
queue.stop()
"""


def test_a_supervisor_with_32_descriptors_loses_no_job_and_runs_none_twice():
    with script("-c", FEW_IN_A_SUPERVISOR) as running:
        code, out, errors = running.end(90)
        assert (out, code) == ("True\n200 0 0 True\n{1}\n", 0), errors
        running.wait_descendants_gone(2.0)


MANY_BOOT = """
import sys
from knock import run_pool
from tests.process import jobs
from tests.witness import Gate, Witness
report = run_pool(
    jobs.square, range(10), workers=4, progress=False,
    initializer=jobs.boot_through_a_gate, initargs=(Witness(sys.argv[1]), Gate(sys.argv[2])),
)
print(report.results)
"""


def test_one_death_of_the_nursery_under_many_boots_does_not_end_the_pool(witness, gate):
    with script("-c", MANY_BOOT, witness.path, gate.path) as running:
        os.kill(nursery_pid(set(map(int, witness.wait(4)))), signal.SIGKILL)
        witness.wait(8)
        gate.open()
        assert running.line() == str([n * n for n in range(10)])
