"""Jobs that a running job adds: how they travel from a worker to its supervisor, and the answer.

The supervisor must not unpickle what a job produced, so the jobs are told in JSON, and their
payloads follow as opaque bytes.
"""

import json
import math
import struct
from collections.abc import Callable, Sequence
from typing import Any

from knock.core.job import UNSET, JobOptions, JobSpec, Priority, Unset
from knock.errors import (
    ConfigError,
    ProcessorNotFoundError,
    ProtocolError,
    QueueClosedError,
    SerializationError,
    StorageUnavailableError,
)

ADD_VERB = "add"
_LENGTH = struct.Struct("<I")
_ERRORS = {
    error.__name__: error
    for error in (
        ConfigError,
        ProcessorNotFoundError,
        QueueClosedError,
        SerializationError,
        StorageUnavailableError,
    )
}


def encode_additions(jobs: Sequence[JobSpec]) -> bytes:
    """Return the body of an ``add`` call; the ids of the jobs are not sent."""
    facts = [
        [
            job.type,
            job.priority,
            job.run_at,
            job.created_at,
            job.expires_at,
            job.deadline,
            job.key,
            _told(job.options.timeout),
            _told(job.options.retry_attempts),
            len(job.payload),
        ]
        for job in jobs
    ]
    text = json.dumps(facts).encode()
    return b"".join([_LENGTH.pack(len(text)), text, *[job.payload for job in jobs]])


def _told(value: float | Unset | None) -> Any:
    return "unset" if isinstance(value, Unset) else value


def decode_additions(body: bytes, first_id: int, now: float) -> list[JobSpec]:
    """Return the jobs, with ids from ``first_id`` on, added ``now``.

    A worker's clock may have another idea of UTC: its delays are believed, not its dates.

    Raises:
        ProtocolError: The body is not one that ``encode_additions`` makes.
    """
    try:
        (length,) = _LENGTH.unpack_from(body)
        start = _LENGTH.size + length
        jobs: list[JobSpec] = []
        for number, facts in enumerate(json.loads(body[_LENGTH.size : start])):
            *told, size = facts
            if not isinstance(size, int) or not 0 <= size <= len(body) - start:
                raise ProtocolError(f"malformed addition: a payload of {size} bytes")
            jobs.append(_job(first_id + number, told, body[start : start + size], now))
            start += size
    except (struct.error, ValueError, TypeError, RecursionError) as exc:
        raise ProtocolError(f"malformed addition: {exc}") from exc
    return jobs


def _job(job_id: int, facts: list[Any], payload: bytes, now: float) -> JobSpec:
    job_type, priority, run_at, created_at, expires_at, deadline, key, timeout, retries = facts
    if not isinstance(job_type, str) or not (key is None or isinstance(key, str)):
        raise ProtocolError("malformed addition: a type or key that is no text")
    options = JobOptions(
        timeout=timeout if timeout is None else _untold(timeout, _finite),
        retry_attempts=_untold(retries, int),
    )
    later = now - _finite(created_at)
    return JobSpec(
        job_id,
        job_type,
        payload,
        int(Priority(priority)),
        later + _finite(run_at),
        now,
        None if expires_at is None else later + _finite(expires_at),
        key,
        options,
        None if deadline is None else later + _finite(deadline),
    )


def _untold(value: Any, convert: Callable[[Any], Any]) -> Any:
    return UNSET if value == "unset" else convert(value)


def _finite(value: Any) -> float:
    number = float(value)
    if not math.isfinite(number):
        # It is neither before nor after anything, so whoever waits for it would never stop looking.
        raise ValueError(f"a time of {number}")
    return number


def encode_ids(job_ids: Sequence[int]) -> bytes:
    """Return the answer to an ``add`` call that worked."""
    return json.dumps({"ids": list(job_ids)}).encode()


def encode_refusal(error: Exception) -> bytes:
    """Return the answer to an ``add`` call that did not."""
    args = [error.job_type] if isinstance(error, ProcessorNotFoundError) else [str(error)]
    return json.dumps({"error": type(error).__name__, "args": args}).encode()


def decode_ids(answer: bytes) -> list[int]:
    """Return the ids of the added jobs, or raise why they were not added."""
    facts = json.loads(answer)
    if "ids" in facts:
        return list(facts["ids"])
    raise _ERRORS.get(facts["error"], QueueClosedError)(*facts["args"])
