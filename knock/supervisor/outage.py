"""When a storage that could not be reached is asked again."""

from knock.core.outbox import storage_retry_delay


class Outage:
    """One for all that a supervisor asks of its storage by itself.

    ``retry_at`` (UTC seconds) is when to ask again; None while all is well.
    """

    def __init__(self) -> None:
        self._failures = 0
        self.retry_at: float | None = None

    def began(self, now: float) -> None:
        """It could not be reached, perhaps not for the first time."""
        self._failures += 1
        self.retry_at = now + storage_retry_delay(self._failures)

    def ended(self) -> None:
        """It has answered."""
        self._failures = 0
        self.retry_at = None

    def pass_over(self, now: float) -> None:
        """A moment to ask again has gone by, and nobody had to ask any more."""
        if self.retry_at is not None and self.retry_at <= now:
            self.retry_at = None

    def is_on(self, now: float) -> bool:
        """Whether there is no use in asking now."""
        return self.retry_at is not None and now < self.retry_at
