"""What a supervisor tells its caller, after it was stored."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from knock.core.commands import (
    Notice,
)
from knock.core.job import AttemptOutcome, JobRecord, JobState, Settlement
from knock.errors import JobNotFoundError, StorageUnavailableError
from knock.storage.base import Storage
from knock.supervisor.backlog import Backlog
from knock.supervisor.mailbox import Mailbox
from knock.supervisor.messages import (
    Events,
    Finished,
    LogEntry,
    Outbound,
    QueueEvent,
    Reply,
)
from knock.supervisor.outage import Outage

_FINAL_EVENTS = {
    JobState.COMPLETED: "completed",
    JobState.DEAD: "dead",
    JobState.CANCELLED: "cancelled",
}


class _Change(NamedTuple):
    """A job's change of state, of which there is something to tell; ``name`` is its event's.

    ``settlement`` is None where the storage itself made it.
    """

    job_id: int
    is_final: bool
    name: str | None
    at: float
    settlement: Settlement | None = None


class Publisher:
    """Gathers what is to be told in one turn of the loop, and hands it over at its end.

    What is told of jobs is looked up in the storage then, and waits while that is away.
    ``ended`` are the jobs that came to an end since somebody emptied the list.
    """

    def __init__(self, storage: Storage, mailbox: Mailbox, outage: Outage) -> None:
        self._storage = storage
        self._mailbox = mailbox
        self._outage = outage
        self._out: list[Outbound] = []
        self._changes: list[_Change] = []
        self._events: list[QueueEvent] = []
        self._log = Backlog()
        # By job: who waits for its end, and whether to hear only if it was cancelled.
        self._watched: dict[int, list[tuple[int, bool]]] = {}
        self.ended: list[int] = []
        self.tells_finished = False
        self.names: frozenset[str] = frozenset()
        self.unconsumed = 0

    @property
    def is_behind(self) -> bool:
        """Whether something is still to be looked up."""
        return bool(self._changes)

    # --- those who wait for one job ---

    def watch(self, request: int, job_id: int, *, cancels: bool = False) -> bool:
        """Reply when the job is final; return False if it is.

        The reply is its record, or, to somebody who ``cancels`` it, whether it was cancelled: False
        if it was final before.
        """
        [record] = self._storage.get([job_id])
        if record is None:
            self.reply(request, error=JobNotFoundError(job_id))
        elif record.state.is_final:
            self.reply(request, False if cancels else record)
        else:
            self._watched.setdefault(job_id, []).append((request, cancels))
            return True
        return False

    def unwatch(self, request: int) -> None:
        """Forget a request."""
        for job_id, waiting in list(self._watched.items()):
            rest = [one for one in waiting if one[0] != request]
            if rest:
                self._watched[job_id] = rest
            else:
                del self._watched[job_id]

    # --- what has happened ---

    def settled(self, settlements: Sequence[Settlement], stale: Sequence[int], now: float) -> None:
        """Tell what a batch of settlements did."""
        refused = set(stale)
        for settlement in settlements:
            job_id = settlement.job_id
            if job_id not in refused:
                is_final = settlement.state is not JobState.QUEUED
                if is_final:
                    self.ended.append(job_id)
                name = _event_of(settlement) if self.names else None
                if self._is_of_interest(job_id, name, is_final=is_final):
                    change = _Change(job_id, is_final, name, now, settlement)
                    self._changes.append(change)

    def ended_unrun(self, records: Iterable[JobRecord], now: float) -> None:
        """Tell of jobs that the storage itself cancelled or buried."""
        for record in records:
            job_id, name = record.spec.id, _FINAL_EVENTS[record.state]
            self.ended.append(job_id)
            if self._is_of_interest(job_id, name, is_final=True):
                self._changes.append(_Change(job_id, True, name, now))

    def _is_of_interest(self, job_id: int, name: str | None, *, is_final: bool) -> bool:
        return (is_final and (self.tells_finished or job_id in self._watched)) or (
            name in self.names
        )

    def noticed(self, notice: Notice) -> None:
        """Tell what the machine said of itself."""
        if notice.name in self.names:
            event = QueueEvent(
                str(notice.name),
                notice.at,
                job_type=notice.job_type,
                worker=notice.worker,
                death=notice.death,
                detail=notice.detail,
            )
            self._events.append(event)

    def logged(self, entry: LogEntry) -> None:
        """Tell what was logged in a worker, unless there is too much of it."""
        self._log.add(entry)

    def tell(self, message: Outbound) -> None:
        """Tell anything else."""
        self._out.append(message)

    def reply(self, request: int, value: object = None, error: Exception | None = None) -> None:
        """Answer a request."""
        self._out.append(Reply(request, value, error))

    # --- turns ---

    def flush(self, now: float, *, is_last: bool = False) -> None:
        """Hand over what has gathered; the log only if the caller takes what it is sent."""
        if self._log and (is_last or not self._mailbox.wants_write):
            self._out.append(self._log.take())
        if self._changes and not self._outage.is_on(now):
            self._look_up(now)
        if self._events:
            self._out.append(Events(self._events))
            self._events = []
        if self._out:
            messages, self._out = self._out, []
            self._mailbox.put(messages)

    def _look_up(self, now: float) -> None:
        try:
            records = self._storage.get([change.job_id for change in self._changes])
        except StorageUnavailableError:
            self._outage.began(now)
            return
        self._outage.ended()
        finished: list[JobRecord] = []
        changes, self._changes = self._changes, []
        for change, record in zip(changes, records, strict=True):
            if record is None:
                continue
            if change.name in self.names:
                self._events.append(_event(change.name, change, record))
            if not change.is_final:
                continue
            if self.tells_finished:
                finished.append(record)
            for request, cancels in self._watched.pop(change.job_id, ()):
                self.reply(request, record.state is JobState.CANCELLED if cancels else record)
        if finished:
            self.unconsumed += len(finished)
            self._out.append(Finished(finished))


def _event_of(settlement: Settlement) -> str | None:
    if settlement.state is not JobState.QUEUED:
        return _FINAL_EVENTS[settlement.state]
    attempt = settlement.attempt
    is_release = attempt is None or attempt.outcome is AttemptOutcome.RELEASED
    return None if is_release else "retrying"


def _event(name: str, change: _Change, record: JobRecord) -> QueueEvent:
    event = QueueEvent(name, change.at, change.job_id, record.spec.type, reason=record.reason)
    settlement = change.settlement
    if settlement is not None:
        event.attempt = settlement.attempt
        event.run_at = settlement.run_at
        event.reason = settlement.reason
    return event
