"""The storage in memory: the model that the other storages must match."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import islice, takewhile
from operator import attrgetter
from typing import Any

from knock.core.job import (
    TRANSITIONS,
    Attempt,
    Claim,
    JobRecord,
    JobSpec,
    JobState,
    Settlement,
    Trigger,
    Usage,
)
from knock.errors import InvalidTransitionError, StorageError
from knock.storage.agenda import Agenda
from knock.storage.base import Claimed, Counts
from knock.storage.lane import Entry
from knock.storage.lineup import Lineup

_CLAIMED = TRANSITIONS[JobState.QUEUED, Trigger.CLAIM]
_EXPIRED = TRANSITIONS[JobState.QUEUED, Trigger.EXPIRE]
_CANCELLED = TRANSITIONS[JobState.QUEUED, Trigger.CANCEL]
_REQUEUED = TRANSITIONS[JobState.DEAD, Trigger.REQUEUE]
_SETTLED = frozenset(after for (before, _), after in TRANSITIONS.items() if before is _CLAIMED)

_spec_fields = attrgetter(*JobSpec.__slots__)
_own_fields = attrgetter("since", "token", "spent", "result", "reason", "supervisor")


class InMemoryStorage:
    """Keeps jobs in this process's memory; nothing outlives the process.

    See ``Storage``. For one thread at a time. It can be pickled, so that it can travel to a
    supervisor process and back. A ``now`` before the latest one that it was told is taken for the
    latest. ``find`` and ``purge`` of one type look at every job in that state; all else costs
    O(log n) or better per job.
    """

    def __init__(self) -> None:
        # Each in the order in which its jobs came into that state.
        self._states: dict[JobState, dict[int, Entry]] = {state: {} for state in JobState}
        self._queued = self._states[JobState.QUEUED]
        self._processing = self._states[JobState.PROCESSING]
        self._completed = self._states[JobState.COMPLETED]
        self._dead = self._states[JobState.DEAD]
        self._cancelled = self._states[JobState.CANCELLED]
        self._keys: dict[str, int] = {}
        self._lineup = Lineup()
        self._expiries = Agenda()
        self._heartbeats: dict[str, float] = {}
        self._now = 0.0
        self._is_closed = False

    def enqueue(self, jobs: Sequence[JobSpec], *, now: float) -> list[int]:
        """See ``Storage``."""
        now = self._tick(now)
        queued = self._queued
        add = self._lineup.add
        ids = []
        for spec in jobs:
            job_id = spec.id
            if spec.key is not None and (known := self._keys.get(spec.key)) is not None:
                ids.append(known)
                continue
            ids.append(job_id)
            if job_id in queued or self._is_past_queued(job_id):
                continue
            queued[job_id] = entry = Entry(spec, now)
            add(entry, now)
            if spec.key is not None:
                self._keys[spec.key] = job_id
            if spec.expires_at is not None:
                self._expiries.add(spec.expires_at, entry)
        return ids

    def _is_past_queued(self, job_id: int) -> bool:
        return (
            job_id in self._processing
            or job_id in self._completed
            or job_id in self._dead
            or job_id in self._cancelled
        )

    def claim(
        self,
        limit: int,
        *,
        now: float,
        places: Mapping[str, int] | None = None,
        supervisor: str = "",
    ) -> Claimed:
        """See ``Storage``."""
        now = self._tick(now)
        expired = self._expire(now)
        lineup = self._lineup
        lineup.ripen(now)
        entries = lineup.take(limit, places or {})
        return Claimed(
            jobs=self._hand_out(entries, now, supervisor),
            expired=expired,
            has_more=len(self._queued) > len(lineup.delayed),
            next_at=_earliest(lineup.delayed.next_at(), self._expiries.next_at()),
        )

    def _expire(self, now: float) -> list[JobRecord]:
        expired = self._expiries.take_until(now)
        for entry in expired:
            del self._queued[entry.spec.id]
            self._end(entry, _EXPIRED, now)
            entry.reason = "expired"
            self._lineup.remove(entry)
        return [entry.record() for entry in expired]

    def _hand_out(self, entries: list[Entry], now: float, supervisor: str) -> list[Claim]:
        queued, processing = self._queued, self._processing
        claims = []
        for entry in entries:
            spec = entry.spec
            del queued[spec.id]
            processing[spec.id] = entry
            entry.state = _CLAIMED
            entry.since = now
            entry.supervisor = supervisor
            entry.token = token = entry.token + 1
            if spec.expires_at is not None:
                self._expiries.strike()
            claims.append(Claim(spec, token, entry.spent))
        return claims

    def settle(self, settlements: Sequence[Settlement], *, now: float) -> list[int]:
        """See ``Storage``."""
        now = self._tick(now)
        _check_moves(settlements)
        processing, states = self._processing, self._states
        stale = []
        for settlement in settlements:
            job_id = settlement.job_id
            entry = processing.get(job_id)
            if entry is None or entry.token != settlement.token:
                stale.append(job_id)
                continue
            del processing[job_id]
            if settlement.attempt is not None:
                entry.attempts += (settlement.attempt,)
            if settlement.spent is not None:
                entry.spent = settlement.spent
            entry.state = state = settlement.state
            entry.since = now
            states[state][job_id] = entry
            if state is JobState.QUEUED:
                self._put_back(entry, settlement, now)
            else:
                entry.result = settlement.result
                entry.reason = settlement.reason
        return stale

    def _put_back(self, entry: Entry, settlement: Settlement, now: float) -> None:
        if settlement.attempt is not None and settlement.run_at is not None:
            entry.spec = replace(entry.spec, run_at=settlement.run_at)
        self._lineup.add(entry, now)
        if entry.spec.expires_at is not None:
            self._expiries.add(entry.spec.expires_at, entry)

    def cancel(self, job_ids: Sequence[int], *, now: float) -> list[int]:
        """See ``Storage``."""
        now = self._tick(now)
        cancelled = []
        for job_id in job_ids:
            entry = self._queued.pop(job_id, None)
            if entry is None:
                continue
            self._end(entry, _CANCELLED, now)
            self._lineup.remove(entry)
            if entry.spec.expires_at is not None:
                self._expiries.strike()
            cancelled.append(job_id)
        return cancelled

    def requeue(self, job_ids: Sequence[int], *, now: float) -> list[int]:
        """See ``Storage``."""
        now = self._tick(now)
        requeued = []
        for job_id in job_ids:
            dead = self._dead.pop(job_id, None)
            if dead is None:
                continue
            # A new entry: the old one may still be a tombstone in its lane.
            entry = Entry(replace(dead.spec, run_at=now, expires_at=None, deadline=None), now)
            entry.state = _REQUEUED
            entry.token = dead.token
            entry.attempts = dead.attempts
            self._queued[job_id] = entry
            self._lineup.add(entry, now)
            requeued.append(job_id)
        return requeued

    def get(self, job_ids: Sequence[int]) -> list[JobRecord | None]:
        """See ``Storage``."""
        self._check_open()
        entries = map(self._find_entry, job_ids)
        return [None if entry is None else entry.record() for entry in entries]

    def _find_entry(self, job_id: int) -> Entry | None:
        for members in self._states.values():
            entry = members.get(job_id)
            if entry is not None:
                return entry
        return None

    def find(
        self,
        *,
        state: JobState,
        job_type: str | None = None,
        limit: int = 100,
        newest_first: bool = True,
    ) -> list[JobRecord]:
        """See ``Storage``."""
        self._check_open()
        members = self._states[state].values()
        entries: Iterable[Entry] = reversed(members) if newest_first else members
        if job_type is not None:
            entries = (entry for entry in entries if entry.spec.type == job_type)
        return [entry.record() for entry in islice(entries, max(limit, 0))]

    def counts(self, *, now: float) -> Counts:
        """See ``Storage``."""
        self._lineup.ripen(self._tick(now))
        return Counts(
            queued=len(self._queued),
            delayed=len(self._lineup.delayed),
            processing=len(self._processing),
            completed=len(self._completed),
            dead=len(self._dead),
            cancelled=len(self._cancelled),
        )

    def purge(
        self,
        job_ids: Sequence[int] | None = None,
        *,
        state: JobState | None = None,
        before: float | None = None,
        job_type: str | None = None,
    ) -> int:
        """See ``Storage``."""
        self._check_open()
        purged = 0
        for final in (JobState.COMPLETED, JobState.DEAD, JobState.CANCELLED):
            if state is None or state is final:
                members = self._states[final]
                chosen = _chosen(members, job_ids, before)
                for entry in chosen:
                    if job_type is None or entry.spec.type == job_type:
                        self._forget(members, entry)
                        purged += 1
        return purged

    def _forget(self, members: dict[int, Entry], entry: Entry) -> None:
        spec = entry.spec
        del members[spec.id]
        if spec.key is not None:
            del self._keys[spec.key]
        if entry.state is not JobState.COMPLETED:
            # It may be a tombstone: keep its place, but not what it weighs.
            entry.spec = replace(spec, payload=b"")

    def heartbeat(self, supervisor: str, *, now: float) -> None:
        """See ``Storage``."""
        self._heartbeats[supervisor] = self._tick(now)

    def reclaim(self, *, now: float, lease_seconds: float) -> list[Claim]:
        """See ``Storage``."""
        now = self._tick(now)
        oldest = now - lease_seconds
        claims = []
        for entry in self._processing.values():
            if max(entry.since, self._heartbeats.get(entry.supervisor, 0.0)) <= oldest:
                entry.since = now
                entry.supervisor = ""
                entry.token += 1
                claims.append(Claim(entry.spec, entry.token, entry.spent))
        return claims

    def close(self) -> None:
        """See ``Storage``."""
        self._is_closed = True

    def _check_open(self) -> None:
        if self._is_closed:
            raise StorageError("the storage was closed")

    def _tick(self, now: float) -> float:
        self._check_open()
        self._now = max(self._now, now)
        return self._now

    def _end(self, entry: Entry, state: JobState, now: float) -> None:
        entry.state = state
        entry.since = now
        self._states[state][entry.spec.id] = entry

    def __getstate__(self) -> dict[str, Any]:
        # Plain tuples pickle several times faster than objects; the indexes are soon made anew.
        return {
            "jobs": {
                state: [
                    (
                        _spec_fields(entry.spec),
                        _own_fields(entry),
                        [_row_of(attempt) for attempt in entry.attempts],
                    )
                    for entry in members.values()
                ]
                for state, members in self._states.items()
            },
            "heartbeats": self._heartbeats,
            "now": self._now,
            "is_closed": self._is_closed,
        }

    def __setstate__(self, state: dict[str, Any]) -> None:
        InMemoryStorage.__init__(self)  # the indexes are made anew
        self._heartbeats = state["heartbeats"]
        self._now = state["now"]
        self._is_closed = state["is_closed"]
        for job_state, rows in state["jobs"].items():
            members = self._states[job_state]
            for spec_fields, own_fields, attempts in rows:
                entry = _make_entry(JobSpec(*spec_fields), job_state, own_fields)
                entry.attempts = tuple(map(_attempt_of, attempts))
                members[entry.spec.id] = entry
                if entry.spec.key is not None:
                    self._keys[entry.spec.key] = entry.spec.id
        self._line_up()

    def _line_up(self) -> None:
        in_order = attrgetter("spec.run_at", "spec.id")
        for entry in sorted(self._queued.values(), key=in_order):
            self._lineup.add(entry, self._now)
            if entry.spec.expires_at is not None:
                self._expiries.add(entry.spec.expires_at, entry)


def _check_moves(settlements: Iterable[Settlement]) -> None:
    if {settlement.state for settlement in settlements} <= _SETTLED:
        return
    for settlement in settlements:
        if settlement.state not in _SETTLED:
            move = f"be settled as {settlement.state.value}"
            raise InvalidTransitionError(settlement.job_id, _CLAIMED.value, move)


def _chosen(
    members: Mapping[int, Entry], job_ids: Iterable[int] | None, before: float | None
) -> list[Entry]:
    if job_ids is not None:
        entries = [members[job_id] for job_id in dict.fromkeys(job_ids) if job_id in members]
        return [entry for entry in entries if before is None or entry.since < before]
    if before is None:
        return list(members.values())
    return list(takewhile(lambda entry: entry.since < before, members.values()))


def _row_of(attempt: Attempt) -> tuple[Any, ...]:
    return (
        attempt.number,
        attempt.outcome,
        tuple(attempt.usage),
        attempt.queue_wait_seconds,
        attempt.worker_pid,
        attempt.error,
        attempt.death,
        attempt.log,
        attempt.output,
    )


def _attempt_of(row: tuple[Any, ...]) -> Attempt:
    number, outcome, usage, *others = row
    return Attempt(number, outcome, Usage(*usage), *others)


def _make_entry(spec: JobSpec, state: JobState, fields: tuple[Any, ...]) -> Entry:
    entry = Entry(spec, fields[0])
    entry.state = state
    _, entry.token, entry.spent, entry.result, entry.reason, entry.supervisor = fields
    return entry


def _earliest(first: float | None, second: float | None) -> float | None:
    if first is None or second is None:
        return second if first is None else first
    return min(first, second)
