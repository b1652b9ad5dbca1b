"""Makes a fresh child of the nursery into a process of its own: session, signals, ``__main__``."""

import atexit
import builtins
import contextlib
import ctypes
import fcntl
import logging
import os
import select
import signal
import sys
import weakref
from types import ModuleType

from knock.pool.link import leave
from knock.pool.mechanism import has

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36
_ORPHANED = 1

# Never freed, so that what the handlers of others hold is not closed or removed on the way.
_forgotten: list[object] = []


def forget_exit_handlers() -> None:
    """Forget what the process that this one was forked from shall do at its end.

    What it holds is not this process's to remove: temporary directories, children, files. What is
    registered from now on runs, also by libraries that registered themselves at their import.
    """
    atexit._clear()
    atexit.register(logging.shutdown)
    logging._handlerList.clear()  # type: ignore[attr-defined]
    registry = weakref.finalize._registry  # type: ignore[attr-defined]
    _forgotten.append(dict(registry))
    registry.clear()
    weakref.finalize._registered_with_atexit = False  # type: ignore[attr-defined]
    if (process := sys.modules.get("multiprocessing.process")) is not None:
        process._children.clear()
    if (util := sys.modules.get("multiprocessing.util")) is not None:
        util._finalizer_registry.clear()
        atexit.register(util._exit_function)


def detach() -> None:
    """Leave the session of whoever started this, with signals as a new process has them.

    SIGINT stays ignored: Ctrl-C is for the caller, who decides what becomes of the jobs.
    """
    if os.getsid(0) != os.getpid():
        os.setsid()
    signal.set_wakeup_fd(-1)
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGCHLD, signal.SIGUSR1, signal.SIGUSR2):
        signal.signal(number, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    _renumber(os.open(os.devnull, os.O_RDONLY), 0)


def _renumber(fd: int, number: int) -> None:
    """Give a descriptor this number, in place of what had it."""
    if fd == number:
        os.set_inheritable(fd, True)
        return
    os.dup2(fd, number)
    os.close(fd)


def die_with(parent_pid: int, dead_man: int) -> None:
    """Be killed by the kernel when the parent dies, or all write ends of ``dead_man`` are closed.

    Both work while C code holds the GIL. The pipe's owner is the process group, so it takes the
    children of jobs along. Where the system has neither, the nursery must do, and should it be gone
    as well, the end of the channel: nobody looks at that while a job runs.
    """
    if has("pdeathsig"):
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    # Looked at after it was armed: who died before set nothing off.
    if os.getppid() != parent_pid:
        leave(_ORPHANED)
    arm(dead_man)


def adopt_orphans() -> None:
    """Be the parent of all orphans below, whatever session they are in.

    Where the system has no such thing, those that have left their session escape.
    """
    if has("subreaper"):
        ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def arm(dead_man: int) -> None:
    """Be killed with one's process group when all write ends of this pipe are closed.

    It must be a pipe that nobody writes to: data would kill as well. Where the system has no such
    signal, only an end that has come already is seen.
    """
    if has("f_setsig"):
        fcntl.fcntl(dead_man, fcntl.F_SETSIG, signal.SIGKILL)
        fcntl.fcntl(dead_man, fcntl.F_SETOWN, -os.getpgid(0))
        flags = fcntl.fcntl(dead_man, fcntl.F_GETFL)
        fcntl.fcntl(dead_man, fcntl.F_SETFL, flags | os.O_ASYNC)
    # As above.
    if select.select([dead_man], [], [], 0)[0]:
        leave(_ORPHANED)


def disarm(dead_man: int) -> None:
    """Take ``arm`` back and close the pipe."""
    if has("f_setsig"):
        flags = fcntl.fcntl(dead_man, fcntl.F_GETFL)
        fcntl.fcntl(dead_man, fcntl.F_SETFL, flags & ~os.O_ASYNC)
    os.close(dead_man)


def make_main() -> None:
    """Give the process an empty ``__main__`` for the caller's definitions."""
    main = ModuleType("__main__")
    main.__dict__["__builtins__"] = builtins
    sys.modules["__main__"] = main


def reseed() -> None:
    """Give the random generators that were forked along states of their own."""
    for name in ("random", "numpy.random"):
        module = sys.modules.get(name)
        if module is not None:
            module.seed()


def flush_standard_streams() -> None:
    """Write out what the standard streams hold, as far as there are any and they can."""
    for stream in (sys.stdout, sys.stderr):
        # None without a console, closed by the user, or replaced by anything with a ``write``.
        with contextlib.suppress(AttributeError, OSError, ValueError):
            stream.flush()


class ScribbledStderr:
    """Standard error goes to ``scribble`` until ``restore``: what a failing boot says is kept."""

    def __init__(self, scribble: int) -> None:
        try:
            self._saved = os.dup(2)
        except OSError:  # the caller has closed it
            _renumber(os.open(os.devnull, os.O_WRONLY), 2)
            self._saved = os.dup(2)
        os.dup2(scribble, 2)

    def restore(self) -> None:
        """Put standard error back."""
        flush_standard_streams()
        os.dup2(self._saved, 2)
        os.close(self._saved)
