"""Queues whose teardown asserts that nothing is left of them."""

import os
import threading
from collections.abc import Callable, Iterator
from typing import Any

import psutil
import pytest

from knock.queue import Queue

MakeQueue = Callable[..., Queue]


@pytest.fixture(params=["process", "thread"])
def place(request: pytest.FixtureRequest) -> str:
    """Where the supervisor runs."""
    return str(request.param)


@pytest.fixture
def make_queue(place: str) -> Iterator[MakeQueue]:
    """Make queues that are stopped in the end, and leave no process, descriptor or thread."""
    queues: list[Queue] = []
    descriptors = open_descriptors()

    def make(**options: Any) -> Queue:
        defaults: dict[str, Any] = {"concurrency": 2, "retry_delay": 0.01, "supervisor": place}
        queues.append(Queue(**(defaults | options)))
        return queues[-1]

    yield make
    for queue in queues:
        queue.stop(0.0)
    assert psutil.Process().children(recursive=True) == []
    assert open_descriptors() == descriptors
    assert [t.name for t in threading.enumerate() if t.name.startswith("knock-")] == []


@pytest.fixture
def queue(make_queue: MakeQueue) -> Queue:
    """A queue that has not been started."""
    return make_queue()


def open_descriptors() -> set[str]:
    return {fd for fd in os.listdir("/proc/self/fd") if _is_open(fd)}


def _is_open(fd: str) -> bool:
    # The listing itself uses one, which is closed by now.
    return os.path.exists(f"/proc/self/fd/{fd}") or os.path.islink(f"/proc/self/fd/{fd}")
