"""Functions for batches."""

import os
import random
import signal
import time
from typing import Any

import numpy as np

from tests.process import jobs as process_jobs
from tests.witness import Gate, Witness

spin = process_jobs.spin


def square(x: int) -> int:
    return x * x


def add(x: int, y: int, z: int = 0) -> int:
    return x + y + z


def pick(item: int) -> int:
    """Do well, or badly, as the item says."""
    match item:
        case -1:
            raise ValueError("minus one")
        case -2:
            os._exit(0)
        case -3:
            os.kill(os.getpid(), signal.SIGSEGV)
        case -4:
            spin()
    return item


def pick_second(item: tuple[Any, int]) -> int:
    return pick(item[1])


def negate_second(item: tuple[Any, int]) -> int:
    return -item[1]


def square_data(job: Any) -> int:
    return square(job.data)


def count_in(item: tuple[Witness, Any]) -> Any:
    witness, value = item
    witness.note(value)
    return value


def fail_after(item: tuple[Gate, int]) -> int:
    gate, value = item
    if value < 0:
        raise ValueError(value)
    gate.pass_through()
    return value


def wait_in(item: tuple[Witness, Gate, Any]) -> Any:
    """Note that it runs, and end when the gate is open."""
    witness, gate, value = item
    witness.note(value)
    gate.pass_through()
    return value


def fail_first(item: tuple[Witness, int]) -> int:
    witness, value = item
    witness.note(value)
    if witness.count(value) == 1:
        raise ValueError("the first time")
    return value


def draw(item: int) -> tuple[float, float]:
    return random.random(), float(np.random.random())


def draw_on_second(witness: Witness) -> float:
    """Fail once after drawing, so that the second attempt shows whether it draws the same."""
    drawn = random.random()
    witness.note(drawn)
    if len(witness.facts()) == 1:
        raise ValueError("once more")
    return drawn


def environment(name: str) -> tuple[str | None, str]:
    return os.environ.get(name), os.getcwd()


_VALUE: list[Any] = []


def initialize(value: Any) -> None:
    _VALUE.append(value)


def initialized(item: int) -> tuple[int, list[Any]]:
    return item, _VALUE


def fail_to_initialize() -> None:
    raise RuntimeError("the initializer says no")


def nap(seconds: float) -> float:
    time.sleep(seconds)
    return seconds
