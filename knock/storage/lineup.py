"""All queued jobs of a storage in memory, in the order in which they are claimed."""

from collections.abc import Mapping
from heapq import heappop, heappush, heapreplace

from knock.storage.agenda import Agenda
from knock.storage.lane import Entry, Head, Lane


class Lineup:
    """Due jobs in a lane per type and priority; the others on an agenda until they are due.

    ``heads`` is a heap of the lanes' next jobs; an item that is not its lane's ``head`` is void.
    The lanes of a type that was found without places are parked, out of the heap, until a claim
    has places for it again: what waits in them costs nothing.
    """

    def __init__(self) -> None:
        self.delayed = Agenda()
        self._heads: list[Head] = []
        self._lanes: list[Lane] = []
        self._lane_of: dict[tuple[str, int], Lane] = {}
        self._parked: dict[str, list[Lane]] = {}

    def add(self, entry: Entry, now: float) -> None:
        """Let a queued job wait for its turn."""
        spec = entry.spec
        if spec.run_at > now:
            entry.lane = None
            self.delayed.add(spec.run_at, entry)
            return
        lane = self._lane_of.get((spec.type, spec.priority))
        if lane is None:
            lane = self._new_lane(spec.type, spec.priority)
        head = lane.add(entry)
        if head is not None and not lane.is_parked:
            heappush(self._heads, head)

    def _new_lane(self, job_type: str, priority: int) -> Lane:
        lane = Lane(len(self._lanes), job_type, priority)
        self._lanes.append(lane)
        self._lane_of[job_type, priority] = lane
        return lane

    def remove(self, entry: Entry) -> None:
        """Forget a job that stopped waiting without being claimed; it is a tombstone now."""
        if entry.lane is None:
            self.delayed.strike()
        else:
            entry.lane.bury_one()

    def ripen(self, now: float) -> None:
        """Move the delayed jobs that are due by now to their lanes."""
        for entry in self.delayed.take_until(now):
            self.add(entry, now)

    def take(self, limit: int, places: Mapping[str, int]) -> list[Entry]:
        """Remove and return up to ``limit`` due jobs, of each type in ``places`` at most so many.

        Ordered by ``(priority, run_at, id)``.
        """
        if self._parked and limit > 0:
            self._unpark(places)
        left = dict(places)
        taken: list[Entry] = []
        heads = self._heads
        while heads and (room := limit - len(taken)) > 0:
            head = heads[0]
            lane = self._lanes[head[3]]
            if head is not lane.head:
                heappop(heads)
                continue
            if left and (allowed := left.get(lane.job_type)) is not None:
                if allowed <= 0:
                    self._park(lane)
                    continue
                room = min(room, allowed)
            batch = lane.take(room, self._bound())
            if left and lane.job_type in left:
                left[lane.job_type] -= len(batch)
            taken += batch
            self._relist(lane)
        return taken

    def _bound(self) -> Head | None:
        # The second least of a heap is one of the root's children.
        heads = self._heads
        if len(heads) > 2:  # noqa: PLR2004 - root and two children
            return min(heads[1], heads[2])
        return heads[1] if len(heads) > 1 else None

    def _relist(self, lane: Lane) -> None:
        head = lane.refresh_head()
        if head is None:
            heappop(self._heads)
        else:
            heapreplace(self._heads, head)

    def _park(self, lane: Lane) -> None:
        heappop(self._heads)
        lane.is_parked = True
        self._parked.setdefault(lane.job_type, []).append(lane)

    def _unpark(self, places: Mapping[str, int]) -> None:
        free = [job_type for job_type in self._parked if places.get(job_type, 1) > 0]
        for job_type in free:
            for lane in self._parked.pop(job_type):
                lane.is_parked = False
                if lane.head is not None:
                    heappush(self._heads, lane.head)
