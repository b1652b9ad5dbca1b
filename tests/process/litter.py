"""Jobs that leave processes and threads behind; they note the pids of what they leave."""

import asyncio
import multiprocessing
import multiprocessing.pool
import os
import resource
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ProcessPoolExecutor
from multiprocessing import resource_tracker, shared_memory
from typing import Any

from knock.pool.kin import all_children
from tests.witness import Gate, Witness, wait_for

_SLEEP = [sys.executable, "-c", "import time; time.sleep(1000)"]
_KEPT: list[Any] = []


# --- processes that nobody waits for --------------------------------------------------------------


def leave_plain(witness: Witness) -> None:
    witness.note(subprocess.Popen(_SLEEP).pid)


def leave_in_own_session(witness: Witness) -> None:
    witness.note(subprocess.Popen(_SLEEP, start_new_session=True).pid)


def leave_forked_twice(witness: Witness) -> None:
    _daemonize(witness, own_session=False)


def leave_daemon(witness: Witness) -> None:
    _daemonize(witness, own_session=True)


def _daemonize(witness: Witness, *, own_session: bool) -> None:
    child = os.fork()
    if child:
        os.waitpid(child, 0)
        return
    if own_session:
        os.setsid()
    # The note comes from the parent, before it goes: the orphan is not waited for by anybody.
    orphan = os.fork()
    if not orphan:
        time.sleep(1000)
    witness.note(orphan)
    os._exit(0)


def leave_tree(witness: Witness, depth: int) -> None:
    """A chain of processes, each in a session of its own, each with the next one as its child."""
    ready, told = os.pipe()
    if not os.fork():
        for _ in range(depth):
            os.setsid()
            witness.note(os.getpid())
            if os.fork():
                break
        else:
            os.write(told, b".")
        time.sleep(1000)
    os.close(told)
    os.read(ready, 1)
    os.close(ready)


def leave_deaf(witness: Witness) -> None:
    """Leave a child that ignores every signal that can be ignored."""
    ready, told = os.pipe()
    child = os.fork()
    if not child:
        for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}:
            signal.signal(number, signal.SIG_IGN)
        os.write(told, b".")
        time.sleep(1000)
    witness.note(child)
    os.close(told)
    os.read(ready, 1)
    os.close(ready)


def leave_ended() -> None:
    """Leave a child that has ended by itself, and that nobody has waited for."""
    child = os.fork()
    if not child:
        os._exit(3)
    os.waitid(os.P_PID, child, os.WEXITED | os.WNOWAIT)


def leave_and_raise(witness: Witness) -> None:
    leave_plain(witness)
    raise ValueError("littered")


def leave_by_threads(witness: Witness, count: int) -> None:
    """Two threads go on starting processes while the job ends."""
    begun = threading.Barrier(3)

    def breed() -> None:
        begun.wait()
        for _ in range(count):
            witness.note(subprocess.Popen(_SLEEP).pid)

    for _ in range(2):
        threading.Thread(target=breed, daemon=True).start()
    begun.wait()


def leave_with_thread(witness: Witness) -> None:
    """Leave a thread that has a child process; only under that thread it is listed."""

    def hold() -> None:
        leave_plain(witness)
        threading.Event().wait()

    threading.Thread(target=hold, daemon=True).start()
    witness.wait(1)


def come_back_with_helper(witness: Witness) -> str:
    """Return in a forked child too, which has a child of its own."""
    child = os.fork()
    if child:
        os.waitpid(child, 0)
        return "the parent"
    witness.note(subprocess.Popen(_SLEEP).pid)
    return "the child"


def break_everything(witness: Witness) -> None:
    """Put functions in place that do nothing, then leave a child."""
    leave_plain(witness)
    os.kill = os.waitpid = os.waitid = os.listdir = os.open = os.read = lambda *_: None
    signal.pidfd_send_signal = os.pidfd_open = lambda *_: None


# --- libraries that start processes ---------------------------------------------------------------


def double(x: int) -> int:
    return 2 * x


def use_subprocess() -> str:
    return subprocess.run(
        [sys.executable, "-c", "print(42)"], stdout=subprocess.PIPE, check=True, text=True
    ).stdout.strip()


def use_process() -> int | None:
    process = multiprocessing.get_context("fork").Process(target=double, args=(1,))
    process.start()
    process.join()
    return process.exitcode


