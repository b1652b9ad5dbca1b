"""What a supervisor tells its caller, after it was stored."""

from collections import deque
from collections.abc import Iterable, Sequence

from knock.core.events import Notice
from knock.core.job import AttemptOutcome, JobRecord, JobState, Settlement
from knock.errors import JobNotFoundError
from knock.storage.base import Storage
from knock.supervisor.mailbox import Mailbox
from knock.supervisor.messages import (
    Events,
    Finished,
    LogEntry,
    Logged,
    Outbound,
    QueueEvent,
    Reply,
)

_FINAL_EVENTS = {
    JobState.COMPLETED: "completed",
    JobState.DEAD: "dead",
    JobState.CANCELLED: "cancelled",
}
_PURGE_AT_ONCE = 1_000


class Publisher:
    """Gathers what is to be told in one turn of the loop, and hands it over at its end."""

    def __init__(self, storage: Storage, mailbox: Mailbox, retention: float | None) -> None:
        self._storage = storage
        self._mailbox = mailbox
        self._retention = retention
        self._out: list[Outbound] = []
        self._finished: list[JobRecord] = []
        self._events: list[QueueEvent] = []
        self._lines: list[LogEntry] = []
        self._watched: dict[int, list[int]] = {}
        self._expiring: deque[tuple[float, int]] = deque()
        self.tells_finished = False
        self.names: frozenset[str] = frozenset()
        self.unconsumed = 0

    # --- those who wait for one job ---

    def watch(self, request: int, job_id: int) -> None:
        """Reply when the job is final."""
        [record] = self._storage.get([job_id])
        if record is None:
            self.reply(request, error=JobNotFoundError(job_id))
        elif record.state.is_final:
            self.reply(request, record)
        else:
            self._watched.setdefault(job_id, []).append(request)

    def unwatch(self, request: int) -> None:
        """Forget a request."""
        for job_id, requests in list(self._watched.items()):
            if request in requests:
                requests.remove(request)
                if not requests:
                    del self._watched[job_id]

    # --- what has happened ---

    def settled(self, settlements: Sequence[Settlement], stale: Sequence[int], now: float) -> None:
        """Tell what a batch of settlements did."""
        refused = set(stale)
        final = [
            settlement.job_id
            for settlement in settlements
            if settlement.state is not JobState.QUEUED and settlement.job_id not in refused
        ]
        if self.names:
            for settlement in settlements:
                if settlement.job_id not in refused:
                    self._settlement_event(settlement, now)
        if final:
            self._final(final, now)

    def _settlement_event(self, settlement: Settlement, now: float) -> None:
        attempt = settlement.attempt
        if settlement.state is not JobState.QUEUED:
            name = _FINAL_EVENTS[settlement.state]
        elif attempt is not None and attempt.outcome is not AttemptOutcome.RELEASED:
            name = "retrying"
        else:
            return
        if name in self.names:
            [record] = self._storage.get([settlement.job_id])
            event = QueueEvent(
                name,
                now,
                settlement.job_id,
                "" if record is None else record.spec.type,
                attempt,
                settlement.run_at,
                settlement.reason,
            )
            self._events.append(event)

    def ended_unrun(self, records: Iterable[JobRecord], now: float) -> None:
        """Tell of jobs that the storage itself cancelled or buried."""
        ids: list[int] = []
        for record in records:
            ids.append(record.spec.id)
            name = _FINAL_EVENTS[record.state]
            if name in self.names:
                event = QueueEvent(
                    name, now, record.spec.id, record.spec.type, reason=record.reason
                )
                self._events.append(event)
        if ids:
            self._final(ids, now)

    def _final(self, job_ids: list[int], now: float) -> None:
        if self.tells_finished or (self._watched and not self._watched.keys().isdisjoint(job_ids)):
            records = [r for r in self._storage.get(job_ids) if r is not None]
            for record in records:
                for request in self._watched.pop(record.spec.id, ()):
                    self.reply(request, record)
            if self.tells_finished:
                self._finished.extend(records)
        if self._retention == 0:
            self._storage.purge(job_ids)
        elif self._retention is not None:
            self._expiring.extend((now + self._retention, job_id) for job_id in job_ids)

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
        """Tell a line that a job logged."""
        self._lines.append(entry)

    def tell(self, message: Outbound) -> None:
        """Tell anything else."""
        self._out.append(message)

    def reply(self, request: int, value: object = None, error: Exception | None = None) -> None:
        """Answer a request."""
        self._out.append(Reply(request, value, error))

    # --- turns ---

    def flush(self) -> None:
        """Hand over what has gathered."""
        if self._finished:
            self.unconsumed += len(self._finished)
            self._out.append(Finished(self._finished))
            self._finished = []
        if self._events:
            self._out.append(Events(self._events))
            self._events = []
        if self._lines:
            self._out.append(Logged(self._lines))
            self._lines = []
        if self._out:
            messages, self._out = self._out, []
            self._mailbox.put(messages)

    # --- retention ---

    def next_purge(self) -> float | None:
        """When ``purge`` has something to do."""
        return self._expiring[0][0] if self._expiring else None

    def purge(self, now: float) -> None:
        """Delete completed and cancelled jobs whose time is over."""
        due: list[int] = []
        while self._expiring and self._expiring[0][0] <= now and len(due) < _PURGE_AT_ONCE:
            due.append(self._expiring.popleft()[1])
        if due:
            # Dead ones stay, and what was queued again is not final.
            self._storage.purge(due, state=JobState.COMPLETED)
            self._storage.purge(due, state=JobState.CANCELLED)
