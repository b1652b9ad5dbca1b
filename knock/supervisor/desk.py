"""The supervisor's desk: what callers and running jobs ask for, and what it makes of it."""

from collections.abc import Callable, Sequence
from operator import eq
from typing import Any

from knock.core.events import (
    CancelRequested,
    Event,
    JobsAdded,
    PauseRequested,
    PolicySet,
    ResumeRequested,
    StopRequested,
)
from knock.core.job import JobSpec
from knock.core.machine import Machine
from knock.errors import (
    ConfigError,
    KnockError,
    ProcessorNotFoundError,
    QueueClosedError,
    StorageUnavailableError,
)
from knock.pool.pool import Pool
from knock.protocol import message as wire
from knock.protocol.addition import ADD_VERB, decode_additions, encode_ids, encode_refusal
from knock.protocol.field import check_payload
from knock.storage.base import Storage
from knock.supervisor.arrears import Arrears, added
from knock.supervisor.messages import (
    Call,
    Cancel,
    Consumed,
    Enqueue,
    Inbound,
    Pause,
    Register,
    Resume,
    Stop,
    Subscribe,
    SupervisorStats,
    Unwatch,
    Watch,
    WatchIdle,
)
from knock.supervisor.options import SupervisorOptions
from knock.supervisor.outage import Outage
from knock.supervisor.publisher import Publisher
from knock.supervisor.tally import Tally

# Jobs that jobs add get ids that no caller counts to from 1 ...
FIRST_ID_OF_JOBS = 1 << 40
# ... beginning with the microsecond in which the supervisor started, which no earlier one on the
# same storage has reached.
_IDS_PER_SECOND = 1_000_000


