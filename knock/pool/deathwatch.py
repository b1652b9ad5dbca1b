"""Deaths that must come, or must be told of, within a time."""

import logging
from collections.abc import Collection

from knock.pool.descriptor import still_unreadable
from knock.pool.handle import Handle
from knock.pool.kin import strangers_end

_logger = logging.getLogger("knock.pool")

# How long the nursery may take to tell of a death that the kernel has shown; it is milliseconds.
REPORT_SECONDS = 5.0
# How long the workers of a nursery that died may take to be dead; it is milliseconds.
_ORPHAN_SECONDS = 1.0


def expect_report(handle: Handle, now: float) -> None:
    """The nursery should tell of this death soon."""
    handle.report_by = now + REPORT_SECONDS


def is_report_overdue(handles: Collection[Handle], now: float) -> bool:
    """Whether the nursery is silent about a death."""
    for handle in handles:
        if handle.report_by is not None and handle.report_by <= now:
            if now - handle.report_by < REPORT_SECONDS:
                return True
            # This process was held up itself, and may find the report when it looks.
            expect_report(handle, now)
    return False


def see_dead(handles: Collection[Handle]) -> None:
    """Wait until processes that were killed are dead."""
    pidfds = [handle.pidfd for handle in handles if handle.pidfd >= 0]
    others = [h.pid for h in handles if h.pidfd < 0 and h.pid is not None]
    if still_unreadable(pidfds, _ORPHAN_SECONDS) or not strangers_end(others, _ORPHAN_SECONDS):
        _logger.error("workers outlive SIGKILL (in uninterruptible sleep?)")
