"""What ``multiprocessing`` notes of child processes, put right when they are killed for it.

Left alone, a pool whose processes vanish starts others for ever, or waits for ever for a lock that
one of them held.
"""

import os
import sys
from collections.abc import Callable, Container, Mapping
from typing import Any

# Taken at import: a job may put its own in their place.
_modules, _close = sys.modules, os.close


class PoolProcesses:
    """The processes of a ``multiprocessing.Pool``: a list that it keeps up to date."""

    def __init__(self, processes: list[Any], owner: Callable[[], Any]) -> None:
        self._processes = processes
        self._owner = owner

    def pids(self) -> list[int]:
        """Return the pids of those that the pool knows."""
        return [process.pid for process in self._processes]

    @property
    def is_short(self) -> bool:
        """Whether one is missing: the pool's thread may have started it and not noted it yet."""
        owner = self._owner()
        # One that was ended starts no other.
        is_at_work = owner is not None and owner._state == "RUN"
        return is_at_work and len(self._processes) < owner._processes


def pools() -> list[PoolProcesses]:
    """Return the processes of each ``multiprocessing.Pool`` that there is."""
    return [PoolProcesses(one._args[3], one._weakref) for one in _pool_finalizers()]


def _pool_finalizers() -> list[Any]:
    pool_module = _modules.get("multiprocessing.pool")
    if pool_module is None:
        return []
    finalizers = list(_modules["multiprocessing.util"]._finalizer_registry.values())
    return [one for one in finalizers if _is_of_pool(one, pool_module)]


def _is_of_pool(finalizer: Any, pool_module: Any) -> bool:
    owner = getattr(finalizer._callback, "__self__", None)
    return (
        isinstance(owner, type)
        and issubclass(owner, pool_module.Pool)
        # One of threads, which stay.
        and not issubclass(owner, pool_module.ThreadPool)
        and finalizer._callback.__name__ == "_terminate_pool"
    )


def retire_pools(pids: Container[int], seconds: float) -> None:
    """Let each ``multiprocessing.Pool`` that these processes belong to start no others.

    Waits up to so long for the thread that does so. The pool refuses work from now on, and is not
    ended in its own way any more: that may wait for a lock that a killed process held.
    """
    for finalizer in _pool_finalizers():
        _, _, _, processes, notifier, *threads, _ = finalizer._args
        if not any(process.pid in pids for process in processes):
            continue
        terminated = _modules["multiprocessing.pool"].TERMINATE
        for owner in (finalizer._weakref(), *threads):
            if owner is not None:
                owner._state = terminated
        finalizer.cancel()
        # Wakes the thread that starts processes, and that one the others.
        notifier.put(None)
        threads[0].join(seconds)


def forget_children(exit_codes: Mapping[int, int]) -> None:
    """Note how these children have ended, so that nobody waits for their pids or signals them."""
    process_module = _modules.get("multiprocessing.process")
    if process_module is None or not exit_codes:
        return
    for process in list(process_module._children):
        popen = process._popen
        if popen is not None and popen.pid in exit_codes:
            if popen.returncode is None:
                popen.returncode = exit_codes[popen.pid]
            process_module._children.discard(process)
    forkserver_module = _modules.get("multiprocessing.forkserver")
    if forkserver_module is not None:
        _forget_forkserver(forkserver_module._forkserver, exit_codes)


def _forget_forkserver(server: Any, exit_codes: Mapping[int, int]) -> None:
    # It would wait for the pid before it starts the next, and fail.
    if server._forkserver_pid in exit_codes:
        _close(server._forkserver_alive_fd)
        server._forkserver_address = server._forkserver_alive_fd = server._forkserver_pid = None
