"""The worker slots: when a process starts, ends, is looked at, and is killed."""

from collections.abc import Iterable, Sequence

from knock.core.boot import Boots, delay
from knock.core.commands import (
    Command,
    KillCause,
    KillWorker,
    ReadLedgers,
    StartWorker,
    WarnWorker,
)
from knock.core.dispatch import revoke
from knock.core.events import (
    LedgersRead,
    Reading,
    WorkerBootFailed,
    WorkerExited,
    WorkerReady,
    WorkerWorn,
)
from knock.core.limit import (
    CONFIRM_SECONDS,
    LOOK_AGAIN_SECONDS,
    START_SECONDS,
    first_look,
    judge,
)
from knock.core.recycling import Recycling, tell_to_end
from knock.core.slot import AT_WORK, Flight, Phase, Slot
from knock.core.standstill import Standstills


class Fleet:
    """All slots of a pool. ``failure`` is why no worker can boot, once that is certain."""

    def __init__(self, slots: Sequence[Slot], recycling: Recycling) -> None:
        self._slots = slots
        self._is_stopping = False
        self._stop_at: float | None = None
        self._boots = Boots(slots)
        self._recycling = recycling
        self._still = Standstills()
        self.failure: str | None = None

    @property
    def is_gone(self) -> bool:
        """Whether no process is left and none will come."""
        return all(slot.phase is Phase.GONE for slot in self._slots)

    def stop(self, deadline: float | None) -> None:
        """Let every worker end; what still runs at ``deadline`` is killed. An earlier one wins."""
        if not self._is_stopping or self._stop_at is None:
            self._stop_at = deadline
        elif deadline is not None:
            self._stop_at = min(self._stop_at, deadline)
        self._is_stopping = True

    def turn(self, now: float) -> list[Command]:
        """Start what is to be started; when stopping, end what can be ended."""
        commands: list[Command] = []
        if self.failure is not None:
            return commands
        for slot in self._slots:
            if self._is_stopping:
                commands.extend(self._end(slot, now))
            elif slot.phase is Phase.EMPTY and slot.start_at <= now:
                slot.generation += 1
                slot.phase = Phase.BOOTING
                commands.append(StartWorker(slot.number, slot.generation))
        if self._recycling.is_on and not self._is_stopping:
            commands.extend(self._recycling.turn(now))
        return commands

    def _end(self, slot: Slot, now: float) -> Iterable[Command]:
        if slot.phase is Phase.EMPTY:
            slot.phase = Phase.GONE
        elif slot.phase is Phase.BOOTING:
            yield self._kill(slot, None, KillCause.RELEASED)
        elif slot.phase in AT_WORK and not slot.revoking and not slot.kill:
            head = slot.head
            if head is None:
                yield tell_to_end(slot, now)
            elif self._stop_at is not None and self._stop_at <= now:
                yield self._kill(slot, head.ticket, KillCause.RELEASED)

    def _kill(self, slot: Slot, ticket: int | None, cause: KillCause) -> KillWorker:
        slot.kill = (ticket, cause)
        slot.phase = Phase.KILLING
        return KillWorker(slot.number, slot.generation, ticket, cause)

    # --- boots and deaths ---

    def ready(self, event: WorkerReady, now: float) -> None:
        """A process has booted."""
        slot = self._slots[event.worker]
        if slot.phase is Phase.BOOTING and slot.generation == event.generation:
            slot.phase = Phase.READY
            slot.pid = event.pid
            self._boots.ready(slot)
            self._recycling.begin(slot, now)

    def boot_failed(self, event: WorkerBootFailed) -> None:
        """Keep why; the exit follows."""
        slot = self._slots[event.worker]
        if slot.generation == event.generation:
            slot.boot_detail = event.detail

    def worn(self, slot: Slot, event: WorkerWorn) -> None:
        """A process asks to be replaced."""
        self._recycling.worn(slot, event)

    def exited(self, slot: Slot, event: WorkerExited, now: float) -> None:
        """A process is gone: another takes its slot, later if it could not boot."""
        is_boot_failure = slot.phase is Phase.BOOTING
        is_worn = slot.retires_for is not None and slot.worn is not None
        is_early = not slot.is_used and (slot.phase is Phase.READY or is_worn)
        detail = slot.boot_detail or event.death.stderr or event.death.cause
        slot.reset()
        slot.phase = Phase.GONE if self._is_stopping else Phase.EMPTY
        slot.start_at = now
        if is_early:
            # The first may be an accident; a library that ends its process, or makes it ask for
            # another one, would do it for ever.
            slot.start_at = now + delay(slot.early_deaths)
            slot.early_deaths += 1
        if is_boot_failure and not self._is_stopping:
            self.failure = self._boots.failed(slot, event.death, detail, now)

    # --- taking back ---

    def take_back(self, slot: Slot, tickets: list[int]) -> list[Command]:
        """Order these tickets back, if the worker is not being killed (then they come anyway)."""
        if not tickets or slot.phase not in AT_WORK or slot.kill:
            return []
        return [revoke(slot, tickets)]

    def take_back_all(self) -> list[Command]:
        """Order back everything that has not started."""
        commands: list[Command] = []
        for slot in self._slots:
            commands.extend(self.take_back(slot, list(slot.window)))
        return commands

    # --- kills ---

    def kill_cancelled(self, slot: Slot, ticket: int) -> list[Command]:
        """Kill the worker while it runs this cancelled job."""
        if slot.phase not in AT_WORK or slot.kill:
            return []
        return [self._kill(slot, ticket, KillCause.CANCELLED)]

    def kill_dropped(self, slot: Slot, ticket: int) -> None:
        """The job that was to be killed had ended: the worker lives on."""
        if slot.phase is Phase.KILLING and slot.kill is not None and slot.kill[0] == ticket:
            slot.kill = None
            slot.phase = Phase.READY if slot.retires_for is None else Phase.RETIRING

    # --- clocks ---

    def clock_stopped(self, seconds: float, now: float) -> None:
        """Put off all limits of what runs."""
        heads = [head.sent_at for slot in self._slots if (head := slot.head) is not None]
        self._still.forget(min(heads, default=now))
        self._still.add(seconds, now)
        for slot in self._slots:
            if slot.phase is Phase.STOPPING and slot.wake_at is not None:
                slot.wake_at += seconds

    def time_passed(self, now: float) -> list[Command]:
        """Look at the workers whose time may be up."""
        commands: list[Command] = []
        due: list[int] = []
        weighed: dict[int, int] = {}
        for slot in self._slots:
            if slot.wake_at is None or slot.wake_at > now or slot.kill:
                continue
            if slot.phase is Phase.STOPPING:
                commands.append(self._kill(slot, None, KillCause.RELEASED))
            elif slot.phase in AT_WORK:
                slot.wake_at = None
                slot.is_looked_at = not slot.revoking
                due.append(slot.number)
                head = slot.head
                limit = None if head is None else head.kind.policy.memory_limit
                if limit is not None:
                    weighed[slot.number] = limit
        if due:
            commands.append(ReadLedgers(due, weighed))
        return commands

    def judge_clocks(self, event: LedgersRead, now: float) -> list[Command]:
        """Kill what is over its limit, take back what waits behind a slow job."""
        commands: list[Command] = []
        for worker, (generation, reading) in event.readings.items():
            slot = self._slots[worker]
            if slot.generation == generation and slot.phase in AT_WORK and not slot.kill:
                commands.extend(self._judge_clock(slot, reading, now))
        return commands

    def _judge_clock(self, slot: Slot, reading: Reading, now: float) -> list[Command]:
        found = self._running(slot, reading, now)
        if found is None:
            return self._await_start(slot, reading, now)
        slot.late_at = None
        flight, started_at = found
        verdict = judge(flight, started_at, reading, now, self._still)
        if verdict.kill is not None:
            return [self._kill(slot, flight.ticket, verdict.kill)]
        slot.wake_at = verdict.look_at
        commands: list[Command] = []
        if verdict.is_warning_due:
            flight.is_warned = True
            commands.append(WarnWorker(slot.number, slot.generation, flight.ticket))
        behind = [f.ticket for f in slot.waiting() if f.ticket > flight.ticket]
        if behind and not slot.revoking:
            slot.stuck = True
            commands.append(revoke(slot, behind))
        return commands

    def _await_start(self, slot: Slot, reading: Reading, now: float) -> list[Command]:
        """Nothing has started: the clock of the head begins no earlier than now."""
        head = slot.head
        if head is None:
            return []
        # While it still takes in its data, which may be gibibytes, it cannot begin.
        sent_at = max(slot.head_at, min(reading.sent_at, now))
        late_at = self._still.after(sent_at) + START_SECONDS
        if late_at > now:
            slot.late_at = None
        elif slot.is_looked_at:
            if slot.late_at is None:
                slot.late_at = now
            late_at = self._still.after(slot.late_at) + CONFIRM_SECONDS
            if late_at <= now:
                return [self._kill(slot, head.ticket, KillCause.UNRESPONSIVE)]
        look_at = first_look(head, now)
        if look_at is None and len(slot.window) == 1:
            slot.wake_at = max(late_at, now + LOOK_AGAIN_SECONDS)
        else:
            slot.wake_at = now + LOOK_AGAIN_SECONDS
            if look_at is not None and look_at > now:
                slot.wake_at = min(look_at, slot.wake_at)
        return []

    def _running(self, slot: Slot, reading: Reading, now: float) -> tuple[Flight, float] | None:
        """The flight that runs and its start, as far as can be believed."""
        flight = slot.window.get(reading.ticket)
        if flight is not None:
            # The ledger is written by the worker: a start outside [sent, now] is not believed.
            # Nor one after it was first shown, or a job could put its limit off for ever.
            if slot.shown is None or slot.shown[0] != reading.ticket:
                slot.shown = (reading.ticket, now)
            return flight, min(max(reading.started_at, flight.sent_at), slot.shown[1])
        head = slot.head
        # The count of permits tells nothing if some were given or taken back since the look.
        if head is None or not slot.is_looked_at or reading.permits_left >= len(slot.window):
            return None
        if slot.taken is None or slot.taken[0] != head.ticket:
            slot.taken = (head.ticket, now)
        return head, slot.taken[1]

    def next_deadline(self) -> float | None:
        """When ``turn`` or ``time_passed`` has something to do though nothing was heard."""
        moments = [s.wake_at for s in self._slots if s.wake_at is not None and not s.kill]
        if not self._is_stopping:
            moments.extend(s.start_at for s in self._slots if s.phase is Phase.EMPTY)
            moments.extend(self._recycling.deadlines())
        elif self._stop_at is not None and any(
            s.phase in AT_WORK and s.window and not s.revoking for s in self._slots
        ):
            moments.append(self._stop_at)
        return min(moments, default=None)
