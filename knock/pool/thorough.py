"""The rest of what a job can change of its process, put back where that was asked for.

Not on by default: jobs may share an environment, a path or threads on purpose, and looking at all
of it takes longer than a small job.
"""

import _thread
import decimal
import gc
import locale
import os
import resource
import socket
import sys
import threading
import time
import warnings
from collections.abc import Iterator

# How long threads that are about to end, as those of an executor, are waited for.
_ENDING_SECONDS = 0.1
_LOOK_SECONDS = 0.001
# By number, since some have two names: NOFILE is OFILE, too.
_LIMITS = {
    getattr(resource, name): name for name in dir(resource)[::-1] if name.startswith("RLIMIT_")
}
# Taken at import: a job may put its own in their place.
_sys, _os, _environ = sys, os, os.environ
_setlocale, _LC_ALL = locale.setlocale, locale.LC_ALL
_getrlimit, _setrlimit = resource.getrlimit, resource.setrlimit
_get_timeout, _set_timeout = socket.getdefaulttimeout, socket.setdefaulttimeout
_get_depth, _set_depth = sys.getrecursionlimit, sys.setrecursionlimit
_getcontext, _setcontext = decimal.getcontext, decimal.setcontext
_gc_is_enabled, _gc_enable, _gc_disable = gc.isenabled, gc.enable, gc.disable
_get_threshold, _set_threshold = gc.get_threshold, gc.set_threshold
_reset_warnings, _enumerate = warnings.resetwarnings, threading.enumerate
_count_threads, _monotonic, _sleep = _thread._count, time.monotonic, time.sleep


class Thorough:
    """Knows what the process was like when this was made, and makes it so again."""

    def __init__(self) -> None:
        self._environment = dict(_environ)
        self._locale = _setlocale(_LC_ALL)
        self._depth = _get_depth()
        self._path, self._entries = sys.path, list(sys.path)
        self._limits = {which: _getrlimit(which) for which in _LIMITS}
        self._context = _getcontext().copy()
        self._timeout = _get_timeout()
        self._collects, self._threshold = _gc_is_enabled(), _get_threshold()
        self._warnings = list(warnings.filters)
        self._threads = set(_enumerate())
        self._thread_count = _count_threads()

    def restore(self) -> list[str]:
        """Put everything back; return what could not be, as something that a job did."""
        try:
            self._restore_environment()
            self._restore_interpreter()
        except Exception as exc:  # noqa: BLE001 - jobs may have put anything there
            return [f"left what cannot be put back ({type(exc).__name__})"]
        if self._has_more_threads():
            return [*self._restore_limits(), "left threads"]
        return list(self._restore_limits())

    def _restore_environment(self) -> None:
        # The one that others have imported by name.
        _os.environ = _environ
        now, then = dict(_environ), self._environment
        if now != then:
            for name in now.keys() - then.keys():
                del _environ[name]
            _environ.update(then)

    def _restore_interpreter(self) -> None:
        if _setlocale(_LC_ALL) != self._locale:
            _setlocale(_LC_ALL, self._locale)
        _set_depth(self._depth)
        _sys.path = self._path
        if self._path != self._entries:
            self._path[:] = self._entries
        _setcontext(self._context.copy())
        _set_timeout(self._timeout)
        (_gc_enable if self._collects else _gc_disable)()
        _set_threshold(*self._threshold)
        if list(warnings.filters) != self._warnings:
            # Also forgets which warnings were decided by the others.
            _reset_warnings()
            warnings.filters[:] = self._warnings  # type: ignore[index]

    def _restore_limits(self) -> Iterator[str]:
        for which, name in _LIMITS.items():
            now, then = _getrlimit(which), self._limits[which]
            if now == then:
                continue
            try:
                _setrlimit(which, then)
            except (OSError, ValueError):
                yield f"lowered the hard limit {name}"

    def _has_more_threads(self) -> bool:
        """Whether there are threads that were not there, and that do not end at once."""
        until = _monotonic() + _ENDING_SECONDS
        while _count_threads() > self._thread_count or not self._threads.issuperset(_enumerate()):
            if _monotonic() >= until:
                return True
            _sleep(_LOOK_SECONDS)
        return False
