"""Waiting jobs by the moment at which something becomes of them."""

from heapq import heapify, heappop, heappush

from knock.storage.lane import QUEUED, SWEEP_MINIMUM, Entry


class Agenda:
    """A heap of queued jobs by one moment each: when they become due, or when they expire.

    An item stands for a job while it is queued under the token that it had when the item was
    added. Whoever claims, cancels or buries such a job says so by ``strike``.
    """

    def __init__(self) -> None:
        self._items: list[tuple[float, int, int, Entry]] = []
        self._struck = 0

    def __len__(self) -> int:
        """Return how many jobs are on the agenda."""
        return len(self._items) - self._struck

    def add(self, at: float, entry: Entry) -> None:
        """Put a queued job on the agenda."""
        heappush(self._items, (at, entry.spec.id, entry.token, entry))

    def strike(self) -> None:
        """A job of the agenda is no longer queued under its token."""
        self._struck += 1
        if self._struck > SWEEP_MINIMUM and 2 * self._struck > len(self._items):
            self._items = [item for item in self._items if _is_live(item)]
            heapify(self._items)
            self._struck = 0

    def next_at(self) -> float | None:
        """Return the earliest moment, or None."""
        items = self._items
        while items and not _is_live(items[0]):
            heappop(items)
            self._struck -= 1
        return items[0][0] if items else None

    def take_until(self, now: float) -> list[Entry]:
        """Remove and return the jobs whose moment is ``now`` or earlier, in order."""
        taken: list[Entry] = []
        items = self._items
        while items and items[0][0] <= now:
            item = heappop(items)
            if _is_live(item):
                taken.append(item[3])
            else:
                self._struck -= 1
        return taken


def _is_live(item: tuple[float, int, int, Entry]) -> bool:
    entry = item[3]
    return entry.state is QUEUED and entry.token == item[2]
