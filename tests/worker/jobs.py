"""Processors and hostile objects for the tests; imported by the workers."""

import atexit
import gc
import os
import pickle
import random
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any, NoReturn

from knock.errors import ForkedProcessError
from knock.pool.control import Discard, RetryLater
from knock.pool.job import Job, call_supervisor, current_job, in_worker


def echo(item: Any) -> Any:
    return item


def divide(item: int) -> float:
    return 1 / item


def raise_it(exc: BaseException) -> NoReturn:
    raise exc


# --- hostile exceptions ---


class TwoArgumentsError(Exception):
    def __init__(self, first: object, second: object) -> None:
        super().__init__(first)
        self.second = second


class BadStrError(Exception):
    def __str__(self) -> str:
        raise ValueError("no text for you")


class NotAStrError(Exception):
    def __str__(self) -> str:
        return 7  # noqa: PLE0307 - the point of it


class ExitingStrError(Exception):
    def __str__(self) -> str:  # noqa: PLE0307 - the point of it
        sys.exit(3)


class HugeStrError(Exception):
    def __str__(self) -> str:
        return "é" * 10_000_000


class LockedError(Exception):
    def __init__(self, text):
        super().__init__(text)
        self.lock = threading.Lock()


class LiarError(Exception):
    def __reduce__(self) -> Any:
        return dict, ()


class ExitingReduceError(Exception):
    def __reduce__(self) -> Any:
        sys.exit(3)


class OwnBaseError(BaseException):
    pass


def raise_named(name: str) -> NoReturn:
    raise globals()[name]("text") if name != "TwoArgumentsError" else TwoArgumentsError(1, 2)


def raise_deep(depth: int) -> None:
    if depth:
        raise_deeper(depth - 1)
    raise ValueError("at the bottom")


def raise_deeper(depth: int) -> None:
    raise_deep(depth)


def raise_chain(length: int) -> NoReturn:
    exc: BaseException = ValueError("first")
    for number in range(length):
        following = KeyError(number)
        following.__cause__ = exc
        exc = following
    first = exc
    while first.__cause__ is not None:
        first = first.__cause__
    first.__cause__ = exc  # a cycle
    raise exc


def raise_group(size: int) -> NoReturn:
    raise ExceptionGroup("many", [ValueError(number) for number in range(size)])


def raise_with_note(_: object) -> NoReturn:
    exc = ValueError("plain")
    exc.add_note("a note to it")
    raise exc from KeyError("the reason")


# --- hostile values ---


class ExitingReduce:
    def __reduce__(self) -> Any:
        sys.exit(3)


class FailsToLoad:
    def __reduce__(self) -> Any:
        return divide, (0,)


class ExitsAtLoad:
    def __reduce__(self) -> Any:
        return sys.exit, (3,)


class Holder:
    def __init__(self, held: object) -> None:
        self.held = held


def make_unpicklable(name: str) -> Any:
    match name:
        case "lock":
            return {"deep": [1, Holder(threading.Lock())]}
        case "generator":
            return (number for number in range(3))
        case "socket":
            return __import__("socket").socket()
        case "deep":
            nested: list[Any] = []
            for _ in range(100_000):
                nested = [nested]
            return nested
        case _:
            return ExitingReduce()


# --- steering ---


def later(delay: float) -> NoReturn:
    raise RetryLater(delay)


def discard(reason: str) -> NoReturn:
    raise Discard(reason)


def is_worth_it(exc: BaseException) -> bool:
    return "again" in str(exc)


def predicate_that_fails(exc: BaseException) -> bool:
    raise RuntimeError("predicate broke")


# --- the job object ---


def describe(job: Job) -> tuple[Any, ...]:
    assert current_job() is job
    return job.id, job.type, job.data, job.attempt, job.priority, job.created_at, in_worker()


def describe_current(item: object) -> tuple[Any, ...]:
    job = current_job()
    assert job is not None
    assert job is current_job()
    return job.data, job.type


