"""The supervisor's side of a mailbox."""

from collections.abc import Sequence
from typing import Protocol

from knock.supervisor.messages import Inbound, Outbound


class Mailbox(Protocol):
    """Where a supervisor finds what callers want, and leaves what it has to say. Never blocks.

    ``is_cut``: the caller is gone, or wants everything to end now.
    """

    is_cut: bool

    def fileno(self) -> int:
        """Return a descriptor that is readable when something is to be taken."""

    def sleep(self) -> bool:
        """The supervisor is about to wait; False if something came meanwhile."""

    def take(self) -> list[Inbound]:
        """Return the messages that wait."""

    def put(self, messages: Sequence[Outbound]) -> None:
        """Leave messages for the caller."""

    @property
    def wants_write(self) -> bool:
        """Whether something that was put waits for the descriptor to take more."""

    def flush(self) -> None:
        """Send what waits."""

    def close(self) -> None:
        """Nothing more will be taken or put."""
