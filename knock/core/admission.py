"""Whether a job may be handed out: one pure question over a vector of resources."""

from typing import NamedTuple


class Demand(NamedTuple):
    """What one job takes while a worker holds it."""

    slots: int = 1
    memory_bytes: int = 0


class Room(NamedTuple):
    """What is free. None is "as much as you like"; below 0 is more given than there is.

    ``places`` are those of the job's type: its breaker's and its ``max_concurrency``.
    """

    slots: int | None = None
    memory_bytes: int | None = None
    places: int | None = None


def admits(demand: Demand, room: Room) -> bool:
    """Whether ``room`` holds ``demand`` in every resource."""
    return (
        (room.slots is None or demand.slots <= room.slots)
        and (room.memory_bytes is None or demand.memory_bytes <= room.memory_bytes)
        and (room.places is None or room.places >= 1)
    )
