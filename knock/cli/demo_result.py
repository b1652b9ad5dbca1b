"""What the demo found, checked against its plan and against a serial program."""

import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

from knock.cli import demo_work
from knock.cli.demo_plan import BREAKER, FAULTS, WORDS, Fault, Plan
from knock.cli.demo_run import DemoRun
from knock.cli.demo_work import Totals
from knock.core.job import AttemptOutcome, JobRecord, JobState
from knock.errors import KnockError
from knock.outcome import Outcome
from knock.queue import QueueStats
from knock.report import PoolReport, outcome_dict


@dataclass(frozen=True, slots=True, kw_only=True)
class SerialRun:
    """What the serial program found in so many seconds; ``has_knock``: it imported knock."""

    totals: Totals
    seconds: float
    has_knock: bool


def run_serial(paths: Sequence[str]) -> SerialRun:
    """Run ``demo_work`` as a program of its own.

    Raises:
        KnockError: It fails.
    """
    command = [sys.executable, "-I", demo_work.__file__]
    run = subprocess.run(
        command, input=json.dumps(paths), capture_output=True, text=True, check=False
    )
    if run.returncode != 0:
        raise KnockError(f"the serial program failed: {run.stderr.strip()}")
    return SerialRun(**json.loads(run.stdout))


@dataclass(frozen=True, slots=True, kw_only=True)
class PlantedFault:
    """A fault, and what became of its job."""

    fault: Fault
    outcome: Outcome[Any]

    @property
    def is_as_planned(self) -> bool:
        """Whether the job ended as it was to."""
        attempts = self.outcome.attempts
        deaths = [attempt.death for attempt in attempts if attempt.death is not None]
        return (
            self.outcome.state is self.fault.state
            and tuple(attempt.outcome for attempt in attempts) == self.fault.outcomes
            and all(death.signal == self.fault.signal for death in deaths)
            and all(death.exit_code == self.fault.exit_code for death in deaths)
        )

    def to_dict(self) -> dict[str, Any]:
        """Return it as data for JSON."""
        death = self.outcome.attempts[-1].death if self.outcome.attempts else None
        return {
            "what": self.fault.what,
            "is_as_planned": self.is_as_planned,
            "signal": None if death is None else death.signal,
            "exit_code": None if death is None else death.exit_code,
            **outcome_dict(self.outcome),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class BreakerStory:
    """The breaker that was made to open.

    ``changes`` are its states with the seconds after the start of the run.
    """

    changes: list[tuple[float, str]]
    jobs: int
    completed: int
    failed_attempts: int

    @property
    def is_as_planned(self) -> bool:
        """Whether it opened and recovered, and no attempt was burnt while it was open."""
        states = [state for _, state in self.changes]
        reopened = max(0, states.count("open") - 1)
        return (
            states[:1] == ["open"]
            and states[-1:] == ["closed"]
            and self.completed == self.jobs
            and self.failed_attempts == BREAKER.threshold + reopened * BREAKER.probes
        )

    def to_dict(self) -> dict[str, Any]:
        """Return it as data for JSON."""
        return {
            "job_type": WORDS.name,
            "threshold": BREAKER.threshold,
            "is_as_planned": self.is_as_planned,
            "changes": [{"after_seconds": at, "state": state} for at, state in self.changes],
            "jobs": self.jobs,
            "completed": self.completed,
            "failed_attempts": self.failed_attempts,
        }


class DemoResult:
    """Everything that the demo has to say."""

    def __init__(self, plan: Plan, run: DemoRun, serial: SerialRun) -> None:
        self.plan = plan
        self.run = run
        self.serial = serial
        self.report = PoolReport(list(run.outcomes.values()), run.facts)
        self.faults = [
            PlantedFault(fault=fault, outcome=run.outcomes[run.faults[fault.job_type]])
            for fault in FAULTS
        ]
        self.breaker = _story_of_breaker(run)
        self.totals = _totals(run)

    @property
    def is_equal(self) -> bool:
        """Whether the totals are those of the serial program, which knows nothing of knock."""
        return self.totals == self.serial.totals and not self.serial.has_knock

    @property
    def is_accounted_for(self) -> bool:
        """Whether the queue counts each job once, and no job is dead but those that are to be."""
        stats = self.run.stats
        planned = {f.outcome.job_id for f in self.faults if f.fault.state is JobState.DEAD}
        return (
            sorted(record.spec.id for record in self.run.dead_letters) == sorted(planned)
            and stats.dead == stats.failed == len(planned)
            and stats.completed == len(self.run.outcomes) - len(planned)
            and stats.queued == stats.processing == stats.cancelled == 0
        )

    @property
    def ok(self) -> bool:
        """Whether all went as planned, the faults too."""
        is_planned = all(fault.is_as_planned for fault in self.faults)
        is_planned = is_planned and self.breaker.is_as_planned
        return self.is_equal and self.is_accounted_for and is_planned

    def to_dict(self) -> dict[str, Any]:
        """Return everything as data for JSON."""
        return {
            "ok": self.ok,
            "seed": self.plan.seed,
            "root": str(self.plan.root),
            "workers": self.report.facts.workers,
            "seconds": self.report.seconds,
            "totals": self.totals,
            "serial": asdict(self.serial),
            "totals_are_equal": self.is_equal,
            "is_accounted_for": self.is_accounted_for,
            "faults": [fault.to_dict() for fault in self.faults],
            "breaker": self.breaker.to_dict(),
            "dead_letters": [dead_letter_dict(record) for record in self.run.dead_letters],
            "stats": stats_dict(self.run.stats),
            "report": self.report.to_dict(),
        }


def _totals(run: DemoRun) -> Totals | None:
    """None if a value is missing."""
    steps = {name: [run.outcomes[job_id] for job_id in ids] for name, ids in run.steps.items()}
    if not all(outcome.ok for outcomes in steps.values() for outcome in outcomes):
        return None
    values = {name: [outcome.value for outcome in outcomes] for name, outcomes in steps.items()}
    return demo_work.add_up(values)


def _story_of_breaker(run: DemoRun) -> BreakerStory:
    outcomes = [run.outcomes[job_id] for job_id in run.steps[WORDS.name]]
    changes = [c for c in run.facts.breaker_changes if c.job_type == WORDS.name]
    return BreakerStory(
        changes=[(change.at - run.facts.started_at, change.state) for change in changes],
        jobs=len(outcomes),
        completed=sum(outcome.state is JobState.COMPLETED for outcome in outcomes),
        failed_attempts=sum(
            attempt.outcome is not AttemptOutcome.SUCCESS
            for outcome in outcomes
            for attempt in outcome.attempts
        ),
    )


def stats_dict(stats: QueueStats) -> dict[str, Any]:
    """Return counts, rates and breakers as data for JSON."""
    data = {one.name: getattr(stats, one.name) for one in fields(stats)}
    return {**data, "breakers": dict(stats.breakers)}


def dead_letter_dict(record: JobRecord) -> dict[str, Any]:
    """Return a dead letter as data for JSON."""
    return {
        "job_id": record.spec.id,
        "job_type": record.spec.type,
        "reason": record.reason,
        "attempts": len(record.attempts),
        "cause": cause_of(record),
    }


def cause_of(record: JobRecord) -> str:
    """Return how the last attempt of a dead job ended, in a few words."""
    if not record.attempts:
        return ""
    attempt = record.attempts[-1]
    if attempt.death is not None:
        return f"{attempt.outcome}: {attempt.death.cause}"
    return f"{attempt.outcome}: {attempt.error.type_name}" if attempt.error else attempt.outcome