class Desk:
    """Turns requests into calls of the storage, replies, and events for the machine.

    Whoever waits for an answer hears of a storage that cannot be reached; see ``Arrears`` for the
    others.
    """

    def __init__(
        self,
        options: SupervisorOptions,
        storage: Storage,
        *,
        machine: Machine,
        pool: Pool,
        publisher: Publisher,
        tally: Tally,
        outage: Outage,
        arrears: Arrears,
    ) -> None:
        self._options = options
        self._storage = storage
        self._machine = machine
        self._pool = pool
        self._publisher = publisher
        self._tally = tally
        self._outage = outage
        self._arrears = arrears
        self._types = set(options.policies)
        self._max_payload_bytes = options.max_payload_bytes
        self._idle_requests: list[int] = []
        self._next_id = max(FIRST_ID_OF_JOBS, int(options.clock.now() * _IDS_PER_SECOND))
        self._is_paused = False
        self._is_full = False
        self._is_stopping = False
        self._verbs: dict[str, Callable[..., Any]] = {
            "get": storage.get,
            "find": storage.find,
            "purge": storage.purge,
            "pids": pool.pids,
        }

    # --- callers ---

    def take(self, message: Inbound, now: float) -> Sequence[Event]:
        """Do what a caller asks; return what the machine must hear of it."""
        match message:
            case Enqueue():
                return self._enqueue(message, now)
            case Consumed(records):
                self._publisher.unconsumed -= records
            case Call():
                return self._call(message, now)
            case Watch(request, job_id):
                self._watch(request, job_id, cancels=False)
            case Cancel(request, job_id):
                if self._watch(request, job_id, cancels=True):
                    return [CancelRequested([job_id])]
            case WatchIdle(request):
                self._idle_requests.append(request)
            case Unwatch(request):
                self._unwatch(request)
            case _:
                return self._order(message)
        return []

    def _order(self, message: Register | Pause | Resume | Stop | Subscribe) -> Sequence[Event]:
        match message:
            case Register(job_type, policy, definition):
                if definition is not None:
                    self._pool.define(definition)
                self._types.add(job_type)
                return [PolicySet(job_type, policy)]
            case Pause():
                return self._set_paused(is_paused=True)
            case Resume():
                return self._set_paused(is_paused=False)
            case Stop(deadline):
                self._is_stopping = True
                return [StopRequested(deadline)]
            case Subscribe(finished, names):
                self._publisher.tells_finished = finished
                self._publisher.names = names
        return []

    def _enqueue(self, message: Enqueue, now: float) -> Sequence[Event]:
        for blob in message.definitions:
            self._pool.define(blob)
        if message.request is None:
            return self._arrears.store(message.jobs, now)
        try:
            ids = self._storage.enqueue(message.jobs, now=now)
        except KnockError as exc:
            self._publisher.reply(message.request, error=exc)
            return []
        # Those that have a key may be stored already.
        self._tally.added += sum(map(eq, ids, [job.id for job in message.jobs]))
        self._publisher.reply(message.request, ids)
        return added(message.jobs)

    def _watch(self, request: int, job_id: int, *, cancels: bool) -> bool:
        try:
            return self._publisher.watch(request, job_id, cancels=cancels)
        except KnockError as exc:
            self._publisher.reply(request, error=exc)
            return False

    def _call(self, message: Call, now: float) -> Sequence[Event]:
        try:
            value = self._answer(message, now)
        except (KnockError, TypeError, ValueError) as exc:
            self._publisher.reply(message.request, error=exc)
            return []
        self._publisher.reply(message.request, value)
        if message.verb == "requeue" and value:
            return [JobsAdded(0, now)]
        return []

    def _answer(self, message: Call, now: float) -> Any:
        match message.verb:
            case "counts":
                return self._storage.counts(now=now)
            case "requeue":
                return self._storage.requeue(*message.args, now=now)
            case "facts":
                return self._tally.facts(now)
            case "snapshot":
                return self.stats(), self._storage.counts(now=now), self._machine.breakers()
        verb = self._verbs.get(message.verb)
        if verb is None:
            raise ConfigError(f"no such verb: {message.verb!r}")
        return verb(*message.args, **message.kwargs)

    def stats(self) -> SupervisorStats:
        """Return the counts of now."""
        return self._tally.stats(
            in_flight=self._machine.in_flight,
            workers=len(self._pool.pids()),
            is_paused=self._is_paused,
        )

    def _unwatch(self, request: int) -> None:
        if request in self._idle_requests:
            self._idle_requests.remove(request)
        else:
            self._publisher.unwatch(request)

    # --- pausing, by the caller or because its outbox is full ---

    def _set_paused(self, *, is_paused: bool) -> Sequence[Event]:
        was_held = self._is_paused or self._is_full
        self._is_paused = is_paused
        return self._held_event(was_held=was_held)

    def throttle(self) -> Sequence[Event]:
        """Hold dispatching while the caller has too much to take, and go on when it has not."""
        limit = self._options.outbox_limit
        if limit is None:
            return []
        was_held = self._is_paused or self._is_full
        waiting = self._publisher.unconsumed
        if waiting >= limit:
            self._is_full = True
        elif waiting <= limit // 2:
            self._is_full = False
        return self._held_event(was_held=was_held)

    def _held_event(self, *, was_held: bool) -> Sequence[Event]:
        is_held = self._is_paused or self._is_full
        if is_held == was_held:
            return []
        return [PauseRequested() if is_held else ResumeRequested()]

    # --- at the end of a turn ---

    def look_up(self, now: float) -> None:
        """Reply to those who wait until there is nothing to do, if that is so."""
        if not self._idle_requests or self._machine.in_flight or self._arrears:
            return
        if not self._outage.is_on(now):
            try:
                counts = self._storage.counts(now=now)
            except StorageUnavailableError:
                self._outage.began(now)
                return
            self._outage.ended()
            if not counts.queued and not counts.processing:
                for request in self._idle_requests:
                    self._publisher.reply(request)
                self._idle_requests.clear()

    # --- running jobs ---

    def answer(self, call: wire.Call, now: float) -> tuple[bytes, Sequence[Event]]:
        """Do what a running job asks; return the answer and what the machine must hear."""
        if call.verb != ADD_VERB:
            return encode_refusal(ConfigError(f"no such verb: {call.verb!r}")), []
        jobs = decode_additions(call.body, self._next_id, now)
        self._next_id += len(jobs)
        try:
            self._check_addition(jobs)
            ids = self._storage.enqueue(jobs, now=now)
        except (KnockError, LookupError) as exc:
            return encode_refusal(exc), []
        self._tally.added += len(ids)
        return encode_ids(ids), added(jobs)

    def _check_addition(self, jobs: Sequence[JobSpec]) -> None:
        if self._is_stopping:
            raise QueueClosedError("the queue is stopping")
        for job in jobs:
            if job.type not in self._types:
                raise ProcessorNotFoundError(job.type)
            if self._max_payload_bytes is not None:
                check_payload(job.payload, self._max_payload_bytes, "data")
