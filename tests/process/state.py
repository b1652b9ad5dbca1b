"""What a job can leave in its process: how to change each thing, and how to look at it."""

import decimal
import gc
import locale
import os
import resource
import signal
import socket
import sys
import threading
import warnings
from collections.abc import Callable
from typing import Any, NamedTuple

from knock.pool import stream
from knock.pool.job import Job
from tests.witness import Witness

_LOOP: list[threading.Thread] = []


class Pair(NamedTuple):
    """``dirty`` changes something for good, ``probe`` tells how it is, as plain data."""

    dirty: Callable[[], object]
    probe: Callable[[], Any]


def shout(*_: object) -> None:
    raise TimeoutError("a handler that a job left")


# --- signals --------------------------------------------------------------------------------------


def start_timer(which: int) -> None:
    # Without a handler it would end the process, here or in a later job.
    signal.setitimer(which, 1000.0, 1000.0)


def timers() -> list[bool]:
    names = (signal.ITIMER_REAL, signal.ITIMER_VIRTUAL, signal.ITIMER_PROF)
    return [any(signal.getitimer(name)) for name in names]


def block_and_be_struck() -> None:
    """Block signals, one of which comes; unblocked, it would end the process."""
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGUSR1})
    os.kill(os.getpid(), signal.SIGUSR1)


def mask() -> list[int]:
    return sorted(map(int, signal.pthread_sigmask(signal.SIG_BLOCK, ())))


def pending_signals() -> tuple[int, list[int]]:
    return os.getpid(), sorted(map(int, signal.sigpending()))


def set_handlers() -> None:
    for number in (signal.SIGTERM, signal.SIGALRM, signal.SIGUSR2, signal.SIGRTMIN + 2):
        signal.signal(number, shout)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)


def handlers() -> list[str]:
    return [str(signal.getsignal(number)) for number in sorted(signal.valid_signals())]


def watch_signals() -> None:
    """As an event loop does that is not closed."""
    left, right = socket.socketpair()
    left.setblocking(False)
    signal.signal(signal.SIGUSR1, shout)
    signal.set_wakeup_fd(left.detach())
    right.detach()


def wakeup_fd() -> int:
    fd = signal.set_wakeup_fd(-1)
    signal.set_wakeup_fd(fd)
    return fd


def strike_or_square(number: int) -> int:
    """The odd ones leave a timer whose handler raises, at any moment about the job's end."""
    if number % 2:
        signal.signal(signal.SIGALRM, shout)
        signal.setitimer(signal.ITIMER_REAL, number * 1e-6)
    return number**2


# --- directory, umask, streams --------------------------------------------------------------------


def directory() -> str:
    return os.getcwd()


def umask() -> int:
    now = os.umask(0)
    os.umask(now)
    return now


def close_streams() -> None:
    for number in range(3):
        os.close(number)


def redirect_streams() -> None:
    null = os.open(os.devnull, os.O_RDWR)
    for number in range(3):
        os.dup2(null, number)
    os.close(null)


def descriptors() -> list[tuple[int, int]]:
    found = []
    for number in range(3):
        status = os.fstat(number)
        found.append((status.st_dev, status.st_ino))
    return found


def replace_streams() -> None:
    sys.stdin = sys.stdout = sys.stderr = None  # type: ignore[assignment]


def close_stream_objects() -> None:
    sys.stdin.close()
    sys.stdout.close()
    sys.stderr.close()


def detach_stream_objects() -> None:
    sys.stdout.detach()


def delete_stdout() -> None:
    del sys.stdout


def streams() -> list[object]:
    """What can be done with the objects: they may be others, but must serve."""
    told: list[object] = []
    for name in ("stdin", "stdout", "stderr"):
        file = getattr(sys, name, None)
        if file is None or file.closed:
            told.append("useless")
            continue
        told.append((file.fileno(), file.encoding, file.errors))
    if "useless" not in told:
        sys.stdout.write("")
        sys.stdout.flush()
    return told


# --- what is put back only where it is asked for --------------------------------------------------


def change_environment() -> None:
    os.environ["LEFT_BY_A_JOB"] = "1"
    del os.environ["PATH"]


def replace_environment() -> None:
    os.environ = {"PATH": "nowhere"}  # type: ignore[assignment]  # noqa: B003 - the point of it


def environment() -> dict[str, str]:
    return dict(os.environ)


def change_locale() -> None:
    now = locale.setlocale(locale.LC_CTYPE)
    locale.setlocale(locale.LC_CTYPE, "C.UTF-8" if now == "C" else "C")


def current_locale() -> str:
    return locale.setlocale(locale.LC_ALL)


def change_path() -> None:
    sys.path.insert(0, "/left/by/a/job")


def replace_path() -> None:
    sys.path = ["/left/by/a/job", *sys.path]


def path() -> list[str]:
    return list(sys.path)


def lower_soft_limit() -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (400, hard))


def lower_hard_limit(name: str) -> None:
    which = getattr(resource, name)
    hard = resource.getrlimit(which)[1]
    lower = 0 if hard == resource.RLIM_INFINITY else hard - 1
    resource.setrlimit(which, (lower, lower))


