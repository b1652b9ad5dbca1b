"""What a supervisor on a thread of this process hears and orders."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from knock.core.commands import Command
from knock.core.events import Event
from knock.core.machine import Machine


@contextmanager
def tapped(look: Callable[[Event, list[Command]], None]) -> Iterator[None]:
    """Show each event with the commands that it led to, on the supervisor's thread."""
    handle = Machine.handle

    def looked_at(machine: Machine, event: Event, now: float) -> list[Command]:
        commands = handle(machine, event, now)
        look(event, commands)
        return commands

    Machine.handle = looked_at
    try:
        yield
    finally:
        Machine.handle = handle
