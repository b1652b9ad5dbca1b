"""Kills that somebody has ordered: of the job that was meant, and with its stack.

Rule 1: before the kill the worker's permits are taken and its channel is read. If the job that was
        meant has ended by then, nobody is killed.
Rule 2: a worker whose job is over a limit is first asked where it is. It has ``STACK_SECONDS`` to
        write that down; who cannot (it blocks the signal, or was stopped) is not asked.
Rule 3: who was asked is killed, and its answer does not count any more: the signal may have cut
        short a call of C code that does not look whether it was.
"""

from collections.abc import Callable
from dataclasses import dataclass

from knock.core.commands import KillCause
from knock.core.events import Event, KillDropped
from knock.pool.clock import Clock
from knock.pool.handle import Handle

STACK_SECONDS = 0.05
# Writing it takes about a millisecond; it is done when nothing was added between two looks.
_LOOK_SECONDS = 0.001

_WITH_STACK = frozenset(
    {
        KillCause.TIMEOUT,
        KillCause.STALLED,
        KillCause.DEADLINE,
        KillCause.MEMORY,
        KillCause.UNRESPONSIVE,
    }
)

_Hear = Callable[[Handle], list[Event]]


@dataclass(slots=True)
class _Asked:
    """A worker that writes down where it is. ``written``: how much it had at the last look."""

    handle: Handle
    until: float
    look_at: float
    written: int


class Kills:
    """The kills of one pool. ``hear`` reads a worker's channel to its end."""

    def __init__(self, clock: Clock, hear: _Hear) -> None:
        self._clock = clock
        self._hear = hear
        self._asked: list[_Asked] = []

    def order(self, handle: Handle, ticket: int | None, cause: KillCause) -> list[Event]:
        """Kill the worker while it runs ``ticket``; None is whatever it does."""
        # First let nothing new start, then look whether the job has ended: the other way round
        # the kill could hit the next one.
        handle.withhold()
        events = self._hear(handle)
        if ticket is not None and ticket not in handle.window:
            handle.restore()
            return [*events, KillDropped(handle.worker, handle.generation, ticket)]
        handle.kill_ordered = cause
        if ticket is None or cause not in _WITH_STACK or not handle.ask_for_stack(ticket):
            handle.kill()
            return events
        now = self._clock.now()
        self._asked.append(_Asked(handle, now + STACK_SECONDS, now + _LOOK_SECONDS, 0))
        return events

    @property
    def next_look(self) -> float | None:
        """When ``tick`` has something to do (UTC seconds)."""
        return min((asked.look_at for asked in self._asked), default=None)

    def tick(self) -> None:
        """Kill those that have written down where they are, or had time to."""
        now = self._clock.now()
        for asked in [asked for asked in self._asked if asked.look_at <= now]:
            handle = asked.handle
            written = 0 if handle.is_doomed else handle.words_written()
            is_done = handle.is_doomed or (written and written == asked.written)
            if not is_done and now < asked.until:
                asked.written, asked.look_at = written, now + _LOOK_SECONDS
                continue
            self._asked.remove(asked)
            handle.kill()

    def forget(self, handle: Handle) -> None:
        """The process is gone."""
        self._asked = [asked for asked in self._asked if asked.handle is not handle]
