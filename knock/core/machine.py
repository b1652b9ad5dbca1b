"""The machine: every decision about a job or a worker, from events to commands."""

from collections.abc import Iterable, Mapping
from random import Random
from typing import assert_never

from knock.core.breaker import BreakerState
from knock.core.commands import (
    CancelStored,
    Command,
    EndPool,
    FailPool,
    Notice,
    NoticeName,
    Publish,
)
from knock.core.dispatch import watch_head
from knock.core.docket import Docket
from knock.core.events import (
    AttemptsEnded,
    CancelRequested,
    ClaimFailed,
    ClockStopped,
    Event,
    JobsAdded,
    JobsClaimed,
    JobsHandedBack,
    JobsSettled,
    KillDropped,
    LedgersRead,
    PauseRequested,
    PermitsRevoked,
    PolicySet,
    ResumeRequested,
    SettleFailed,
    StopRequested,
    TimePassed,
    WorkerBootFailed,
    WorkerExited,
    WorkerReady,
    WorkerWorn,
)
from knock.core.fleet import Fleet
from knock.core.job import AttemptOutcome, Claim
from knock.core.kinds import Kinds
from knock.core.policy import JobPolicy, RecyclePolicy, StopRule
from knock.core.recycling import Recycling, recycled_for
from knock.core.slot import Flight, Phase, Slot
from knock.core.tribunal import last_attempt


