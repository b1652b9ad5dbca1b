"""One probe's processes: started in a session of their own, found by a mark, all ended by it."""

import os
import select
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self

_MARK = "KNOCK_PROBE_MARK"
# How many lines a cell prints.
FACTS = 3
_ROOT = str(Path(__file__).parents[2])


class Cell:
    """The processes of one pool under one probe."""

    def __init__(self, peer: str, probe: str) -> None:
        self._folder = tempfile.TemporaryDirectory()
        self.folder = self._folder.name
        self._needle = f"{_MARK}={uuid.uuid4().hex}".encode()
        name, _, value = self._needle.decode().partition("=")
        path = os.pathsep.join(filter(None, [_ROOT, os.environ.get("PYTHONPATH")]))
        self.process = subprocess.Popen(
            [sys.executable, "-m", "perf.probes.cell", peer, probe, self.folder],
            env={**os.environ, "PYTHONPATH": path, name: value},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        self.process.kill()
        # Until there is none: one may start another meanwhile.
        while alive := self.alive():
            for pid in alive:
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    continue
            time.sleep(0.01)
        assert self.process.stdout is not None
        self.process.stdout.close()
        self.process.wait()
        self._folder.cleanup()

    def alive(self) -> set[int]:
        """Return the pids of all that carry the mark and are no zombies."""
        found = set()
        for entry in os.listdir("/proc"):
            if entry.isdigit():
                try:
                    if self._needle in Path(f"/proc/{entry}/environ").read_bytes():
                        found.add(int(entry))
                except OSError:
                    continue
        return {pid for pid in found if is_alive(pid)}

    def lines(self, until: float) -> list[bytes]:
        """Return what the cell prints until it ends, or until so late (monotonic)."""
        assert self.process.stdout is not None
        fd, data = self.process.stdout.fileno(), b""
        while (left := until - time.monotonic()) > 0:
            if select.select([fd], [], [], left)[0]:
                piece = os.read(fd, 1 << 16)
                data += piece
                # There is no end if another process of the pool holds the pipe open.
                if not piece or data.count(b"\n") == FACTS:
                    break
        return data.splitlines()

    def pid_of(self, name: str) -> int | None:
        """Return the pid that a job has noted."""
        try:
            return int(Path(self.folder, name).read_text())
        except (FileNotFoundError, ValueError):
            return None


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def wait_until(fact: Callable[[], object], seconds: float) -> float | None:
    """Return after how many seconds it was so; None if it was not in time."""
    started = time.monotonic()
    while not fact():
        if time.monotonic() - started > seconds:
            return None
        time.sleep(0.01)
    return time.monotonic() - started