def talk(job: Job) -> str:
    job.log("hello \udcff", 30)
    job.progress(1, 4)
    job.progress(2, 4)  # too soon after the first to be worth sending
    job.progress(4, 4)
    return "talked"


def ask(item: bytes) -> bytes:
    return call_supervisor("add", item) + call_supervisor("add", item * 2)


def ask_from_threads(count: int) -> list[bytes]:
    answers = [b""] * count

    def ask_one(number: int) -> None:
        answers[number] = call_supervisor("add", str(number).encode())

    threads = [threading.Thread(target=ask_one, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return answers


LEFT_OVER: list[str] = []


def leave_a_thread(job: Job) -> None:
    def speak_later() -> None:
        while current_job() is job or current_job() is None:
            time.sleep(0.001)
        job.log("too late")
        job.progress(1)
        LEFT_OVER.append("spoke")

    threading.Thread(target=speak_later, daemon=True).start()


def wait_for_left_over(_: object) -> list[str]:
    while not LEFT_OVER:
        time.sleep(0.001)
    return LEFT_OVER


# --- processes ---


def monkeypatch(_: object) -> None:
    def broken(*args: object, **kwargs: object) -> NoReturn:
        raise RuntimeError("patched")

    for module, names in (
        (os, ("read", "write", "writev", "pread", "_exit", "fork")),
        (pickle, ("dumps", "loads")),
        (time, ("monotonic_ns", "process_time_ns", "time", "monotonic")),
        (__import__("resource"), ("getrusage",)),
    ):
        for name in names:
            setattr(module, name, broken)


def fork_and_both_return(_: object) -> int:
    return os.fork()


def fork_and_tell_exit_code(ends: tuple[str, object]) -> int | None:
    """Let a child come back from the job, and return its exit code."""
    burn(0.02)  # more than the child will have used
    pid = os.fork()
    if pid:
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    how, value = ends
    if how == "exit":
        sys.exit(value)
    if how == "raise":
        raise ValueError(value)
    return None


def fork_a_child_that_speaks(job: Job) -> int:
    pid = os.fork()
    if not pid:
        try:
            job.log("I am the child")
        except ForkedProcessError:
            os._exit(7)
        os._exit(8)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def describe_process(_: object) -> dict[str, Any]:
    try:
        given = input()
    except EOFError:
        given = None
    return {
        "session": os.getsid(0) == os.getpid(),
        "sigint": signal.getsignal(signal.SIGINT) == signal.SIG_IGN,
        "sigterm": signal.getsignal(signal.SIGTERM) == signal.SIG_DFL,
        "input": given,
        "argv": sys.argv,
        "path": sys.path,
        "main": sorted(vars(sys.modules["__main__"])),
        "frozen": gc.get_freeze_count() > 0,
    }


def spin_in_c(path: str) -> None:
    Path(path).write_text(str(os.getpid()))
    sum(range(10**12))


def spin_with_child(path: str) -> None:
    child = subprocess.Popen(["sleep", "300"])
    Path(path).write_text(f"{os.getpid()} {child.pid}")
    sum(range(10**12))


def segfault(_: object) -> None:
    os.kill(os.getpid(), signal.SIGSEGV)


def allocate(count: int) -> int:
    data = bytearray(count)
    for start in range(0, count, 4096):
        data[start] = 1
    return len(data)


def burn(seconds: float) -> float:
    end = time.process_time() + seconds
    while time.process_time() < end:
        pass
    return seconds


def burn_in_a_child(seconds: float) -> None:
    loop = f"while time.process_time() < {seconds}: pass"
    text = f"import time\nx = bytearray(b'x') * (200 << 20)\n{loop}"
    subprocess.run([sys.executable, "-I", "-c", text], check=True)


# --- booting ---


def fail_to_boot() -> None:
    sys.stderr.write("last words\n")
    raise ValueError("bad setting")


def exit_at_boot() -> None:
    sys.exit("cannot go on")


def seed_and_register(path: str) -> None:
    random.seed(7)
    atexit.register(Path(path).write_text, "ended in order")
    sys.stderr.write("booting\n")


def draw(_: object) -> float:
    return random.random()
