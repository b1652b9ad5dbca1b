"""The descriptors of worker processes at their supervisor's selector."""

import selectors
from collections.abc import Callable

from knock.core.events import Event
from knock.pool.captured import Stream
from knock.pool.handle import Handle

Hear = Callable[[int], list[Event]]


class Listening:
    """Whose channel is listened to, and whose death is waited for.

    Registers with ``data`` = a function of the event mask that returns events for the machine.
    """

    def __init__(self, selector: selectors.BaseSelector) -> None:
        self._selector = selector

    def begin(self, handle: Handle, hear: Hear) -> None:
        """Listen to the channel, and to what jobs write."""
        self._selector.register(handle.channel, _interest(handle), hear)
        if handle.captured is not None:
            for stream in handle.captured.streams:
                self._selector.register(stream, selectors.EVENT_READ, self._reader(stream))

    def _reader(self, stream: Stream) -> Hear:
        def read(_: int) -> list[Event]:
            stream.read()
            if stream.is_ended:
                self._ignore(stream)
            return []

        return read

    def _ignore(self, stream: Stream) -> None:
        if stream.fileno() >= 0 and self._selector.get_map().get(stream) is not None:
            self._selector.unregister(stream)

    def update(self, handle: Handle) -> None:
        """Follow whether something waits to be written."""
        key = self._selector.get_map().get(handle.channel)
        if key is not None and key.events != _interest(handle):
            self._selector.modify(handle.channel, _interest(handle), key.data)

    def end(self, handle: Handle) -> bool:
        """Listen to the channel no more; False if nobody did."""
        if handle.channel.fileno() < 0 or self._selector.get_map().get(handle.channel) is None:
            return False
        self._selector.unregister(handle.channel)
        if handle.captured is not None:
            for stream in handle.captured.streams:
                self._ignore(stream)
        return True

    def await_death(self, handle: Handle, then: Callable[[], None]) -> None:
        """Call ``then`` once the kernel shows that the process is dead."""
        if handle.pidfd < 0:
            return

        def dead(_: int) -> list[Event]:
            self.end_await(handle)
            then()
            return []

        self._selector.register(handle.pidfd, selectors.EVENT_READ, dead)

    def end_await(self, handle: Handle) -> None:
        """Wait for the death no more."""
        if handle.pidfd >= 0 and self._selector.get_map().get(handle.pidfd) is not None:
            self._selector.unregister(handle.pidfd)


def _interest(handle: Handle) -> int:
    if handle.channel.wants_write:
        return selectors.EVENT_READ | selectors.EVENT_WRITE
    return selectors.EVENT_READ
