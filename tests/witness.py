"""Facts that outlive a process: what jobs note in a file, and which processes there still are."""

import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = str(Path(__file__).parents[1])
LIMIT_SECONDS = 30.0
_MARK = "KNOCK_TEST_MARK"


def wait_for(is_met: Callable[[], Any], seconds: float = LIMIT_SECONDS, what: str = "it") -> Any:
    """Wait for a fact that nobody tells; return it."""
    until = time.monotonic() + seconds
    while not (fact := is_met()):
        assert time.monotonic() < until, f"{what} did not come about within {seconds} s"
        time.sleep(0.002)
    return fact


# --- what jobs did --------------------------------------------------------------------------------


@dataclass(frozen=True)
class Witness:
    """A file to which any process adds whole lines: what has been noted has happened."""

    path: str

    def note(self, fact: object) -> None:
        fd = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            os.write(fd, f"{fact}\n".encode())
        finally:
            os.close(fd)

    def facts(self) -> list[str]:
        try:
            return Path(self.path).read_text().splitlines()
        except FileNotFoundError:
            return []

    def count(self, fact: object) -> int:
        return self.facts().count(str(fact))

    def wait(self, number: int, seconds: float = LIMIT_SECONDS) -> list[str]:
        """Wait until so many facts are noted; return all."""
        wait_for(lambda: len(self.facts()) >= number, seconds, f"fact {number} in {self.path}")
        return self.facts()


@dataclass(frozen=True)
class Gate:
    """Something that jobs wait for: a file."""

    path: str

    def open(self) -> None:
        Path(self.path).touch()

    def pass_through(self) -> None:
        wait_for(lambda: os.path.exists(self.path), what="the opening of the gate")


# --- which processes there are --------------------------------------------------------------------


def is_alive(pid: int) -> bool:
    """Whether there is such a process, zombies left out."""
    return process_state(pid) not in ("Z", "X", "")


def is_zombie(pid: int) -> bool:
    return process_state(pid) == "Z"


def process_state(pid: int) -> str:
    """Return the letter of the process's state, or nothing."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return ""


def wait_gone(pids: set[int], seconds: float) -> None:
    wait_for(lambda: not any(map(is_alive, pids)), seconds, f"the end of {pids}")


class Script:
    """A Python script in a process of its own; it and all it starts can be found by a mark.

    Whatever its descendants do to their sessions and parents, they inherit the environment.
    """

    def __init__(self, *command: str, cwd: str | None = None, **environment: str) -> None:
        self.mark = uuid.uuid4().hex
        # Not of this test run: its coverage, its random seed.
        env = {"PYTHONPATH": ROOT, **os.environ, **environment, _MARK: self.mark}
        self.process = subprocess.Popen(
            [sys.executable, *command],
            env=env,
            cwd=cwd,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    @property
    def pid(self) -> int:
        return self.process.pid

    def kill(self, number: int = signal.SIGKILL) -> None:
        self.process.send_signal(number)

    def line(self) -> str:
        """Wait for the next line that the script prints."""
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            assert self.process.stderr is not None
            raise EOFError(f"the script ended: {self.process.stderr.read()}")
        return line.rstrip("\n")

    def say(self, line: str = "") -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()

    def end(self, seconds: float = LIMIT_SECONDS) -> tuple[int, str, str]:
        """Wait until it has ended; return exit code, output and errors."""
        out, err = self.process.communicate(timeout=seconds)
        return self.process.returncode, out, err

    def descendants(self) -> set[int]:
        """Return the pids of all that descend from it and live."""
        needle = f"{_MARK}={self.mark}".encode()
        found = set()
        for entry in os.listdir("/proc"):
            if entry.isdigit() and int(entry) != self.pid:
                try:
                    if needle in Path(f"/proc/{entry}/environ").read_bytes():
                        found.add(int(entry))
                except OSError:
                    continue
        return {pid for pid in found if is_alive(pid)}

    def wait_descendants_gone(self, seconds: float) -> None:
        wait_for(lambda: not self.descendants(), seconds, f"the end of {self.descendants()}")

    def close(self) -> None:
        self.process.kill()
        # First: whoever lives on holds the script's output open.
        for pid in self.descendants():
            os.kill(pid, signal.SIGKILL)
        self.process.communicate()


@contextmanager
def script(*command: str, **options: Any) -> Iterator[Script]:
    """Run a script; nothing of it survives the block."""
    running = Script(*command, **options)
    try:
        yield running
    finally:
        running.close()
