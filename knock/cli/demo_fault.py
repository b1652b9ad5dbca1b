"""What runs in the demo's workers: the work, and faults that are planted among it."""

import ctypes
import os

from knock.cli import demo_work
from knock.pool.job import Job

# The runs that a job of the type "flaky" fails.
FLAKY_FAILURES = 2
# Adding these takes hours, in C code that never lets go of the interpreter.
_ENDLESS = range(10**12)


def hash_module(job: Job) -> str:
    """See ``demo_work.digest``."""
    return demo_work.digest(job.data)


def measure_module(job: Job) -> tuple[int, int, int]:
    """See ``demo_work.measure``."""
    return demo_work.measure(job.data)


def compress_module(job: Job) -> int:
    """See ``demo_work.compress``."""
    return demo_work.compress(job.data)


def count_words_of_module(job: Job) -> int:
    """See ``demo_work.count_words``; fails as long as the file ``outage`` is there."""
    path, outage = job.data
    if os.path.exists(outage):
        raise ConnectionError("the word counter is not available")
    return demo_work.count_words(path)


def hash_at_third_try(job: Job) -> str:
    """Raise twice; then do what ``hash_module`` does."""
    if job.attempt <= FLAKY_FAILURES:
        raise OSError(f"planted failure {job.attempt} of {FLAKY_FAILURES}")
    return hash_module(job)


def hang_in_c(job: Job) -> int:  # noqa: ARG001 - a processor takes a job
    """Never return, nor let any other code of this process run."""
    return sum(_ENDLESS)


def read_address_zero(job: Job) -> bytes:  # noqa: ARG001 - a processor takes a job
    """Kill the process by SIGSEGV."""
    return ctypes.string_at(0)


def exit_with_code_zero(job: Job) -> None:  # noqa: ARG001 - a processor takes a job
    """End the process as if all was well."""
    os._exit(0)
