"""Pools that are closed in the end, and what their jobs tell by."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.process.harness import Drive


@pytest.fixture
def make_drive() -> Iterator[Callable[..., Drive]]:
    drives: list[Drive] = []

    def make(**settings: Any) -> Drive:
        drives.append(Drive(**settings))
        return drives[-1]

    yield make
    for drive in drives:
        drive.close()


@pytest.fixture(params=["forkserver", "spawn", "fork"])
def drive(request: pytest.FixtureRequest, make_drive: Callable[..., Drive]) -> Drive:
    """A pool of each start method, without a worker."""
    return make_drive(start_method=request.param)
