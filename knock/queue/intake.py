"""From what ``add`` is given to a request that can be stored."""

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, TypedDict

from knock import config
from knock.core.job import NO_OPTIONS, UNSET, JobOptions, JobSpec, Priority, Unset
from knock.errors import ConfigError, SerializationError
from knock.pool.clock import Clock
from knock.pool.definition import ItemPickler

# The default, known by its identity.
NO_DELAY = 0.0


class AddOptions(TypedDict, total=False):
    """What ``Queue.add`` takes beside the job itself, but for ``key``; see there."""

    priority: str | Priority
    delay: float
    expires_in: float | None
    deadline: float | None
    timeout: float | Unset | None
    retry_attempts: int | Unset


@dataclass(frozen=True, slots=True)
class Terms:
    """What jobs that are added alike have in common, checked. Times are durations, in seconds."""

    job_type: str
    priority: int
    delay: float = 0.0
    expires_in: float | None = None
    deadline: float | None = None
    options: JobOptions = NO_OPTIONS


class Intake:
    """Makes job requests. Not thread-safe, but for ``terms``."""

    def __init__(self, clock: Clock, first_id: int, max_payload_bytes: int | None) -> None:
        self._clock = clock
        self._ids = itertools.count(first_id)
        self._pickler = ItemPickler(max_payload_bytes)
        self._plain: dict[tuple[str, object], Terms] = {}
        self.job_types: set[str] = set()

    def terms(
        self,
        job_type: str,
        *,
        priority: str | Priority = "normal",
        delay: float = NO_DELAY,
        expires_in: float | None = None,
        deadline: float | None = None,
        timeout: float | Unset | None = UNSET,
        retry_attempts: int | Unset = UNSET,
    ) -> Terms:
        """Check what was given to ``add``.

        Raises:
            ConfigError: Something is of the wrong type or out of range.
        """
        # By identity and exact type: 0 and False are no priority and no delay.
        is_plain = (
            type(job_type) is type(priority) is str
            and delay is NO_DELAY
            and expires_in is deadline is None
            and timeout is retry_attempts is UNSET
        )
        if is_plain:
            known = self._plain.get((job_type, priority))
            if known is not None:
                return known
        terms = Terms(
            job_type=config.job_type(job_type),
            priority=int(config.priority(priority)),
            delay=config.seconds("delay", delay),
            expires_in=config.seconds("expires_in", expires_in, allow_none=True),
            deadline=config.timeout("deadline", deadline),
            options=_check_options(timeout, retry_attempts),
        )
        self.job_types.add(terms.job_type)
        if is_plain:
            self._plain[job_type, priority] = terms
        return terms

    def spec(self, terms: Terms, data: object, key: str | None) -> JobSpec:
        """Return the request for one job.

        Raises:
            SerializationError: ``data`` cannot be pickled; the message says what of it.
        """
        return self._spec(terms, self._pickler.dumps(data, "data"), key, self._clock.now())

    def specs(
        self, terms: Terms, items: Sequence[object], keys: Sequence[str] | None
    ) -> list[JobSpec]:
        """Return a request for each item, all due at one moment.

        Raises:
            SerializationError: An item cannot be pickled; the message has its index.
        """
        now = self._clock.now()
        payloads = [self._dumps_one_of(items, index) for index in range(len(items))]
        if keys is None:
            return [self._spec(terms, payload, None, now) for payload in payloads]
        return [
            self._spec(terms, payload, key, now)
            for payload, key in zip(payloads, keys, strict=True)
        ]

    def _dumps_one_of(self, items: Sequence[object], index: int) -> bytes:
        try:
            return self._pickler.dumps(items[index])
        except SerializationError:
            # Once more, for the message: a label for each item would cost as much as pickling it.
            return self._pickler.dumps(items[index], f"data[{index}]")

    def _spec(self, terms: Terms, payload: bytes, key: str | None, now: float) -> JobSpec:
        expires_in, deadline = terms.expires_in, terms.deadline
        if deadline is not None and (expires_in is None or deadline < expires_in):
            # There is no use in starting it then.
            expires_in = deadline
        return JobSpec(
            next(self._ids),
            terms.job_type,
            payload,
            terms.priority,
            now + terms.delay,
            now,
            None if expires_in is None else now + expires_in,
            key,
            terms.options,
            None if deadline is None else now + deadline,
        )

    def take_definitions(self) -> tuple[bytes, ...]:
        """Return what workers must load before the requests made since the last call."""
        return tuple(self._pickler.take_definitions())


def _check_options(timeout: float | Unset | None, retry_attempts: int | Unset) -> JobOptions:
    if timeout is UNSET and retry_attempts is UNSET:
        return NO_OPTIONS
    return JobOptions(
        timeout=timeout if isinstance(timeout, Unset) else config.timeout("timeout", timeout),
        retry_attempts=retry_attempts
        if isinstance(retry_attempts, Unset)
        else config.count("retry_attempts", retry_attempts),
    )


def check_keys(keys: Iterable[Any] | None, count: int) -> list[str] | None:
    """Return a key for each of ``count`` jobs, or None where none were given.

    Raises:
        ConfigError: One is not a key, or there are more or fewer than jobs.
    """
    if keys is None:
        return None
    if isinstance(keys, str | bytes) or not isinstance(keys, Iterable):
        raise ConfigError(f"keys must be a list of texts, not {keys!r}")
    listed = [config.key(f"keys[{index}]", key) for index, key in enumerate(keys)]
    if len(listed) != count:
        raise ConfigError(f"keys must be as many as jobs: {len(listed)} for {count}")
    return listed
