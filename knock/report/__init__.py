"""The report of a batch."""

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from functools import cached_property
from typing import Any, Generic, TypeVar, overload

from knock.core.job import Attempt, JobState
from knock.errors import JobsFailedError
from knock.outcome import Outcome
from knock.report.failure import FailureGroup, failure_line, group_failures
from knock.report.render import rate, render, utilisation
from knock.report.statistic import PERCENTILE_METHOD, Statistics, collect
from knock.resources import HostFacts, host_facts
from knock.supervisor.facts import RunFacts
from knock.text import counted, seconds_text

__all__ = ["Outcome", "PoolReport"]

R = TypeVar("R")
D = TypeVar("D")

# A summary names so many kinds of failure.
_MAX_KINDS = 3


class PoolReport(Generic[R]):
    """What became of every item of a batch, and what it took.

    Numbers are worked out when first asked for. The host is looked at then too, unless ``host``
    was given. Nothing here changes once made.

    Attributes:
        outcomes: One per item, in the order of the input.
        facts: The run from the supervisor's side.
    """

    def __init__(
        self, outcomes: Sequence[Outcome[R]], facts: RunFacts, host: HostFacts | None = None
    ) -> None:
        self.outcomes = outcomes
        self.facts = facts
        self._host = host

    @property
    def results(self) -> list[R]:
        """The values in the order of the input.

        Raises:
            JobsFailedError: Some jobs have none; it carries this report.
        """
        self.raise_if_failed()
        return [outcome.value for outcome in self.outcomes]

    @overload
    def values(self) -> list[R | None]: ...

    @overload
    def values(self, default: D) -> list[R | D]: ...

    def values(self, default: Any = None) -> list[Any]:
        """Return the values in the order of the input, ``default`` where there is none."""
        return [outcome.value if outcome.ok else default for outcome in self.outcomes]

    @property
    def ok(self) -> bool:
        """Whether every job has a value."""
        return not self.failures

    @cached_property
    def failures(self) -> list[Outcome[R]]:
        """The outcomes without a value: dead, cancelled, or not finished when the batch ended."""
        return [outcome for outcome in self.outcomes if not outcome.ok]

    @property
    def exit_code(self) -> int:
        """What a program that did nothing else should exit with: 0 if ``ok``, else 1."""
        return 0 if self.ok else 1

    def raise_if_failed(self) -> None:
        """Do nothing if ``ok``.

        Raises:
            JobsFailedError: Some jobs have no value. It carries this report, tells of the first
                job that died (else of the first without a value), and has that one's exception
                as its cause.
        """
        if not self.ok:
            dead = (outcome for outcome in self.failures if outcome.state is JobState.DEAD)
            first = next(dead, self.failures[0])
            raise JobsFailedError(f"{self.summary()}; {failure_line(first)}", self) from (
                first.exception()
            )

    @cached_property
    def statistics(self) -> Statistics:
        """Counts, times and memory, per job type and in all."""
        return collect(self.outcomes)

    @cached_property
    def failure_groups(self) -> list[FailureGroup]:
        """The failures by job type and kind, the largest group first."""
        return group_failures(self.failures)

    @cached_property
    def host(self) -> HostFacts:
        """The host; as it was given, or as it is when first asked for."""
        return host_facts() if self._host is None else self._host

    @property
    def seconds(self) -> float:
        """How long the run took."""
        return self.facts.ended_at - self.facts.started_at

    def summary(self) -> str:
        """Return one line: how many jobs, how long, what failed."""
        kinds = self._kinds()
        return f"{self._headline()}; {kinds}" if kinds else self._headline()

    def _headline(self) -> str:
        total = len(self.outcomes)
        done = total - len(self.failures)
        jobs = counted(total, "job") if self.ok else f"{done:,} of {counted(total, 'job')}"
        workers = counted(self.facts.workers, "worker")
        return f"{jobs} completed in {seconds_text(self.seconds)} on {workers}"

    def _kinds(self) -> str:
        counts: Counter[str] = Counter()
        for group in self.failure_groups:
            counts[group.kind] += group.count
        kinds = [f"{count:,} x {kind}" for kind, count in counts.most_common(_MAX_KINDS)]
        others = counts.total() - sum(count for _, count in counts.most_common(_MAX_KINDS))
        if others:
            kinds.append(f"{others:,} x other")
        return ", ".join(kinds)

    def to_dict(self, *, outcomes: bool = False) -> dict[str, Any]:
        """Return everything as data for JSON, all numbers in seconds and bytes.

        ``outcomes`` adds one entry per job; items and values are left out: they may be anything.
        """
        facts = self.facts
        data: dict[str, Any] = {
            "ok": self.ok,
            "exit_code": self.exit_code,
            "summary": self.summary(),
            "started_at": facts.started_at,
            "ended_at": facts.ended_at,
            "seconds": self.seconds,
            "workers": facts.workers,
            "jobs_per_second": rate(self.statistics.total, self.seconds),
            "utilisation": utilisation(facts),
            "stopped_by": facts.stopped_by,
            "stale_results": facts.stale_results,
            "percentile_method": PERCENTILE_METHOD,
            "total": self.statistics.total.to_dict(),
            "types": {one.job_type: one.to_dict() for one in self.statistics.types},
            "failures": [group.to_dict() for group in self.failure_groups],
            "worker_exits": [asdict(worker_exit) for worker_exit in facts.worker_exits],
            "exit_causes": dict(facts.exit_causes),
            "workers_recycled": dict(facts.workers_recycled),
            "breaker_changes": [asdict(change) for change in facts.breaker_changes],
            "host": asdict(self.host),
        }
        if outcomes:
            data["outcomes"] = [outcome_dict(outcome) for outcome in self.outcomes]
        return data

    def to_json(self, *, outcomes: bool = False, indent: int | None = None) -> str:
        """Return ``to_dict`` as JSON."""
        return json.dumps(self.to_dict(outcomes=outcomes), indent=indent)

    def __str__(self) -> str:
        return render(
            headline=self._headline(),
            kinds=self._kinds(),
            statistics=self.statistics,
            failures=self.failure_groups,
            facts=self.facts,
            host=self.host,
        )

    def __repr__(self) -> str:
        return f"<PoolReport: {self.summary()}>"


def outcome_dict(outcome: Outcome[Any]) -> dict[str, Any]:
    """Return an outcome as data for JSON, without item and value."""
    error = outcome.error
    return {
        "index": outcome.index,
        "job_id": outcome.job_id,
        "job_type": outcome.job_type,
        "is_restored": outcome.is_restored,
        "state": outcome.state.value,
        "reason": outcome.record.reason,
        "outcome": None if outcome.outcome is None else outcome.outcome.value,
        "error": None if error is None else {"type": error.type_name, "message": error.message},
        "attempts": [_attempt_dict(attempt) for attempt in outcome.attempts],
    }


def _attempt_dict(attempt: Attempt) -> dict[str, Any]:
    death = attempt.death
    return {
        "number": attempt.number,
        "outcome": attempt.outcome.value,
        "queue_wait_seconds": attempt.queue_wait_seconds,
        **attempt.usage._asdict(),
        "worker_pid": attempt.worker_pid,
        "error": None if attempt.error is None else attempt.error.type_name,
        "exit_code": None if death is None else death.exit_code,
        "signal": None if death is None else death.signal,
        "cause": None if death is None else death.cause,
    }
