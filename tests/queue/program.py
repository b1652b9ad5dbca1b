"""Whole programs as tests run them."""

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import psutil

ROOT = Path(__file__).parents[2]

SERVICE = """
import signal
from knock.queue import Queue

queue = Queue(supervisor={place!r}, concurrency=1)

@queue.process("work")
def work(job):
    import time
    print("working", flush=True)
    time.sleep({seconds})
    print("worked", flush=True)

before = [signal.getsignal(n) for n in (signal.SIGTERM, signal.SIGINT)]
queue.add_many("work", range(2))
queue.run()
assert [signal.getsignal(n) for n in (signal.SIGTERM, signal.SIGINT)] == before
print("returned", queue.get_stats().queued)
"""


def environment() -> dict[str, str]:
    return os.environ | {"PYTHONPATH": str(ROOT)}


def run(code: str, *, how: str = "file", tmp_path: Path) -> "subprocess.CompletedProcess[str]":
    """Run a program as a file, from standard input or by ``-c``."""
    code = textwrap.dedent(code)
    command = [sys.executable]
    if how == "file":
        path = tmp_path / "program.py"
        path.write_text(code)
        command.append(str(path))
    elif how == "-c":
        command += ["-c", code]
    return subprocess.run(
        command,
        check=False,
        input=code if how == "stdin" else None,
        stdin=subprocess.DEVNULL if how != "stdin" else None,
        env=environment(),
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
    )


class Program:
    """A program that runs until it is told to end; its output is read by line."""

    def __init__(self, code: str, tmp_path: Path) -> None:
        path = tmp_path / "program.py"
        path.write_text(textwrap.dedent(code))
        self.process = subprocess.Popen(
            [sys.executable, "-u", str(path)],
            env=environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def line(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def family(self) -> list[psutil.Process]:
        return psutil.Process(self.process.pid).children(recursive=True)

    def end(self) -> tuple[int, str]:
        assert self.process.stdout is not None
        with self.process.stdout:
            output = self.process.stdout.read()
        return self.process.wait(timeout=30), output

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        assert self.process.stdout is not None
        self.process.stdout.close()


def assert_gone(processes: list[psutil.Process]) -> None:
    _, alive = psutil.wait_procs(processes, timeout=10)
    assert alive == []
