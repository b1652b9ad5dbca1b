"""Child processes that a job leaves behind: killed and reaped before anything else is run.

A worker is a child subreaper: descendants that left their session, or whose parent is gone, fall
to it, and are found among its children.
"""

import os
import signal
import sys
from collections.abc import Iterable
from time import monotonic, sleep
from typing import Any

from knock.pool.bookkeeping import forget_children, pools, retire_pools
from knock.pool.descriptor import still_unreadable
from knock.pool.kin import all_children, children
from knock.pool.mechanism import has

# How long a sweep may take; what cannot be reaped by then is left to the nursery.
SWEEP_SECONDS = 1.0
# How long the thread of a pool may take to note a process that it has started.
_NOTE_SECONDS = 0.2
# How often a dying process is looked at where it has no descriptor to wait on.
_LOOK_SECONDS = 0.001
# Helpers that a library starts once for the process, and that end with it by themselves.
_TRACKERS = (
    "multiprocessing.resource_tracker",
    "loky.backend.resource_tracker",
    "joblib.externals.loky.backend.resource_tracker",
)
_ANY = os.WEXITED | os.WNOHANG | os.WNOWAIT
# Taken at import: a job may put its own functions in their place.
_waitid, _waitpid, _kill, _close = os.waitid, os.waitpid, os.kill, os.close
_pidfd_open: Any = getattr(os, "pidfd_open", None)
_P_ALL, _WNOHANG, _exit_code = os.P_ALL, os.WNOHANG, os.waitstatus_to_exitcode
_send_signal: Any = getattr(signal, "pidfd_send_signal", None)
_SIGKILL = signal.SIGKILL
_modules, _sleep = sys.modules, sleep


class Leftovers:
    """Knows the children that the worker had when this was made: they stay, all later ones go.

    So do those that a ``multiprocessing.Pool`` of that time starts later in place of others.
    ``is_beaten``: one could not be ended.
    """

    def __init__(self) -> None:
        self._kept = set(children())
        self._pools = pools()
        self.is_beaten = False

    def sweep(self) -> int:
        """End and reap what was started since; return how many were alive.

        Takes half a microsecond where there is nothing.
        """
        try:
            _waitid(_P_ALL, 0, _ANY)
        except ChildProcessError:
            return 0
        ended: set[int] = set()
        until, is_sure = monotonic() + SWEEP_SECONDS, True
        while monotonic() < until:
            strays = self._strays()
            if strays:
                ended |= _end(strays, until)
                is_sure = False
            elif is_sure:
                return len(ended)
            else:
                # One that ended during the look may have hidden another.
                is_sure = True
        # They were sent SIGKILL: not waited for, nor counted, again.
        self._kept.update(self._strays())
        self.is_beaten = True
        return len(ended)

    def _strays(self) -> set[int]:
        found = set(all_children()) - self._kept
        if found:
            found.difference_update(_trackers())
        if found and self._pools:
            self._leave_out_pools(found)
        return found

    def _leave_out_pools(self, found: set[int]) -> None:
        until = monotonic() + _NOTE_SECONDS
        while True:
            found.difference_update(pid for pool in self._pools for pid in pool.pids())
            is_short = any(pool.is_short for pool in self._pools)
            if not found or not is_short or monotonic() >= until:
                return
            _sleep(_LOOK_SECONDS)


def _trackers() -> Iterable[int | None]:
    for name in _TRACKERS:
        tracker = getattr(_modules.get(name), "_resource_tracker", None)
        yield getattr(tracker, "_pid", None)


def _end(pids: Iterable[int], until: float) -> set[int]:
    """End and reap these, as far as there is time; return which were alive."""
    exit_codes: dict[int, int] = {}
    living = {pid for pid in pids if not _reap(pid, exit_codes)}
    # Before they are killed: it would start others.
    retire_pools(living, until - monotonic())
    if has("pidfd"):
        _kill_and_reap(living, exit_codes, until)
    else:
        _kill_and_look(living, exit_codes, until)
    forget_children(exit_codes)
    return living


def _kill_and_reap(pids: Iterable[int], exit_codes: dict[int, int], until: float) -> None:
    dying = {pidfd: pid for pid in pids if (pidfd := _strike(pid)) is not None}
    still_unreadable(dying, until - monotonic())
    for pidfd, pid in dying.items():
        _close(pidfd)
        _reap(pid, exit_codes)


def _kill_and_look(pids: Iterable[int], exit_codes: dict[int, int], until: float) -> None:
    # Their numbers are their own until they are reaped, here.
    for pid in pids:
        try:
            _kill(pid, _SIGKILL)
        except OSError:  # as in ``_strike``
            pass
    left = set(pids)
    while left := {pid for pid in left if not _reap(pid, exit_codes)}:
        if monotonic() >= until:
            return
        _sleep(_LOOK_SECONDS)


def _reap(pid: int, exit_codes: dict[int, int]) -> bool:
    """Reap a child that has ended; False if it lives."""
    try:
        reaped, status = _waitpid(pid, _WNOHANG)
    except ChildProcessError:  # somebody else was quicker
        return True
    if reaped:
        exit_codes[pid] = _exit_code(status)
    return bool(reaped)


def _strike(pid: int) -> int | None:
    """Kill a child; return a descriptor that tells of its end, or None if there is none."""
    try:
        pidfd: int = _pidfd_open(pid)
    except OSError:  # no descriptor is left: after those that got one
        return None
    try:
        _send_signal(pidfd, _SIGKILL)
    except OSError:  # it has ended, or it is another user's by now
        pass
    return pidfd
