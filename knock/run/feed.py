"""The input of a batch: pulled bit by bit, and made into jobs."""

import logging
from collections.abc import Iterable, Iterator, Sized
from dataclasses import dataclass, field
from time import monotonic
from typing import Any

from knock.core.job import JobRecord, JobSpec, JobState, Priority
from knock.pool.clock import Clock
from knock.pool.definition import ItemPickler, Style
from knock.run.archive import Keys

_logger = logging.getLogger("knock.run")

# A bit of the input is sent when so many items were pulled or so long was pulled.
CHUNK_ITEMS = 256
_CHUNK_SECONDS = 0.002
_NORMAL = int(Priority.NORMAL)


def length_of(iterables: tuple[Iterable[Any], ...]) -> int | None:
    """Return how many items there are, if it can be known without pulling them."""
    for iterable in iterables:
        if isinstance(iterable, Sized):
            return len(iterable)
    return None


@dataclass(slots=True)
class Bit:
    """Some of the input.

    ``jobs`` are to be run, ``definitions`` being known to the workers before. ``stored`` need not
    run: each index with the record of an earlier batch. ``twins`` have the key of an item before
    them: each index with that item's. ``stale`` are stored jobs that give way to new ones.
    """

    jobs: list[JobSpec] = field(default_factory=list)
    definitions: tuple[bytes, ...] = ()
    stored: list[tuple[int, JobRecord]] = field(default_factory=list)
    twins: list[tuple[int, int]] = field(default_factory=list)
    stale: list[int] = field(default_factory=list)


class Feed:
    """The input. ``pulled`` counts the items so far; the job of the first has ``first_id``.

    ``items`` has each item by its index, until somebody takes it out.
    """

    def __init__(
        self,
        iterables: tuple[Iterable[Any], ...],
        job_type: str,
        clock: Clock,
        first_id: int,
        keys: Keys | None,
    ) -> None:
        self._job_type = job_type
        self._clock = clock
        self._first_id = first_id
        self._keys = keys
        self._pickler = ItemPickler()
        is_single = len(iterables) == 1
        self.style = Style.ITEM if is_single else Style.CALL
        self._items: Iterator[Any] = (
            iter(iterables[0]) if is_single else zip(*iterables, strict=True)
        )
        self.items: dict[int, Any] = {}
        self.pulled = 0
        self.is_over = False

    def pull(self, limit: int) -> Bit:
        """Pull up to ``limit`` items.

        Raises whatever the input raises, and ``SerializationError`` for an item that cannot be
        pickled.
        """
        bit = Bit()
        if not self.pulled:
            limit = 1  # it does not wait for a second one, which may take its time
        now = self._clock.now()
        until = monotonic() + _CHUNK_SECONDS
        jobs, keys = bit.jobs, self._keys
        last = self.pulled + limit - 1
        for item in self._items:
            # At once, so that Ctrl-C finds each item that was pulled.
            index = self.pulled
            self.items[index] = item
            self.pulled = index + 1
            if keys is None:
                jobs.append(self._spec(item, index, now, None))
            else:
                self._look_up(keys, bit, item, index, now)
            if index >= last or monotonic() >= until:
                break
        else:
            self.is_over = True
        bit.definitions = tuple(self._pickler.take_definitions())
        return bit

    def _spec(self, item: Any, index: int, now: float, key: str | None) -> JobSpec:
        payload = self._pickler.dumps(item, f"item {index}")
        return JobSpec(
            self._first_id + index, self._job_type, payload, _NORMAL, now, now, None, key
        )

    def _look_up(self, keys: Keys, bit: Bit, item: Any, index: int, now: float) -> None:
        key = keys.key_of(item, index)
        known = keys.known(key)
        if known is not None and known.state is JobState.COMPLETED:
            bit.stored.append((index, known))
            return
        first = keys.first(key, index)
        if first != index:
            bit.twins.append((index, first))
            return
        if known is not None:
            bit.stale.append(known.spec.id)
        bit.jobs.append(self._spec(item, index, now, key))

    def pull_rest(self) -> None:
        """Pull everything that is left, to name it."""
        try:
            for item in self._items:
                self.items[self.pulled] = item
                self.pulled += 1
        except Exception as exc:  # noqa: BLE001 - the user's input; the batch has ended already
            _logger.warning("items that were not run cannot be named: %r", exc)
        self.is_over = True

    def unrun(self, index: int) -> JobSpec:
        """Return the job of an item that never ran, without its payload."""
        now = self._clock.now()
        return JobSpec(self._first_id + index, self._job_type, b"", _NORMAL, now, now)
