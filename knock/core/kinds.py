"""All job types of a pool, and what happens to their breakers."""

from collections.abc import Iterator, Mapping

from knock.core.breaker import Breaker, BreakerState
from knock.core.commands import (
    Notice,
    NoticeName,
)
from knock.core.kind import Kind
from knock.core.policy import JobPolicy
from knock.core.slot import Flight

_NOTICES: Mapping[BreakerState, NoticeName] = {
    BreakerState.OPEN: NoticeName.BREAKER_OPENED,
    BreakerState.HALF_OPEN: NoticeName.BREAKER_HALF_OPENED,
    BreakerState.CLOSED: NoticeName.BREAKER_CLOSED,
}


class Kinds:
    """Job types by name. Changes of breakers gather as notices until they are taken.

    ``wide`` are the types whose jobs take more than one of the ``workers`` slots.
    """

    def __init__(self, policies: Mapping[str, JobPolicy], workers: int) -> None:
        self._workers = workers
        self._kinds: dict[str, Kind] = {}
        self.wide: list[Kind] = []
        for name, policy in policies.items():
            self._add(name, policy)
        self._notices: list[Notice] = []

    def get(self, name: str) -> Kind | None:
        """Return the type of that name, if it is known."""
        return self._kinds.get(name)

    def set_policy(self, name: str, policy: JobPolicy, now: float) -> None:
        """Make a type known, or change its policy; a new breaker is closed."""
        kind = self._kinds.get(name)
        if kind is None:
            self._add(name, policy)
        else:
            before = kind.breaker
            kind.set_policy(policy)
            if before is not None and kind.breaker is not before:
                self._note_end(kind, before, now)

    def _add(self, name: str, policy: JobPolicy) -> None:
        self._kinds[name] = kind = Kind(name, policy, self._workers)
        if kind.is_wide:
            self.wide.append(kind)

    def breakers(self) -> dict[str, BreakerState]:
        """Return the state of each breaker."""
        return {kind.name: breaker.state for kind, breaker in self._broken()}

    def take_notices(self) -> list[Notice]:
        """Hand over what has happened since the last call."""
        notices, self._notices = self._notices, []
        return notices

    def places(self, now: float, behind: Mapping[Kind, int]) -> dict[str, int]:
        """Return how many more jobs may be claimed, for each type that is bounded.

        ``behind``: see ``Kind.claimable``.
        """
        return {
            name: places
            for name, kind in self._kinds.items()
            if kind.is_bounded and (places := kind.claimable(now, behind.get(kind, 0))) is not None
        }

    def held_back(self, now: float) -> int:
        """Count the claimed jobs that wait though no other worker may have jobs of their type."""
        return sum(
            kind.out - kind.sent
            for kind in self._kinds.values()
            if kind.is_bounded and not kind.is_open_to_more(now)
        )

    def tick(self, now: float) -> None:
        """Let breakers whose wait is over become half-open."""
        for kind, breaker in self._broken():
            if breaker.wake_at is not None and breaker.wake_at <= now:
                before = breaker.state
                breaker.tick(now)
                self._note(kind, breaker, before, now)

    def next_deadline(self) -> float | None:
        """When ``tick`` has something to do."""
        return min(
            (breaker.wake_at for _, breaker in self._broken() if breaker.wake_at is not None),
            default=None,
        )

    def succeed(self, flight: Flight, now: float) -> None:
        """An attempt of the type succeeded."""
        breaker = flight.kind.breaker
        if breaker is not None:
            before = breaker.state
            breaker.succeed(flight.epoch, now)
            self._note(flight.kind, breaker, before, now)

    def fail(self, flight: Flight, now: float) -> None:
        """An attempt of the type failed in a way that counts against it."""
        breaker = flight.kind.breaker
        if breaker is not None:
            before = breaker.state
            breaker.fail(flight.epoch, now)
            self._note(flight.kind, breaker, before, now)

    def give_back(self, flight: Flight) -> None:
        """A job of the type came back without a verdict: its place is free again."""
        if flight.kind.breaker is not None:
            flight.kind.breaker.give_back(flight.epoch)

    def _broken(self) -> Iterator[tuple[Kind, Breaker]]:
        for kind in self._kinds.values():
            if kind.breaker is not None:
                yield kind, kind.breaker

    def _note_end(self, kind: Kind, breaker: Breaker, now: float) -> None:
        if breaker.state is not BreakerState.CLOSED:
            self._notices.append(Notice(NoticeName.BREAKER_CLOSED, now, job_type=kind.name))

    def _note(self, kind: Kind, breaker: Breaker, before: BreakerState, now: float) -> None:
        if breaker.state is not before:
            self._notices.append(Notice(_NOTICES[breaker.state], now, job_type=kind.name))
