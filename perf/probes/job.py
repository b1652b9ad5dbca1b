"""What the jobs of a probe do: all but one return their number after a moment."""

import os
import signal
import threading
import time
from typing import Any

JOBS = 8
BAD = 3
LONG = 10**12


class TwoArgumentsError(Exception):
    """It is pickled with one argument, and cannot be made of one."""

    def __init__(self, first: object, second: object) -> None:
        super().__init__(first)


def call(item: tuple[str, int, str]) -> Any:
    """Do what the probe wants of the bad job, or return the number of a good one."""
    probe, number, folder = item
    if number != BAD:
        time.sleep(0.05)
        return number
    with open(os.path.join(folder, "pid"), "w") as file:
        file.write(str(os.getpid()))
    return misbehave(probe)


def misbehave(probe: str) -> Any:
    match probe:
        case "sigkill":
            os.kill(os.getpid(), signal.SIGKILL)
        case "exit":
            os._exit(0)
        case "exception":
            raise TwoArgumentsError(1, 2)
        case "result":
            return threading.Lock()
        case "timeout":
            return sum(range(LONG))
    raise AssertionError(probe)


def busy(item: tuple[str, int, str]) -> int:
    """Hold the GIL in C, or loop in Python, for longer than anybody waits."""
    probe, number, folder = item
    with open(os.path.join(folder, f"busy-{number}"), "w") as file:
        file.write(str(os.getpid()))
    if probe == "orphans":
        return sum(range(LONG))
    until = time.monotonic() + 600
    while time.monotonic() < until:
        pass
    return number
