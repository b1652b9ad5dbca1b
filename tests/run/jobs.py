"""Functions for batches."""

import asyncio
import atexit
import ctypes
import mmap
import os
import random
import resource
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress
from typing import Any, NoReturn

import numpy as np

import knock
from knock.pool.usage import UsageMeter
from tests.process import jobs as process_jobs
from tests.witness import Gate, Witness

spin = process_jobs.spin


def become_another_program(seconds: int) -> NoReturn:
    os.execv("/bin/sleep", ["sleep", str(seconds)])


def begin_late() -> None:
    """Let each attempt be held up between its start and its first step."""
    begin = UsageMeter.begin

    def hold_up(meter: UsageMeter) -> Any:
        time.sleep(0.1)
        return begin(meter)

    UsageMeter.begin = hold_up


def square(x: int) -> int:
    return x * x


def add(x: int, y: int, z: int = 0) -> int:
    return x + y + z


def pick(item: int) -> int:
    """Do well, or badly, as the item says."""
    match item:
        case -1:
            raise ValueError("minus one")
        case -2:
            os._exit(0)
        case -3:
            os.kill(os.getpid(), signal.SIGSEGV)
        case -4:
            spin()
    return item


def pick_second(item: tuple[Any, int]) -> int:
    return pick(item[1])


def negate_second(item: tuple[Any, int]) -> int:
    return -item[1]


def square_data(job: Any) -> int:
    return square(job.data)


def count_in(item: tuple[Witness, Any]) -> Any:
    witness, value = item
    witness.note(value)
    return value


def fail_after(item: tuple[Gate, int]) -> int:
    gate, value = item
    if value < 0:
        raise ValueError(value)
    gate.pass_through()
    return value


def wait_in(item: tuple[Witness, Gate, Any]) -> Any:
    """Note that it runs, and end when the gate is open."""
    witness, gate, value = item
    witness.note(value)
    gate.pass_through()
    return value


def fail_first(item: tuple[Witness, int]) -> int:
    witness, value = item
    witness.note(value)
    if witness.count(value) == 1:
        raise ValueError("the first time")
    return value


def draw(item: int) -> tuple[float, float]:
    return random.random(), float(np.random.random())


def draw_on_second(witness: Witness) -> float:
    """Fail once after drawing, so that the second attempt shows whether it draws the same."""
    drawn = random.random()
    witness.note(drawn)
    if len(witness.facts()) == 1:
        raise ValueError("once more")
    return drawn


def environment(name: str) -> tuple[str | None, str]:
    return os.environ.get(name), os.getcwd()


_VALUE: list[Any] = []


def initialize(value: Any) -> None:
    _VALUE.append(value)


def initialized(item: int) -> tuple[int, list[Any]]:
    return item, _VALUE


def fail_to_initialize() -> None:
    raise RuntimeError("the initializer says no")


def nap(seconds: float) -> float:
    time.sleep(seconds)
    return seconds


# --- limits ---------------------------------------------------------------------------------------


def clean_up_when_warned(item: str) -> str:
    try:
        sleep_for_ever(item)
    except knock.SoftTimeoutError:
        return f"cleaned up after {item}"


def sleep_for_ever(_: object) -> NoReturn:
    while True:
        time.sleep(60)


def count_warnings(seconds: float) -> int:
    """Count the warnings within so long after the first."""
    warnings = 0
    until = float("inf")
    while time.monotonic() < until:
        try:
            time.sleep(0.01)
        except knock.SoftTimeoutError:
            warnings += 1
            until = time.monotonic() + seconds
    return warnings


def hold_the_gil(seconds: float) -> None:
    ctypes.PyDLL(None).usleep(int(seconds * 1e6))


def swallow_everything(_: object) -> NoReturn:
    while True:
        with suppress(BaseException):
            time.sleep(60)


async def sleep_in_asyncio(witness: Witness) -> None:
    try:
        await asyncio.sleep(60)
    except asyncio.CancelledError:
        witness.note("cleaned up")
        raise


def stall_after_progress(times: int) -> NoReturn:
    job = knock.current_job()
    for number in range(times):
        job.progress(number, times)
    sleep_for_ever(None)


def progress_slowly(times: int) -> int:
    job = knock.current_job()
    for number in range(times):
        time.sleep(0.1)
        job.progress(number + 1)
    return times


def allocate(size: int) -> int:
    """Have so much memory, all of it touched."""
    return len(b"x" * size)


_kept: list[bytes] = []


def keep(size: int) -> int:
    _kept.append(b"x" * size)
    return size


def allocate_and_tell_limit(size: int) -> int:
    allocate(size)
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]


def share_memory(size: int) -> int:
    """Have so much memory that is shared with nobody, but could be; then wait."""
    pages = mmap.mmap(-1, size)
    for start in range(0, size, mmap.PAGESIZE):
        pages[start] = 1
    if size > 100 << 20:
        sleep_for_ever(None)
    return size


def let_children_allocate(size: int) -> NoReturn:
    for _ in range(3):
        code = f"data = b'x' * {size // 3}; import time; time.sleep(60)"
        subprocess.Popen([sys.executable, "-c", code])
    sleep_for_ever(None)


def fork_and_wait(size: int) -> int:
    """Have so much memory, and four children that share it all, for long enough to be weighed."""
    data = b"x" * size
    children = []
    for _ in range(4):
        child = os.fork()
        if not child:
            time.sleep(0.5)
            os._exit(data[-1] and 0)
        children.append(child)
    return sum(os.waitpid(child, 0)[1] == 0 for child in children)


def make_bytes(size: int) -> bytes:
    return bytes(size)


def length(data: bytes) -> int:
    return len(data)


def note_pid(item: tuple[Witness, Any]) -> Any:
    witness, value = item
    witness.note(os.getpid())
    return value


def note_pid_slowly(item: tuple[Witness, float]) -> int:
    witness, seconds = item
    witness.note(os.getpid())
    time.sleep(seconds)
    return os.getpid()


_leaked: list[bytes] = []


def leak(item: tuple[Witness, int]) -> None:
    """Leave so many bytes behind."""
    witness, size = item
    witness.note(os.getpid())
    # Longer than what is sent ahead: the next job comes when this one's usage is known.
    time.sleep(0.02)
    _leaked.append(b"x" * size)


def use_memory(item: tuple[Witness, int]) -> int:
    """Use so many bytes and give them back."""
    witness, size = item
    witness.note(os.getpid())
    return len(b"x" * size)


def wear_and(item: tuple[Witness, str]) -> str:
    """Ask for another worker, and do what the item says."""
    witness, what = item
    witness.note(os.getpid())
    if what.startswith("wear"):
        process_jobs.wear()
    if what.endswith("hang"):
        spin()
    if what.endswith("crash"):
        os.kill(os.getpid(), signal.SIGSEGV)
    if what == "hang at exit":
        atexit.register(threading.Event().wait)
    return what
