"""Processors that workers import."""

import logging
import os
import signal
import time

from knock.pool.control import Discard, RetryLater
from knock.pool.job import Job


class RefusedError(Exception):
    """An exception of the jobs' own."""


def double(job: Job) -> int:
    return 2 * job.data


def tell(job: Job) -> tuple[int, str, int, int]:
    return job.id, job.type, job.attempt, job.priority


def tell_deadline(job: Job) -> float | None:
    return job.deadline


def append(job: Job) -> None:
    path, text = job.data
    with open(path, "a", encoding="utf-8") as file:
        file.write(f"{text}\n")


def refuse(job: Job) -> None:
    raise RefusedError(job.data)


def refuse_twice(job: Job) -> int:
    if job.attempt <= 2:
        raise RefusedError(f"attempt {job.attempt}")
    return job.attempt


def refuse_the_first_time(job: Job) -> str:
    if not os.path.exists(job.data):
        with open(job.data, "w", encoding="utf-8"):
            pass
        raise RefusedError("the first time")
    return "came"


def crash(job: Job) -> None:
    os.kill(os.getpid(), signal.SIGSEGV)


def leave(job: Job) -> None:
    os._exit(0)


def sleep(job: Job) -> float:
    time.sleep(job.data)
    return job.data


def mark_and_sleep(job: Job) -> None:
    """Say that it runs, by a file, and take its time."""
    path, seconds = job.data
    with open(path, "a", encoding="utf-8") as file:
        file.write("x")
    time.sleep(seconds)


def discard(job: Job) -> None:
    raise Discard("not wanted")


def come_later(job: Job) -> str:
    if job.attempt == 1 and not os.path.exists(job.data):
        with open(job.data, "w", encoding="utf-8"):
            pass
        raise RetryLater(0.05)
    return "came"


def log(job: Job) -> None:
    job.log("hello from the job")


def log_and_refuse(job: Job) -> None:
    logging.getLogger("shop").warning("refusing %r", job.data)
    raise ValueError("refused")


async def awaited(job: Job) -> int:
    return 3 * job.data


def is_refusal(exc: BaseException) -> bool:
    return isinstance(exc, RefusedError)


def print_data(job: Job) -> None:
    print(job.data)
