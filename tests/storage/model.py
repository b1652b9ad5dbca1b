"""The naive storage: one list, scanned and sorted for everything."""

from dataclasses import dataclass, replace
from functools import wraps

from knock.core.job import NOTHING_SPENT, Attempt, Claim, JobRecord, JobSpec, JobState, Spent
from knock.errors import InvalidTransitionError, StorageError
from knock.storage.base import Claimed, Counts


@dataclass(eq=False)
class Row:
    spec: JobSpec
    since: float
    arrival: int
    state: JobState = JobState.QUEUED
    token: int = 0
    spent: Spent = NOTHING_SPENT
    attempts: tuple[Attempt, ...] = ()
    result: bytes | None = None
    reason: str | None = None
    supervisor: str = ""

    def record(self):
        return JobRecord(
            spec=self.spec,
            state=self.state,
            attempts=self.attempts,
            spent=self.spent,
            run_at=self.spec.run_at,
            result=self.result,
            reason=self.reason,
            finished_at=self.since if self.state.is_final else None,
        )


def _check_open(method):
    @wraps(method)
    def checked(self, *args, **kwargs):
        if self.is_closed:
            raise StorageError("closed")
        return method(self, *args, **kwargs)

    return checked


class ListStorage:
    def __init__(self):
        self.is_closed = False
        self.rows = []
        self.heartbeats = {}
        self.moves = 0

    def _in(self, state):
        return [row for row in self.rows if row.state is state]

    def _move(self, row, state, now):
        row.state = state
        row.since = now
        row.arrival = self.moves = self.moves + 1

    @_check_open
    def enqueue(self, jobs, *, now):
        ids = []
        for spec in jobs:
            keyed = [r for r in self.rows if spec.key is not None and r.spec.key == spec.key]
            if keyed:
                ids.append(keyed[0].spec.id)
                continue
            ids.append(spec.id)
            if all(row.spec.id != spec.id for row in self.rows):
                self.moves += 1
                self.rows.append(Row(spec, now, self.moves))
        return ids

    @_check_open
    def claim(self, limit, *, now, places=None, supervisor=""):
        expired = [r for r in self._in(JobState.QUEUED) if _has_expired(r.spec, now)]
        expired.sort(key=lambda row: (row.spec.expires_at, row.spec.id))
        for row in expired:
            self._move(row, JobState.DEAD, now)
            row.reason = "expired"
        left = dict(places or {})
        claims = []
        for row in sorted(self._due(now), key=_rank):
            if len(claims) < limit and left.get(row.spec.type, 1) > 0:
                if row.spec.type in left:
                    left[row.spec.type] -= 1
                self._move(row, JobState.PROCESSING, now)
                row.token += 1
                row.supervisor = supervisor
                claims.append(Claim(row.spec, row.token, row.spent))
        queued = self._in(JobState.QUEUED)
        moments = [r.spec.run_at for r in queued if r.spec.run_at > now]
        moments += [r.spec.expires_at for r in queued if r.spec.expires_at is not None]
        return Claimed(
            jobs=claims,
            expired=[row.record() for row in expired],
            has_more=bool(self._due(now)),
            next_at=min(moments, default=None),
        )

    def _due(self, now):
        return [row for row in self._in(JobState.QUEUED) if row.spec.run_at <= now]

    @_check_open
    def settle(self, settlements, *, now):
        for settlement in settlements:
            if settlement.state is JobState.PROCESSING:
                raise InvalidTransitionError(settlement.job_id, "processing", "settle")
        stale = []
        for settlement in settlements:
            found = [
                row
                for row in self._in(JobState.PROCESSING)
                if row.spec.id == settlement.job_id and row.token == settlement.token
            ]
            if not found:
                stale.append(settlement.job_id)
                continue
            [row] = found
            self._move(row, settlement.state, now)
            if settlement.spent is not None:
                row.spent = settlement.spent
            if settlement.attempt is not None:
                row.attempts += (settlement.attempt,)
            if settlement.state is not JobState.QUEUED:
                row.result, row.reason = settlement.result, settlement.reason
            elif settlement.attempt is not None and settlement.run_at is not None:
                row.spec = replace(row.spec, run_at=settlement.run_at)
        return stale

    @_check_open
    def cancel(self, job_ids, *, now):
        chosen = self._pick(job_ids, JobState.QUEUED)
        for row in chosen:
            self._move(row, JobState.CANCELLED, now)
        return [row.spec.id for row in chosen]

    @_check_open
    def requeue(self, job_ids, *, now):
        chosen = self._pick(job_ids, JobState.DEAD)
        for row in chosen:
            self._move(row, JobState.QUEUED, now)
            row.spec = replace(row.spec, run_at=now, expires_at=None, deadline=None)
            row.spent, row.reason, row.result = NOTHING_SPENT, None, None
        return [row.spec.id for row in chosen]

    def _pick(self, job_ids, state):
        found = {row.spec.id: row for row in self._in(state)}
        return [found[job_id] for job_id in dict.fromkeys(job_ids) if job_id in found]

    @_check_open
    def get(self, job_ids):
        found = {row.spec.id: row.record() for row in self.rows}
        return [found.get(job_id) for job_id in job_ids]

    @_check_open
    def find(self, *, state, job_type=None, limit=100, newest_first=True):
        rows = [r for r in self._in(state) if job_type in (None, r.spec.type)]
        rows.sort(key=lambda row: row.arrival, reverse=newest_first)
        return [row.record() for row in rows[:limit]]

    @_check_open
    def counts(self, *, now):
        states = {state.value: len(self._in(state)) for state in JobState}
        return Counts(**states, delayed=states["queued"] - len(self._due(now)))

    @_check_open
    def purge(self, job_ids=None, *, state=None, before=None, job_type=None):
        doomed = [
            row
            for row in self.rows
            if row.state.is_final
            and state in (None, row.state)
            and job_type in (None, row.spec.type)
            and (job_ids is None or row.spec.id in job_ids)
            and (before is None or row.since < before)
        ]
        self.rows = [row for row in self.rows if row not in doomed]
        return len(doomed)

    @_check_open
    def heartbeat(self, supervisor, *, now):
        self.heartbeats[supervisor] = now

    @_check_open
    def reclaim(self, *, now, lease_seconds):
        claims = []
        for row in self._in(JobState.PROCESSING):
            if max(row.since, self.heartbeats.get(row.supervisor, 0.0)) <= now - lease_seconds:
                row.since, row.supervisor = now, ""
                row.token += 1
                claims.append(Claim(row.spec, row.token, row.spent))
        return claims

    def close(self):
        self.is_closed = True


def _has_expired(spec, now):
    return spec.expires_at is not None and spec.expires_at <= now


def _rank(row):
    return (row.spec.priority, row.spec.run_at, row.spec.id)
