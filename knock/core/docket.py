"""The claimed jobs that the machine answers for. Each leaves by exactly one settlement."""

from collections.abc import Iterable, Sequence
from random import Random

from knock.core.dispatch import Dispatcher
from knock.core.events import (
    JobsClaimed,
)
from knock.core.handout import AttemptEnded
from knock.core.intake import Intake
from knock.core.job import (
    Attempt,
    AttemptOutcome,
    Claim,
    DeathReason,
    JobState,
    Settlement,
    Usage,
)
from knock.core.kinds import Kinds
from knock.core.outbox import Outbox
from knock.core.policy import StopRule
from knock.core.slot import Flight, Slot
from knock.core.tribunal import Tribunal

_BREAKER_FAILURES = frozenset(
    {
        AttemptOutcome.ERROR,
        AttemptOutcome.TIMEOUT,
        AttemptOutcome.CRASH,
        AttemptOutcome.OUT_OF_MEMORY,
    }
)


class Docket:
    """Jobs from claim to settlement. ``is_held``: nothing is to start, so all goes back."""

    def __init__(
        self, slots: Sequence[Slot], kinds: Kinds, rng: Random, stop_rule: StopRule | None
    ) -> None:
        self.dispatcher = Dispatcher(slots, has_stop_rule=stop_rule is not None, wide=kinds.wide)
        self.intake = Intake()
        self.outbox = Outbox()
        self.tribunal = Tribunal(rng, stop_rule)
        self.is_held = False
        self._kinds = kinds
        self._flights: dict[int, Flight] = {}

    def __len__(self) -> int:
        return len(self._flights)

    def find(self, job_id: int) -> Flight | None:
        """Return the job's flight, if the machine holds it."""
        return self._flights.get(job_id)

    # --- in ---

    def take(self, event: JobsClaimed, now: float) -> None:
        """Take claimed jobs in.

        Those of an unknown type are dead at once; those of a type that was closed while the
        storage answered go back.
        """
        flights: list[Flight] = []
        for claim in event.jobs:
            kind = self._kinds.get(claim.job.type)
            if kind is None:
                self._bury_unrun(claim.job.id, claim.token, DeathReason.UNKNOWN_TYPE)
                continue
            flight = Flight(claim, kind)
            kind.out += 1
            self._flights[claim.job.id] = flight
            if kind.is_bounded and kind.places(now) == 0:
                self.release(flight)
            else:
                flights.append(flight)
        self.dispatcher.add(flights)

    def is_behind(self, claims: Sequence[Claim]) -> bool:
        """Whether what follows these in the storage would wait behind a job that lacks slots."""
        waiting = self.dispatcher.waiting
        if waiting is None or not claims:
            return False
        job = claims[-1].job
        return (job.priority, job.run_at, job.id) >= waiting.flight.order

    # --- out, by itself ---

    def ended(self, flight: Flight, ended: AttemptEnded, pid: int | None, now: float) -> None:
        """Settle a job that returned or raised."""
        flight.kind.learn(ended.usage.wall_seconds)
        attempt = Attempt(
            flight.claim.attempt,
            ended.outcome,
            ended.usage,
            _wait(flight, ended.usage),
            pid,
            ended.error,
            None,
            ended.log,
            ended.output,
        )
        if ended.outcome is AttemptOutcome.SUCCESS:
            self._kinds.succeed(flight, now)
            self._complete(flight, attempt, ended.result)
            return
        if ended.retry_after is None and ended.discard is None:
            self._kinds.fail(flight, now)
        else:
            self._kinds.give_back(flight)
        self._fail(flight, attempt, now, ended)

    def ended_with_worker(self, flight: Flight, attempt: Attempt, now: float) -> None:
        """Settle a job whose worker died while it ran."""
        attempt.queue_wait_seconds = _wait(flight, attempt.usage)
        if attempt.outcome in _BREAKER_FAILURES and not flight.is_cancelled:
            self._kinds.fail(flight, now)
        else:
            self._kinds.give_back(flight)
        if attempt.outcome is AttemptOutcome.RELEASED and not flight.is_cancelled:
            self.release(flight, attempt)
        else:
            self._fail(flight, attempt, now, None)

    def _complete(self, flight: Flight, attempt: Attempt, result: bytes | None) -> None:
        self._forget(flight)
        self.tribunal.count_success()
        claim = flight.claim
        self.outbox.add(
            Settlement(
                claim.job.id, claim.token, JobState.COMPLETED, attempt, claim.spent, None, result
            )
        )

    def _fail(
        self, flight: Flight, attempt: Attempt, now: float, ended: AttemptEnded | None
    ) -> None:
        """The one tail that decides retry or death, whatever the outcome was."""
        if flight.is_cancelled:
            self.cancel(flight, attempt)
            return
        self._forget(flight)
        self.outbox.add(self.tribunal.judge(flight, attempt, now, ended))

    # --- out, unrun ---

    def returned(self, flights: Iterable[Flight], now: float) -> None:
        """Take flights that come unstarted out of a window; keep those that may start soon."""
        kept = []
        for flight in flights:
            flight.ticket = 0
            self._kinds.give_back(flight)
            if flight.is_cancelled:
                self.cancel(flight)
            elif self.is_held or not flight.kind.is_open_to_more(now):
                self.release(flight)
            else:
                kept.append(flight)
        if kept:
            self.dispatcher.add_returned(kept)

    def release_waiting(self, now: float, *, blocked_only: bool) -> None:
        """Give jobs that wait for a worker back to the storage: all, or those of held-back types.

        A job that cannot start soon is better off in the storage, where it takes no room from
        others.
        """
        flights = self.dispatcher.clear()
        kept = []
        for flight in flights:
            if blocked_only and flight.kind.places(now) != 0:
                kept.append(flight)
            else:
                self.release(flight)
        self.dispatcher.add(kept)

    def release(self, flight: Flight, attempt: Attempt | None = None) -> None:
        """Give a job back to its old place, uncharged."""
        self._forget(flight)
        claim = flight.claim
        run_at = None if attempt is None else claim.job.run_at
        self.outbox.add(
            Settlement(claim.job.id, claim.token, JobState.QUEUED, attempt, claim.spent, run_at)
        )

    def cancel(self, flight: Flight, attempt: Attempt | None = None) -> None:
        """End a job that somebody does not want any more."""
        self._forget(flight)
        claim = flight.claim
        self.outbox.add(
            Settlement(claim.job.id, claim.token, JobState.CANCELLED, attempt, claim.spent)
        )

    def expire(self, flight: Flight) -> None:
        """Bury a job whose expiry passed before it could start."""
        self._forget(flight)
        self._bury_unrun(flight.claim.job.id, flight.claim.token, DeathReason.EXPIRED)

    def _bury_unrun(self, job_id: int, token: int, reason: DeathReason) -> None:
        self.outbox.add(Settlement(job_id, token, JobState.DEAD, reason=reason.value))

    def _forget(self, flight: Flight) -> None:
        del self._flights[flight.claim.job.id]
        flight.kind.out -= 1
        if flight.kind.is_bounded:
            self.intake.places_changed()

    # --- settled ---

    def settled(self, batch: int, now: float) -> list[int]:
        """The storage applied a batch; return the jobs of it that are to be cancelled now."""
        done, cancelled = self.outbox.settled(batch)
        for settlement in done:
            if settlement.state is JobState.QUEUED:
                run_at = settlement.run_at
                self.intake.due_at(now if run_at is None else run_at, now)
        return cancelled


def _wait(flight: Flight, usage: Usage) -> float:
    return max(0.0, usage.started_at - flight.claim.job.run_at)