class Machine:
    """Events in, commands out; ``handle`` is the only way to change it.

    Commands are to be obeyed in their order. ``now`` is in UTC seconds and never goes back.
    ``rng`` is used for jitter only.
    """

    def __init__(
        self,
        *,
        workers: int,
        rng: Random,
        policies: Mapping[str, JobPolicy] | None = None,
        stop_rule: StopRule | None = None,
        recycle: RecyclePolicy | None = None,
    ) -> None:
        self._slots = [Slot(number) for number in range(workers)]
        self._kinds = Kinds(policies or {}, workers)
        self._fleet = Fleet(self._slots, Recycling(self._slots, recycle, rng))
        self._docket = Docket(self._slots, self._kinds, rng, stop_rule)
        self._cancelled_early: set[int] = set()
        self._is_paused = False
        self._is_stopping = False
        self._is_over = False
        self._notices: list[Notice] = []
        self._commands: list[Command] = []
        self.is_ended = False

    # --- what others may look at ---

    @property
    def in_flight(self) -> int:
        """How many claimed jobs the machine holds."""
        return len(self._docket)

    def breakers(self) -> dict[str, BreakerState]:
        """Return the state of the breaker of each job type that has one."""
        return self._kinds.breakers()

    def held_by(self, worker: int, ticket: int) -> Claim | None:
        """Return the job that a worker holds under this ticket, if it does."""
        flight = self._slots[worker].window.get(ticket)
        return None if flight is None else flight.claim

    def next_deadline(self) -> float | None:
        """When ``TimePassed`` is to be told if nothing else happens before; None for never."""
        moments = (
            self._fleet.next_deadline(),
            self._kinds.next_deadline(),
            None if self._is_stopping else self._docket.intake.next_deadline(),
            self._docket.outbox.next_deadline(),
        )
        return min((moment for moment in moments if moment is not None), default=None)

    # --- the one way in ---

    def start(self, now: float) -> list[Command]:
        """Return the commands that bring the pool up."""
        return self._turn(now)

    def handle(self, event: Event, now: float) -> list[Command]:
        """Take one event and return what is to be done, in order."""
        if self.is_ended:
            return []
        self._hear(event, now)
        return self._turn(now)

    def _hear(self, event: Event, now: float) -> None:  # noqa: PLR0912 - a line per event
        match event:
            case AttemptsEnded():
                self._attempts_ended(event, now)
            case JobsClaimed():
                self._jobs_claimed(event, now)
            case JobsSettled():
                self._jobs_settled(event, now)
            case JobsAdded():
                self._docket.intake.jobs_added(event, now)
            case TimePassed():
                self._commands.extend(self._fleet.time_passed(now))
            case ClockStopped():
                self._fleet.clock_stopped(event.seconds, now)
            case LedgersRead():
                self._commands.extend(self._fleet.judge_clocks(event, now))
            case JobsHandedBack():
                self._returned(event.worker, event.generation, event.tickets, now)
            case PermitsRevoked():
                self._permits_revoked(event, now)
            case KillDropped():
                self._kill_dropped(event, now)
            case WorkerReady():
                self._fleet.ready(event, now)
            case WorkerWorn():
                self._worker_worn(event)
            case WorkerBootFailed():
                self._fleet.boot_failed(event)
            case WorkerExited():
                self._worker_exited(event, now)
            case CancelRequested():
                self._cancel(event.job_ids)
            case PauseRequested():
                self._is_paused = True
                self._hold(now)
            case ResumeRequested():
                self._resume()
            case StopRequested():
                self._is_stopping = True
                self._fleet.stop(event.deadline)
                self._hold(now)
            case PolicySet():
                self._kinds.set_policy(event.job_type, event.policy, now)
                self._docket.intake.places_changed()
            case ClaimFailed():
                if self._docket.intake.failed(event, now):
                    self._cancelled_early.clear()
            case SettleFailed():
                self._docket.outbox.failed(event, now)
            case _:
                assert_never(event)

    def _resume(self) -> None:
        self._is_paused = False
        self._docket.is_held = self._is_stopping or self._is_over
        self._docket.intake.jobs_returned()

    def _turn(self, now: float) -> list[Command]:
        """Do whatever has become possible, and hand over the commands."""
        docket = self._docket
        self._kinds.tick(now)
        self._take_breaker_notices(now)
        if not self._is_over and docket.tribunal.is_over:
            self._is_over = True
            verdict = docket.tribunal.verdict
            self._notices.append(Notice(NoticeName.STOP_RULE_REACHED, now, detail=verdict))
            self._hold(now)
        self._commands.extend(self._fleet.turn(now))
        if not docket.is_held:
            self._commands.extend(docket.dispatcher.assign(now, docket.expire))
        self._claim(now)
        batch = docket.outbox.flush(now)
        if batch is not None:
            self._commands.append(batch)
        self._finish()
        commands, self._commands = self._commands, []
        return commands

    def _take_breaker_notices(self, now: float) -> None:
        notices = self._kinds.take_notices()
        if notices:
            self._notices.extend(notices)
            self._docket.intake.places_changed()
            self._docket.release_waiting(now, blocked_only=True)

    def _finish(self) -> None:
        if self._notices:
            self._commands.append(Publish(self._notices))
            self._notices = []
        if self._fleet.failure is not None:
            self.is_ended = True
            self._commands.append(FailPool(self._fleet.failure))
        elif (
            self._is_stopping
            and self._fleet.is_gone
            and not self._docket
            and not self._docket.intake.is_out
            and self._docket.outbox.is_empty
        ):
            self.is_ended = True
            self._commands.append(EndPool())

    # --- jobs come in ---

    def _claim(self, now: float) -> None:
        if self._is_stopping:
            return
        docket = self._docket
        docket.dispatcher.find_waiting(now)
        if docket.dispatcher.waiting is None:
            docket.intake.wake()
        room = 0 if docket.is_held else docket.dispatcher.room(self._kinds.held_back(now))
        least_urgent = None if docket.is_held else docket.dispatcher.least_urgent
        limit = docket.intake.wanted(now, room, least_urgent)
        if limit is not None:
            self._commands.append(
                docket.intake.ask(limit, self._kinds.places(now, docket.dispatcher.behind()))
            )

    def _jobs_claimed(self, event: JobsClaimed, now: float) -> None:
        if not self._docket.intake.answered(event):
            return
        self._docket.take(event, now)
        self._docket.dispatcher.find_waiting(now)
        if self._docket.is_behind(event.jobs):
            self._docket.intake.rest()
        cancelled, self._cancelled_early = self._cancelled_early, set()
        for claim in event.jobs:
            job_id = claim.job.id
            if self._docket.outbox.take_cancelled(job_id) or job_id in cancelled:
                self._cancel_here(job_id)
        if self._docket.is_held:
            self._docket.release_waiting(now, blocked_only=False)

    def _jobs_settled(self, event: JobsSettled, now: float) -> None:
        cancelled = self._docket.settled(event.batch, now)
        if cancelled:
            self._cancel_stored(cancelled)

    # --- jobs end ---

    def _attempts_ended(self, event: AttemptsEnded, now: float) -> None:
        slot = self._slot(event.worker, event.generation)
        if slot is None:
            return
        head = slot.head
        for ended in event.ended:
            flight = self._docket.dispatcher.pop(slot, ended.ticket)
            if flight is None:
                continue
            slot.cpu_seconds += ended.usage.cpu_seconds
            slot.kept_bytes = ended.usage.rss_before_bytes
            if flight.is_guarded and ended.outcome is not AttemptOutcome.SUCCESS:
                slot.held.add(flight.kind)
            self._docket.ended(flight, ended, slot.pid, now)
        self._head_may_have_changed(slot, head, now)

    # --- jobs come back unrun ---

    def _returned(
        self, worker: int, generation: int, tickets: Iterable[int], now: float
    ) -> Slot | None:
        slot = self._slot(worker, generation)
        if slot is None:
            return None
        head = slot.head
        flights = self._docket.dispatcher.pop_all(slot, tickets)
        slot.handed -= len(flights)
        self._head_may_have_changed(slot, head, now)
        self._docket.returned(flights, now)
        return slot

    def _head_may_have_changed(self, slot: Slot, before: Flight | None, now: float) -> None:
        """Start the clock of a new head; a word that changes nothing must not start it again."""
        if slot.head is not before:
            watch_head(slot, now)
            self._kill_cancelled(slot)

    def _hold(self, now: float) -> None:
        """Release what waits here, and take back what waits in the windows."""
        self._docket.is_held = True
        self._docket.release_waiting(now, blocked_only=False)
        self._commands.extend(self._fleet.take_back_all())

    def _permits_revoked(self, event: PermitsRevoked, now: float) -> None:
        slot = self._returned(event.worker, event.generation, event.tickets, now)
        if slot is None:
            return
        # What was wanted back and did not come has started.
        for ticket in slot.revoking.popleft() if slot.revoking else ():
            flight = slot.window.get(ticket)
            if flight is not None:
                flight.is_taken = True
        self._kill_cancelled(slot)

    def _kill_dropped(self, event: KillDropped, now: float) -> None:
        slot = self._slot(event.worker, event.generation)
        if slot is not None:
            self._fleet.kill_dropped(slot, event.ticket)
            watch_head(slot, now)
            cancelled = [ticket for ticket, f in slot.window.items() if f.is_cancelled]
            wanted = list(slot.window) if self._docket.is_held else cancelled
            self._commands.extend(self._fleet.take_back(slot, wanted))

    # --- jobs are cancelled ---

    def _cancel(self, job_ids: Iterable[int]) -> None:
        stored = [job_id for job_id in job_ids if not self._cancel_here(job_id)]
        if stored:
            self._cancel_stored(stored)

    def _cancel_here(self, job_id: int) -> bool:
        """Cancel a job that the machine holds, or that is on its way back from it."""
        flight = self._docket.find(job_id)
        if flight is None:
            return self._docket.outbox.cancel_returned(job_id)
        self._cancel_flight(flight)
        return True

    def _cancel_stored(self, job_ids: list[int]) -> None:
        self._commands.append(CancelStored(job_ids))
        if self._docket.intake.is_out:
            # A claim under way may hold them, and the storage has then no queued job to cancel.
            self._cancelled_early.update(job_ids)

    def _cancel_flight(self, flight: Flight) -> None:
        flight.is_cancelled = True
        if not flight.ticket:
            self._docket.dispatcher.ready.remove(flight)
            self._docket.cancel(flight)
            return
        for slot in self._slots:
            if flight.ticket in slot.window:
                # Only if it has started is a kill needed: the answer tells.
                self._commands.extend(self._fleet.take_back(slot, [flight.ticket]))

    def _kill_cancelled(self, slot: Slot) -> None:
        head = slot.head
        if head is not None and head.is_cancelled and head.is_taken:
            self._commands.extend(self._fleet.kill_cancelled(slot, head.ticket))

    # --- workers end ---

    def _worker_worn(self, event: WorkerWorn) -> None:
        slot = self._slot(event.worker, event.generation)
        if slot is not None:
            self._fleet.worn(slot, event)

    def _worker_exited(self, event: WorkerExited, now: float) -> None:
        slot = self._slot(event.worker, event.generation)
        if slot is None:
            return
        unstarted = self._docket.dispatcher.pop_all(slot, event.unstarted)
        rest = self._docket.dispatcher.pop_all(slot, list(slot.window))
        kill, pid, used = slot.kill, slot.pid, slot.cpu_seconds
        self._note_exit(slot, event, now)
        self._fleet.exited(slot, event, now)
        # A worker runs one job: were more permits taken, by a job that read the pipe, the first
        # is the one that ran and the others never started.
        for flight in rest[:1]:
            outcome = self._docket.tribunal.outcome_of(event.death, kill, flight.ticket)
            attempt = last_attempt(flight, event, outcome, pid=pid, used=used, now=now)
            self._docket.ended_with_worker(flight, attempt, now)
        self._docket.returned(unstarted + rest[1:], now)

    def _note_exit(self, slot: Slot, event: WorkerExited, now: float) -> None:
        notice = Notice(NoticeName.WORKER_EXITED, now, worker=slot.number, death=event.death)
        reason = recycled_for(slot)
        if reason is not None:
            notice.name, notice.detail = NoticeName.WORKER_RECYCLED, reason
        elif self._is_stopping:
            return
        self._notices.append(notice)

    def _slot(self, worker: int, generation: int) -> Slot | None:
        """The slot, if that process still fills it."""
        slot = self._slots[worker]
        is_gone = slot.phase in (Phase.EMPTY, Phase.GONE)
        return None if is_gone or slot.generation != generation else slot
