"""Boots that fail: when the next is tried, and when it is certain that none will do.

A boot fails because of the code (a bad import or initializer fails every time), or for want of
something that the system may have again: a process, descriptors, a nursery. The one is told soon,
the other is waited for. So is code that has booted a worker of this pool before: it works, and may
want something else, such as a database that is away for a moment. Where workers are replaced often,
all of them can meet that.
"""

from collections.abc import Sequence

from knock.core.job import Death
from knock.core.slot import AT_WORK, Phase, Slot

# Failures of the code in a row, with no worker ready, after which the pool gives up.
BOOT_FAILURES = 3
# How long nothing may boot, for want of something or of code that once did, before it gives up.
PATIENCE_SECONDS = 30.0
_DELAY_SECONDS = 0.1
_DELAY_CAP_SECONDS = 5.0


def delay(failures: int) -> float:
    """Seconds until a process is started again after so many failures in a row."""
    if not failures:
        return 0.0
    return min(_DELAY_CAP_SECONDS, _DELAY_SECONDS * 2.0 ** min(failures - 1, 10))


class Boots:
    """The boots of all slots that have failed since one was ready."""

    def __init__(self, slots: Sequence[Slot]) -> None:
        self._slots = slots
        self._has_booted = False
        self._forget()

    def _forget(self) -> None:
        self._failures = 0
        self._failed: set[int] = set()
        self._detail = ""
        self._failing_since: float | None = None
        self._wanting_since: float | None = None
        self._want = ""

    def ready(self, slot: Slot) -> None:
        """A process has booted."""
        slot.failed_boots = 0
        self._has_booted = True
        self._forget()

    def failed(self, slot: Slot, death: Death, detail: str, now: float) -> str | None:
        """Put the next boot of the slot, which is empty now, off; return why all hope is gone."""
        slot.failed_boots += 1
        slot.start_at = now + delay(slot.failed_boots)
        if death.is_infrastructure:
            self._want = death.cause
            if self._wanting_since is None:
                self._wanting_since = now
        else:
            self._detail = detail
            self._failures += 1
            if self._failing_since is None:
                self._failing_since = now
            self._failed.add(slot.number)
        return self._verdict(now)

    def _verdict(self, now: float) -> str | None:
        if any(slot.phase in AT_WORK for slot in self._slots):
            self._wanting_since = self._failing_since = None
            return None
        booting = {slot.number for slot in self._slots if slot.phase is Phase.BOOTING}
        # Who boots for the first time may succeed; who has failed before will fail again.
        is_certain = self._failures >= BOOT_FAILURES and booting <= self._failed
        if is_certain and self._has_failed_for_long(now):
            return self._detail
        since = self._wanting_since
        if since is None or booting or now - since < PATIENCE_SECONDS:
            return None
        return f"no worker could be started for {now - since:.0f} s: {self._want}"

    def _has_failed_for_long(self, now: float) -> bool:
        if not self._has_booted:
            return True
        since = self._failing_since
        return since is not None and now - since >= PATIENCE_SECONDS