def limits() -> list[tuple[int, int]]:
    return [resource.getrlimit(resource.RLIMIT_NOFILE), resource.getrlimit(resource.RLIMIT_CORE)]


def change_decimal() -> None:
    decimal.getcontext().prec = 3


def precision() -> int:
    return decimal.getcontext().prec


def change_collector() -> None:
    gc.disable()
    gc.set_threshold(7, 7, 7)


def collector() -> list[object]:
    return [gc.isenabled(), gc.get_threshold()]


def change_warnings() -> None:
    warnings.simplefilter("error")


def warning_filters() -> list[str]:
    return [str(one) for one in warnings.filters]


def freeze_warnings() -> None:
    warnings.filters = ()


# --- what an initializer may set up ---------------------------------------------------------------


def set_up(directory: str) -> None:
    os.chdir(directory)
    os.umask(0o77)
    signal.signal(signal.SIGUSR1, shout)
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR2})
    signal.setitimer(signal.ITIMER_PROF, 1000.0)
    sys.stdout = open("stdout", "w")  # noqa: SIM115 - as a script would
    os.environ["OF_THE_INITIALIZER"] = "1"
    threading.Thread(target=threading.Event().wait, daemon=True).start()


def set_up_state() -> list[Any]:
    return [
        directory(),
        umask(),
        handlers(),
        mask(),
        timers(),
        os.path.basename(sys.stdout.name),
        os.environ.get("OF_THE_INITIALIZER"),
        threading.active_count(),
    ]


def undo_set_up() -> None:
    os.chdir("/")
    os.umask(0)
    signal.signal(signal.SIGUSR1, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    sys.stdout = sys.__stdout__
    os.environ.pop("OF_THE_INITIALIZER")


def drop_privileges() -> None:
    """A process of root's could raise any limit again."""
    if os.getuid() == 0:
        os.setresuid(65534, 65534, 65534)


def remove_directory(path: str) -> None:
    os.chdir(path)
    os.rmdir(path)


def leave_directory(path: str) -> None:
    os.chdir("/")
    if os.path.isdir(path):
        os.rmdir(path)


def be_of_an_old_kernel() -> None:
    stream._F_DUPFD_QUERY = 99999  # type: ignore[misc]


def leave_waiting_thread(_: int) -> int:
    threading.Thread(target=threading.Event().wait, daemon=True).start()
    return os.getpid()


def look_up_shared_thread(item: int) -> int:
    """Start a thread once for the process, as libraries with an event loop do."""
    if not _LOOP:
        _LOOP.append(threading.Thread(target=threading.Event().wait, daemon=True))
        _LOOP[0].start()
    assert _LOOP[0].is_alive()
    return os.getpid()


def note_pid_and_fail_once(item: tuple[Witness, int]) -> int:
    witness, number = item
    first = not any(fact.startswith(f"{number} ") for fact in witness.facts())
    witness.note(f"{number} {os.getpid()}")
    if first:
        raise ValueError("once more")
    return number


def pid_of_job(job: Job) -> int:
    return os.getpid()


def leave_ending_thread(seconds: float) -> int:
    """Leave a thread that ends a moment later, as an executor's does."""
    threading.Thread(target=threading.Event().wait, args=(seconds,), daemon=True).start()
    return os.getpid()


ALWAYS = {
    "real timer": Pair(lambda: start_timer(signal.ITIMER_REAL), timers),
    "virtual timer": Pair(lambda: start_timer(signal.ITIMER_VIRTUAL), timers),
    "profiling timer": Pair(lambda: start_timer(signal.ITIMER_PROF), timers),
    "mask": Pair(block_and_be_struck, mask),
    "handlers": Pair(set_handlers, handlers),
    "wakeup descriptor": Pair(watch_signals, wakeup_fd),
    "directory": Pair(lambda: os.chdir("/"), directory),
    "umask": Pair(lambda: os.umask(0o777), umask),
    "closed descriptors": Pair(close_streams, descriptors),
    "redirected descriptors": Pair(redirect_streams, descriptors),
    "replaced streams": Pair(replace_streams, streams),
    "closed streams": Pair(close_stream_objects, streams),
    "detached streams": Pair(detach_stream_objects, streams),
    "deleted stream": Pair(delete_stdout, streams),
}
ASKED = {
    "environment": Pair(change_environment, environment),
    "replaced environment": Pair(replace_environment, environment),
    "locale": Pair(change_locale, current_locale),
    "recursion limit": Pair(lambda: sys.setrecursionlimit(5000), sys.getrecursionlimit),
    "path": Pair(change_path, path),
    "replaced path": Pair(replace_path, path),
    "soft limit": Pair(lower_soft_limit, limits),
    "decimal context": Pair(change_decimal, precision),
    "socket timeout": Pair(lambda: socket.setdefaulttimeout(7.0), socket.getdefaulttimeout),
    "collector": Pair(change_collector, collector),
    "warning filters": Pair(change_warnings, warning_filters),
}


def dirty(kind: str) -> int:
    (ALWAYS | ASKED)[kind].dirty()
    return os.getpid()


def probe(kind: str) -> Any:
    return os.getpid(), (ALWAYS | ASKED)[kind].probe()
