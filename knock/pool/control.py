"""What a job raises to steer its own fate. Neither is an error."""

import math


class RetryLater(Exception):  # noqa: N818 - an order, not an error
    """Run this job again in ``delay`` seconds (at least); no attempt is charged."""

    def __init__(self, delay: float) -> None:
        super().__init__(delay)
        if isinstance(delay, bool) or not 0 <= delay < math.inf:
            raise ValueError(f"delay must be a finite number of seconds from 0, not {delay!r}")
        self.delay = float(delay)

    def __str__(self) -> str:
        return f"again in {self.delay:g} s"


class Discard(Exception):  # noqa: N818 - an order, not an error
    """Give this job up now, whatever attempts are left; ``reason`` goes on record."""

    def __init__(self, reason: str = "") -> None:
        super().__init__(reason)
        self.reason = str(reason)
