"""Clocks that jump: of the system between two supervisors, and of one that stood still for hours.

While a supervisor runs, the system's clock is not read: see ``test_only_the_clock_reads_clocks``.
"""

import ast
import os
import signal
from pathlib import Path
from time import time
from typing import Any

import pytest

from knock.core.job import AttemptOutcome, JobOptions, JobState
from knock.pool.clock import Clock
from knock.storage.memory import InMemoryStorage
from knock.supervisor.messages import Ended, Stop
from tests.process import jobs as make
from tests.witness import wait_for

HOUR = 3600.0
YEAR = 365.25 * 24 * HOUR
JUMPS = {"+1 h": HOUR, "-1 h": -HOUR, "+10 y": 10 * YEAR, "-10 y": -10 * YEAR, "leap": -1.0}


class Counting(InMemoryStorage):
    """Counts how often it is asked for jobs."""

    claims = 0

    def claim(self, *args: Any, **kwargs: Any) -> Any:
        self.claims += 1
        return super().claim(*args, **kwargs)


class Jumping(Clock):
    """A clock that somebody can set."""

    def __init__(self) -> None:
        start = Clock.start()
        Clock.__init__(self, start.wall_anchor, start.monotonic_anchor_ns)
        object.__setattr__(self, "offset", 0.0)

    def jump(self, seconds: float) -> None:
        object.__setattr__(self, "offset", self.offset + seconds)

    def now(self) -> float:
        return super().now() + self.offset


@pytest.fixture
def place() -> str:
    return "thread"


@pytest.mark.process
@pytest.mark.parametrize("jump", JUMPS.values(), ids=list(JUMPS))
def test_jobs_of_another_time_are_run_once_and_at_leisure(call_up, witness, jump):
    storage = Counting()
    now = Clock.start()
    first = call_up(storage=storage, clock=now)
    done = first.add(*[(make.note, witness, f"first {n}") for n in range(5)])
    for job_id in done:
        first.watch(job_id)
    left = first.add(
        *[(make.note, witness, f"left {n}") for n in range(5)], run_at=now.now() + 5 * YEAR
    )
    first.client.post(Stop(None))
    first.hear_last(Ended)
    storage.claims = 0

    later = Clock(now.wall_anchor + jump, now.monotonic_anchor_ns)
    second = call_up(storage=storage, clock=later)
    second._next_id = 100
    added = second.add(*[(make.note, witness, f"second {n}") for n in range(5)])
    soon = second.add((make.note, witness, "soon"), run_at=later.now() + 0.2)
    for job_id in added + soon:
        assert second.watch(job_id).state is JobState.COMPLETED
    if jump > 5 * YEAR:
        for job_id in left:
            assert second.watch(job_id).state is JobState.COMPLETED
    expected = 11 + (5 if jump > 5 * YEAR else 0)
    assert len(witness.facts()) == len(set(witness.facts())) == expected
    # No job is due for years, or none is left: nobody asks again and again.
    claims = storage.claims
    # A storage's time does not go back: what is added for a moment that it has seen is due there.
    run_at = max(later.now(), now.now()) + HOUR
    with pytest.raises(TimeoutError):
        second.client.watch(second.add((make.square, 1), run_at=run_at)[0], 0.3)
    assert storage.claims - claims < 10
    assert len(storage.get(left)) == 5
    assert None not in storage.get(done + left)


@pytest.mark.process
def test_a_gap_of_hours_is_over_for_delays_and_costs_nobody(call_up, witness, gate):
    clock = Jumping()
    storage = Counting()
    caller = call_up(storage=storage, clock=clock, workers=3)
    patient = caller.add((make.wait, witness, gate, "patient"))
    delayed = caller.add((make.note, witness, "delayed"), run_at=clock.now() + 4 * HOUR)
    later = caller.add((make.note, witness, "later"), run_at=clock.now() + 20 * HOUR)
    witness.wait(1)
    clock.jump(8 * HOUR)
    assert caller.watch(delayed[0]).state is JobState.COMPLETED
    gate.open()
    assert caller.value(patient[0]) == "patient"
    assert caller.get(later[0]).state is JobState.QUEUED
    assert sorted(witness.facts()) == ["delayed", "patient"]
    assert storage.claims < 20


@pytest.mark.process
@pytest.mark.parametrize("place", ["process"])
def test_what_ended_in_time_while_its_supervisor_stood_still_has_ended_in_time(
    call_up, witness, gate
):
    caller = call_up(workers=1)
    [job_id] = caller.add((make.wait, witness, gate), options=JobOptions(timeout=1.5))
    witness.wait(1)
    os.kill(caller.client.pid, signal.SIGSTOP)
    gate.open()
    # Longer than the limit, and than what passes for a supervisor that is merely busy.
    until = caller.clock.now() + 3.0
    wait_for(lambda: caller.clock.now() > until)
    os.kill(caller.client.pid, signal.SIGCONT)
    record = caller.watch(job_id)
    assert [attempt.outcome for attempt in record.attempts] == [AttemptOutcome.SUCCESS]


# What a module may read a clock with that can be set.
SETTABLE = {"time", "time_ns", "CLOCK_REALTIME", "datetime"}
READS_IT = {"knock/pool/clock.py", "knock/cli/demo_run.py"}


def test_only_the_clock_reads_clocks():
    root = Path(__file__).parents[2]
    readers = set()
    for path in (root / "knock").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            is_import = isinstance(node, ast.ImportFrom) and node.module in ("time", "datetime")
            names = {alias.name for alias in node.names} if is_import else set()
            is_use = isinstance(node, ast.Attribute) and getattr(node.value, "id", "") == "time"
            if names & SETTABLE or (is_use and node.attr in SETTABLE):
                readers.add(path.relative_to(root).as_posix())
    assert readers == READS_IT


def test_a_clock_reads_the_time_of_the_system_once():
    clock = Clock.start()
    far = Clock(clock.wall_anchor + YEAR, clock.monotonic_anchor_ns)
    assert abs(clock.now() - time()) < 60
    assert far.now() - clock.now() == pytest.approx(YEAR, abs=1)
    assert far.at(far.monotonic_anchor_ns) == far.wall_anchor
