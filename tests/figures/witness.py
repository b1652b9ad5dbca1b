"""Counting by somebody else than knock: a file that the jobs append to."""

import os
import time
from collections import Counter
from pathlib import Path


def note(path: str, *words: object) -> None:
    """Append one line. One small O_APPEND write is never torn or mixed with another's."""
    fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        os.write(fd, (" ".join(map(str, words)) + "\n").encode())
    finally:
        os.close(fd)


def notes(path: str) -> list[list[str]]:
    """Return the lines, as words."""
    try:
        return [line.split() for line in Path(path).read_text().splitlines()]
    except FileNotFoundError:
        return []


def counts(path: str) -> Counter[str]:
    """Return how often each first word was noted."""
    return Counter(words[0] for words in notes(path))


def processes_of(session_leader: int) -> list[int]:
    """Return the living processes that descend from ``session_leader``, itself left out."""
    parents = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            if fields[0] != "Z":
                parents[int(entry.name)] = int(fields[1])
    found, fringe = [], {session_leader}
    while fringe:
        fringe = {pid for pid, parent in parents.items() if parent in fringe}
        found += fringe
    return sorted(found)


def wait_until(fact, seconds: float) -> float | None:
    """Return after how many seconds ``fact()`` was true; None if it was not in time."""
    started = time.monotonic()
    while not fact():
        if time.monotonic() - started > seconds:
            return None
        time.sleep(0.002)
    return time.monotonic() - started
