"""The demo's queue: jobs go in, records and events come out."""

import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from knock.cli.demo_plan import FAULTS, FLAKY, HASHES, STEPS, WORDS, Plan, Step
from knock.core.job import JobRecord
from knock.outcome import Outcome
from knock.queue import QueueEvent, QueueInstance, QueueStats
from knock.run.progress import Display, choose_display, progress_line
from knock.supervisor.facts import BreakerChange, RunFacts, WorkerExit

_RETRY_DELAY = 0.05
# The progress is looked at so often.
_LOOK_SECONDS = 0.2
# A line where there is no terminal; it is all over too soon for one every ten seconds.
_LINE_SECONDS = 2.0
_BREAKER_STATES = {
    "breaker_opened": "open",
    "breaker_half_opened": "half_open",
    "breaker_closed": "closed",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoRun:
    """What became of the jobs.

    ``outcomes`` has every job by its id. ``steps`` has for each step the ids of its jobs in the
    order of the modules, ``faults`` those of the planted jobs by their type. ``stats`` are those of
    the queue when nothing was left to do.
    """

    outcomes: dict[int, Outcome[Any]]
    steps: dict[str, list[int]]
    faults: dict[str, int]
    dead_letters: list[JobRecord]
    stats: QueueStats
    facts: RunFacts


@dataclass(slots=True)
class Witness:
    """What the queue's events told. The handlers run one after the other on another thread.

    ``outage`` is a file: while it exists, one step fails.
    """

    outage: Path
    exits: list[WorkerExit] = field(default_factory=list)
    changes: list[BreakerChange] = field(default_factory=list)
    retries: int = 0

    def listen(self, queue: QueueInstance) -> None:
        """Hear of everything from now on."""
        queue.on("retrying", self._retrying)
        queue.on("worker_exited", self._worker_exited)
        for name in _BREAKER_STATES:
            queue.on(name, self._breaker_changed)

    def _retrying(self, _: QueueEvent) -> None:
        self.retries += 1

    def _worker_exited(self, event: QueueEvent) -> None:
        death, worker = event.death, event.worker
        if death is not None and worker is not None:
            self.exits.append(
                WorkerExit(at=event.at, worker=worker, cause=death.cause, pid=death.pid)
            )

    def _breaker_changed(self, event: QueueEvent) -> None:
        state = _BREAKER_STATES[event.name]
        self.changes.append(BreakerChange(at=event.at, job_type=event.job_type, state=state))
        if event.job_type == WORDS.name and state == "open":
            # As if somebody had been called: the next probe finds it repaired.
            self.outage.unlink(missing_ok=True)


class Jobs:
    """The ids of the jobs that were added, and the file that each is about."""

    def __init__(self, plan: Plan, outage: Path) -> None:
        self._plan = plan
        self._outage = str(outage)
        self.faults: dict[str, int] = {}
        self.steps: dict[str, list[int]] = {}
        self.items: dict[int, str] = {}

    def add_to(self, queue: QueueInstance) -> None:
        """Add all jobs."""
        path = self._plan.paths[self._plan.flaky]
        for fault in FAULTS:
            job_id = queue.add(fault.job_type, path, priority="high")
            self.faults[fault.job_type] = job_id
            self.items[job_id] = path
        for step in STEPS:
            self.steps[step.name] = self._add_step(queue, step)

    def _add_step(self, queue: QueueInstance, step: Step) -> list[int]:
        is_done_by_flaky = step is HASHES
        plan = self._plan
        indices = [i for i in plan.order if not (is_done_by_flaky and i == plan.flaky)]
        paths = [plan.paths[index] for index in indices]
        data = [(path, self._outage) for path in paths] if step is WORDS else paths
        added = queue.add_many(step.name, data, priority=step.priority)
        self.items.update(zip(added, paths, strict=True))
        ids = {plan.flaky: self.faults[FLAKY.job_type], **dict(zip(indices, added, strict=True))}
        return [ids[index] for index in range(len(plan.paths))]


def run_jobs(plan: Plan, workers: int, outage: Path) -> DemoRun:
    """Do everything on a queue, and return when it is done. ``outage``: a path for a file."""
    outage.touch()
    queue, witness, jobs = _make_queue(workers), Witness(outage), Jobs(plan, outage)
    witness.listen(queue)
    jobs.add_to(queue)
    started_at = time.time()
    with queue:
        _watch(queue, witness, len(jobs.items))
        dead_letters = queue.get_dead_letter_items(len(jobs.items))
        stats = queue.get_stats()
    ended_at = time.time()
    outcomes = {
        job_id: Outcome[Any](index, item, queue.get_job(job_id))
        for index, (job_id, item) in enumerate(jobs.items.items())
    }
    attempts = [attempt for outcome in outcomes.values() for attempt in outcome.attempts]
    facts = RunFacts(
        started_at=started_at,
        ended_at=ended_at,
        workers=workers,
        busy_seconds=sum(attempt.usage.wall_seconds for attempt in attempts),
        worker_exits=tuple(witness.exits),
        breaker_changes=tuple(witness.changes),
        attempts=Counter(attempt.outcome for attempt in attempts),
    )
    return DemoRun(
        outcomes=outcomes,
        steps=jobs.steps,
        faults=jobs.faults,
        dead_letters=dead_letters,
        stats=stats,
        facts=facts,
    )


def _make_queue(workers: int) -> QueueInstance:
    queue = QueueInstance(
        concurrency=workers, retry_delay=_RETRY_DELAY, preload=[HASHES.processor.__module__]
    )
    for step in STEPS:
        queue.process(step.name, step.processor, **step.options)
    for fault in FAULTS:
        queue.process(fault.job_type, fault.processor, **fault.options)
    return queue


def _watch(queue: QueueInstance, witness: Witness, total: int) -> None:
    display = _choose_display()
    try:
        while not _is_done(queue):
            _show(queue, witness, total, display)
    finally:
        display.close()


def _is_done(queue: QueueInstance) -> bool:
    try:
        queue.join(_LOOK_SECONDS)
    except TimeoutError:
        return False
    return True


def _show(queue: QueueInstance, witness: Witness, total: int, display: Display) -> None:
    stats = queue.get_stats()
    display.update(stats.completed + stats.failed, stats.failed, witness.retries, total)


def _choose_display() -> Display:
    is_terminal = sys.stderr is not None and sys.stderr.isatty()
    return choose_display(None) if is_terminal or sys.stderr is None else _Lines(time.monotonic())


class _Lines:
    """See ``Display``: a plain line now and then."""

    def __init__(self, started_at: float) -> None:
        self._started_at = started_at
        self._next_at = started_at + _LINE_SECONDS

    def update(self, done: int, failed: int, retried: int, total: int | None) -> None:
        """See ``Display``."""
        now = time.monotonic()
        if now >= self._next_at:
            self._next_at = now + _LINE_SECONDS
            line = progress_line(done, failed, retried, total, now - self._started_at)
            sys.stderr.write(line + "\n")

    def next_update(self) -> float | None:
        """See ``Display``."""
        return max(0.0, self._next_at - time.monotonic())

    def close(self) -> None:
        """See ``Display``."""
