"""The input of a batch: pulled bit by bit, and made into jobs."""

import logging
from collections.abc import Iterable, Iterator, Sized
from dataclasses import dataclass, field
from threading import Lock
from time import monotonic
from typing import Any

from knock.core.job import JobRecord, JobSpec, JobState, Priority
from knock.errors import SerializationError
from knock.outcome import refused
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


# Their next item is at hand. Of any other input, even one with a length, it may take its time.
_READY = (list, tuple, range, str, bytes, dict, set, frozenset)


@dataclass(slots=True)
class Bit:
    """Some of the input.

    ``jobs`` are to be run, and ``stale``, stored jobs, give way to them. ``ended`` need not run:
    each index with its record, of an earlier batch or dead because the item cannot be pickled.
    ``twins`` have the key of an item before them: each index with that item's.
    """

    jobs: list[JobSpec] = field(default_factory=list)
    stale: list[int] = field(default_factory=list)
    ended: list[tuple[int, JobRecord]] = field(default_factory=list)
    twins: list[tuple[int, int]] = field(default_factory=list)


class Feed:
    """The input. ``pulled`` counts the items so far; the job of the first has ``first_id``.

    Attributes:
        items: Each item by its index, until somebody takes it out.
        in_hand: What was pulled and is still to be taken away, with ``take_definitions``.
        lock: To be held for both of that, until it was sent.
        may_wait: Whether the input may let its caller wait for an item.
        is_over: Whether there is nothing more to pull.
        failure: What the input, or the key, has raised: then it is over.
    """

    def __init__(
        self,
        iterables: tuple[Iterable[Any], ...],
        job_type: str,
        clock: Clock,
        first_id: int,
        keys: Keys | None = None,
        *,
        max_payload_bytes: int | None = None,
    ) -> None:
        self._job_type = job_type
        self._clock = clock
        self._first_id = first_id
        self._keys = keys
        self._pickler = ItemPickler(max_payload_bytes)
        is_single = len(iterables) == 1
        self.style = Style.ITEM if is_single else Style.CALL
        self._items: Iterator[Any] = (
            iter(iterables[0]) if is_single else zip(*iterables, strict=True)
        )
        self.items: dict[int, Any] = {}
        self.in_hand = Bit()
        self.lock = Lock()
        self.may_wait = any(type(iterable) not in _READY for iterable in iterables)
        self.pulled = 0
        self.is_over = False
        self.failure: Exception | None = None

    def pull(self, limit: int) -> None:
        """Pull up to ``limit`` items; whatever the input raises ends it and is ``failure``."""
        if not self.pulled:
            limit = 1  # it does not wait for a second one, which may take its time
        try:
            self._pull(limit)
        except Exception as exc:  # noqa: BLE001 - the user's input, and key
            self.failure = exc
            self.is_over = True

    def _pull(self, limit: int) -> None:
        now = self._clock.now()
        until = monotonic() + _CHUNK_SECONDS
        keys, last = self._keys, self.pulled + limit - 1
        for item in self._items:
            # At once, so that Ctrl-C finds each item that was pulled.
            index = self.pulled
            self.items[index] = item
            self.pulled = index + 1
            if keys is None:
                with self.lock:
                    self._add(item, index, now, None)
            else:
                self._look_up(keys, item, index, now)
            if index >= last or monotonic() >= until:
                return
        self.is_over = True

    def _look_up(self, keys: Keys, item: Any, index: int, now: float) -> None:
        key = keys.key_of(item, index)
        known = keys.known(key)
        with self.lock:
            if known is not None and known.state is JobState.COMPLETED:
                self.in_hand.ended.append((index, known))
                return
            first = keys.first(key, index)
            if first != index:
                self.in_hand.twins.append((index, first))
            elif not self._add(item, index, now, key):
                keys.forget(key)
            elif known is not None:
                self.in_hand.stale.append(known.spec.id)

    def _add(self, item: Any, index: int, now: float, key: str | None) -> bool:
        job_id = self._first_id + index
        try:
            payload = self._pickler.dumps(item, f"item {index}")
        except SerializationError as exc:
            spec = JobSpec(job_id, self._job_type, b"", _NORMAL, now, now, None, key)
            self.in_hand.ended.append((index, refused(spec, exc)))
            return False
        self.in_hand.jobs.append(
            JobSpec(job_id, self._job_type, payload, _NORMAL, now, now, None, key)
        )
        return True

    def take_definitions(self) -> tuple[bytes, ...]:
        """Return what workers must know before the jobs in hand."""
        return tuple(self._pickler.take_definitions())

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
