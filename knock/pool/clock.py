"""The one clock of a pool: UTC seconds that never jump."""

from dataclasses import dataclass
from time import monotonic_ns, time


@dataclass(frozen=True, slots=True)
class Clock:
    """UTC as it was when the pool began, plus CLOCK_MONOTONIC since then.

    A change of the system's clock moves nothing. All processes of a machine share the monotonic
    clock, so instants stamped by a worker are comparable. Picklable: the caller and its supervisor
    share one.
    """

    wall_anchor: float
    monotonic_anchor_ns: int

    @classmethod
    def start(cls) -> "Clock":
        """Take the present as the anchor."""
        return cls(time(), monotonic_ns())

    def now(self) -> float:
        """Return the present in UTC seconds."""
        return self.wall_anchor + (monotonic_ns() - self.monotonic_anchor_ns) * 1e-9

    def at(self, instant_ns: int) -> float:
        """Return a CLOCK_MONOTONIC instant in UTC seconds."""
        return self.wall_anchor + (instant_ns - self.monotonic_anchor_ns) * 1e-9