def use_executor() -> list[int]:
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(2, mp_context=context) as executor:
        return list(executor.map(double, range(4)))


def use_pool() -> list[int]:
    with multiprocessing.get_context("fork").Pool(2) as pool:
        return pool.map(double, range(4))


def use_asyncio() -> str:
    async def ask() -> str:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-c", "print(42)", stdout=asyncio.subprocess.PIPE
        )
        output, _ = await process.communicate()
        return output.decode().strip()

    return asyncio.run(ask())


def use_shared_memory() -> int:
    """Let the resource tracker be started; return its pid."""
    block = shared_memory.SharedMemory(create=True, size=16)
    block.close()
    block.unlink()
    return tracker_pid()


def tracker_pid() -> int:
    pid = resource_tracker._resource_tracker._pid
    assert pid is not None
    return pid


def leave_pool(witness: Witness, method: str) -> list[int]:
    pool = multiprocessing.get_context(method).Pool(2)
    for process in pool._pool:
        witness.note(process.pid)
    _KEPT.append(pool)
    return pool.map(double, range(4))


def use_left_pool() -> str:
    try:
        return str(_KEPT[0].apply(double, (1,)))
    except ValueError as exc:
        return str(exc)


def open_pool() -> None:
    """Open a pool whose processes are replaced after each task."""
    context = multiprocessing.get_context("fork")
    _KEPT.append(context.Pool(2, maxtasksperchild=1))


class SlowlyNoted(multiprocessing.get_context("fork").Process):
    """A process that is there long before whoever starts it can note that."""

    def start(self) -> None:
        super().start()
        time.sleep(0.1)


class SlowContext(type(multiprocessing.get_context("fork"))):
    Process = SlowlyNoted


def open_slow_pool() -> None:
    _KEPT.append(multiprocessing.pool.Pool(2, maxtasksperchild=1, context=SlowContext()))


def use_open_pool() -> list[int]:
    return _KEPT[0].map(double, range(4), 1)


def double_and_tell_pid(number: int) -> tuple[int, int]:
    return 2 * number, os.getpid()


def use_slow_pool() -> list[int]:
    """Return while the pool starts a process that it has not noted yet, and that has no task."""
    pool = _KEPT[0]
    found, used = zip(*pool.map(double_and_tell_pid, range(4), 1), strict=True)
    wait_for(lambda: set(all_children()).difference(used, [one.pid for one in pool._pool]))
    return list(found)


def leave_thread_pool() -> list[int]:
    """Open a pool of threads, once, and use it."""
    if not _KEPT:
        _KEPT.append(multiprocessing.pool.ThreadPool(2))
    return _KEPT[0].map(double, range(4))


def leave_without_descriptors(witness: Witness) -> None:
    """Leave children when no descriptor but a few is to be had."""
    for _ in range(3):
        leave_plain(witness)
    # The sweep needs one to look; then none is left to wait by.
    free = os.dup(0)
    os.close(free)
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (free + 1, hard))


def leave_executor(witness: Witness) -> int:
    executor = ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("fork"))
    value = executor.submit(double, 21).result()
    for pid in executor._processes:
        witness.note(pid)
    _KEPT.append(executor)
    return value


def use_left_executor() -> str:
    def refused() -> str:
        try:
            future: Future[int] = _KEPT[0].submit(double, 1)
        except Exception as exc:
            return type(exc).__name__
        return type(future.exception()).__name__

    return wait_for(refused)


def leave_process(witness: Witness, method: str) -> None:
    process = multiprocessing.get_context(method).Process(target=time.sleep, args=(1000,))
    process.start()
    witness.note(process.pid)


def active_children() -> int:
    return len(multiprocessing.active_children())


# --- what is there before the first job, and threads ----------------------------------------------


def start_helper(witness: Witness) -> None:
    leave_plain(witness)
    leave_daemon(witness)


def leave_thread(stop: Gate | None = None) -> int:
    """Leave a thread that waits, as libraries with an event loop do; return the pid."""
    wait: Callable[[], object] = threading.Event().wait if stop is None else stop.pass_through
    threading.Thread(target=wait, daemon=True).start()
    return os.getpid()


def thread_count() -> int:
    return threading.active_count()
