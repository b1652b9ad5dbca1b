"""What a job adds, as its supervisor reads it."""

import math
from dataclasses import replace

import pytest

from knock.core.job import JobOptions, JobSpec
from knock.errors import ProtocolError
from knock.protocol.addition import decode_additions, encode_additions

JOB = JobSpec(
    0, "a", b"data", 2, 107.0, 100.0, 130.0, "key", JobOptions(timeout=5.0, retry_attempts=1), 120.0
)


def decode(job):
    return decode_additions(encode_additions([job]), first_id=7, now=1000.0)


def test_dates_are_moved_to_the_clock_of_the_supervisor():
    moved = replace(JOB, id=7, run_at=1007.0, created_at=1000.0, expires_at=1030.0, deadline=1020.0)
    assert decode(JOB) == [moved]


@pytest.mark.parametrize("time", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("name", ["run_at", "created_at", "expires_at", "deadline"])
def test_a_date_that_is_none_is_refused(name, time):
    with pytest.raises(ProtocolError, match="malformed addition: a time of"):
        decode(replace(JOB, **{name: time}))


def test_a_time_limit_that_is_none_is_refused():
    with pytest.raises(ProtocolError, match="malformed addition: a time of nan"):
        decode(replace(JOB, options=JobOptions(timeout=math.nan)))
