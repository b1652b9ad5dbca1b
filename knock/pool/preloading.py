"""Modules that are imported before the workers are, and the threads that they leave running.

A fork copies the thread that calls it and none of the others, with every lock as it happens to be:
what another thread held stays held for ever. So who has more than one thread must not be forked.
"""

import _thread
import importlib
import os
import time
from collections.abc import Sequence

# How long threads that are about to end, as those of an executor, are waited for.
_ENDING_SECONDS = 0.1
_LOOK_SECONDS = 0.001


def import_all(names: Sequence[str]) -> None:
    """Import these modules. Raises whatever they raise."""
    for name in names:
        importlib.import_module(name)


def import_watched(names: Sequence[str]) -> list[str]:
    """Import these modules; return those that left threads running, if any still do.

    To be called while this process has one thread. Raises whatever they raise.
    """
    culprits = []
    count = count_threads()
    for name in names:
        importlib.import_module(name)
        before, count = count, _settled_count(count)
        if count > before:
            culprits.append(name)
    return culprits if count > 1 else []


def _settled_count(before: int) -> int:
    count = count_threads()
    limit = time.monotonic() + _ENDING_SECONDS
    while count > before and time.monotonic() < limit:
        time.sleep(_LOOK_SECONDS)
        count = count_threads()
    return count


def count_threads() -> int:
    """Count the threads of this process, those that no Python code has started included."""
    try:
        return len(os.listdir("/proc/self/task"))
    except OSError:
        return _thread._count() + 1


def warning_of(culprits: Sequence[str]) -> str:
    """Say what it means for the workers that these modules left threads running."""
    modules = "the preloaded module" if len(culprits) == 1 else "the preloaded modules"
    return (
        f"{modules} {', '.join(culprits)} left threads running, so workers are not forked: "
        "each is a new interpreter that imports what is preloaded itself, which takes longer"
    )
