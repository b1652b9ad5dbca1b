"""What workers of a supervisor are made to do."""

import os
import pickle
import threading
import time
from typing import Any

from knock.core.job import JobSpec
from knock.pool.job import DESK, call_supervisor
from knock.protocol.addition import ADD_VERB, decode_ids, encode_additions
from tests.process import jobs as process_jobs
from tests.witness import Gate, Witness

do = process_jobs.do


def fail_times(witness: Witness, times: int) -> str:
    """Fail so often, then succeed."""
    witness.note("called")
    if witness.count("called") <= times:
        raise ValueError(f"failure {witness.count('called')}")
    return "at last"


def crash_times(witness: Witness, times: int) -> str:
    witness.note("called")
    if witness.count("called") <= times:
        os._exit(0)
    return "at last"


def say(text: str) -> None:
    job = DESK.job()
    assert job is not None
    job.log(text)
    job.progress(1, 2)


def add(job_type: str, *items: Any) -> list[int]:
    """Add jobs from inside a job."""
    now = time.time()
    specs = [JobSpec(0, job_type, pickle.dumps(item), 1, now, now) for item in items]
    return decode_ids(call_supervisor(ADD_VERB, encode_additions(specs)))


def ask_nonsense() -> bytes:
    return call_supervisor("no-such-verb", b"")


def leave_a_thread_that_holds_the_gil(witness: Witness, gate: Gate) -> str:
    """Come back; when the gate opens, something that is left keeps the worker from all else."""

    def hold() -> None:
        gate.pass_through()
        witness.note("holds")
        process_jobs.spin()

    threading.Thread(target=hold, daemon=True).start()
    return "left"
