"""How much memory a worker and the processes below it have resident, looked at from outside."""

import os
import resource
from collections.abc import Iterator

_PAGE_BYTES = resource.getpagesize()
# A job that has more processes than this is not followed into all of them.
_MAX_PROCESSES = 1000


def weigh(pid: int, limit: int) -> int | None:
    """Return the resident bytes of a process and its descendants; None if it cannot be told.

    Pages that several of them share count once, as far as that is needed to tell whether they are
    over ``limit``: finding out is a matter of milliseconds (``smaps_rollup``, proc(5)), and is left
    out while the plain sum is within it.
    """
    own = _resident(pid)
    if own is None or own > limit:
        return own
    below = list(_descendants(pid))
    if not below:
        return own
    total = own + sum(_resident(child) or 0 for child in below)
    if total <= limit:
        return total
    return sum(_proportional(one) for one in (pid, *below))


def _resident(pid: int) -> int | None:
    try:
        with open(f"/proc/{pid}/statm", "rb") as file:
            return int(file.read().split()[1]) * _PAGE_BYTES
    except (OSError, ValueError, IndexError):
        return None


def _proportional(pid: int) -> int:
    """The resident bytes of a process, what it shares divided by those who share it."""
    try:
        with open(f"/proc/{pid}/smaps_rollup", "rb") as file:
            text = file.read()
        start = text.index(b"\nPss:") + 5
        return int(text[start : text.index(b"kB", start)]) * 1024
    except (OSError, ValueError):
        return 0


def _descendants(pid: int) -> Iterator[int]:
    waiting, seen = [pid], 0
    while waiting and seen < _MAX_PROCESSES:
        for child in _children(waiting.pop()):
            seen += 1
            waiting.append(child)
            yield child


def _children(pid: int) -> list[int]:
    found: list[int] = []
    try:
        threads = os.listdir(f"/proc/{pid}/task")
    except OSError:
        return found
    for thread in threads:
        try:
            with open(f"/proc/{pid}/task/{thread}/children", "rb") as file:
                found += map(int, file.read().split())
        except OSError:
            continue
    return found
