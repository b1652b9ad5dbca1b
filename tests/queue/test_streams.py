"""A program whose standard streams are closed, full, or read by nobody: its queue works on."""

import os
import subprocess
import sys
from typing import IO, Any

import pytest

from tests.queue.program import environment
from tests.witness import Witness

pytestmark = pytest.mark.process

# Everything that would be told on standard error: a failed job, a crash, what jobs print and log.
PROGRAM = """
import logging, os, sys
from knock.queue import Queue
from tests.queue import jobs
from tests.witness import Witness

witness = Witness(sys.argv[2])
queue = Queue(supervisor=sys.argv[1], concurrency=2, retry_attempts=0, breaker=None)
queue.process("say", lambda job: os.write(2, b"said") and None)
queue.process("log", jobs.log_and_refuse)
queue.process("crash", jobs.crash)
queue.process("double", jobs.double)
queue.on("dead", lambda event: 1 / 0)
queue.add("never")
queue.start()
ids = [queue.add(name) for name in ("say", "log", "crash") * 20]
good = queue.add_many("double", range(100))
witness.note([queue.result(job_id, 60) for job_id in good] == [2 * n for n in range(100)])
queue.join(60)
stats = queue.get_stats()
witness.note(stats.completed + stats.failed)
queue.stop()
witness.note("stopped")
"""


def no_reader() -> IO[Any]:
    reader, writer = os.pipe()
    os.close(reader)
    return os.fdopen(writer, "wb")


def full() -> IO[Any]:
    return open("/dev/full", "wb")


@pytest.mark.parametrize("make_stream", [no_reader, full])
def test_a_queue_whose_words_nobody_takes_works_on(place, make_stream, tmp_path):
    with make_stream() as stream:
        run_with(place, tmp_path, stdout=stream, stderr=stream)


def test_a_queue_without_standard_streams_works(place, tmp_path):
    run_with(place, tmp_path, preexec_fn=close_standard_streams)


def close_standard_streams() -> None:
    for fd in range(3):
        os.close(fd)


def run_with(place: str, tmp_path: Any, **streams: Any) -> None:
    witness = Witness(str(tmp_path / "witness"))
    subprocess.run(
        [sys.executable, "-c", PROGRAM, place, witness.path],
        env=environment(),
        check=False,
        timeout=90,
        **streams,
    )
    assert witness.facts() == ["True", "161", "stopped"]
