"""Queues with workers, and where their supervisors run."""

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from knock.queue import Queue
from tests.queue.program import Program

MakeQueue = Callable[..., Queue]


@pytest.fixture(params=["process", "thread"])
def place(request: pytest.FixtureRequest) -> str:
    """Where the supervisor runs."""
    return str(request.param)


@pytest.fixture
def make_queue(place: str) -> Iterator[MakeQueue]:
    """Make queues that are stopped in the end, and leave no thread."""
    queues: list[Queue] = []

    def make(**options: Any) -> Queue:
        defaults: dict[str, Any] = {"concurrency": 2, "retry_delay": 0.01, "supervisor": place}
        queues.append(Queue(**(defaults | options)))
        return queues[-1]

    yield make
    for queue in queues:
        queue.stop(0.0)
    assert [t.name for t in threading.enumerate() if t.name.startswith("knock-")] == []


@pytest.fixture
def queue(make_queue: MakeQueue) -> Queue:
    """A queue that has not been started."""
    return make_queue()


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[[str], Program]]:
    """Start programs; none of them outlives its test."""
    programs: list[Program] = []

    def start_one(code: str) -> Program:
        programs.append(Program(code, tmp_path))
        return programs[-1]

    yield start_one
    for program in programs:
        program.close()
