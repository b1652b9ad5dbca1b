"""Pools that are closed in the end, and what their jobs tell by."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.process.harness import Drive
from tests.witness import Gate, Witness


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


@pytest.fixture
def witness(tmp_path: Path) -> Witness:
    return Witness(str(tmp_path / "witness"))


@pytest.fixture
def gate(tmp_path: Path) -> Iterator[Gate]:
    gate = Gate(str(tmp_path / "gate"))
    yield gate
    gate.open()
