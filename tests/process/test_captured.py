"""The supervisor's side of captured output: whatever comes through the pipe."""

import os
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from knock.pool.capture import make_mark
from knock.pool.captured import MAX_BYTES, Stream
from tests.process import jobs

# No end of it is its beginning, so nothing before it can be taken for a part of it.
SECRET = bytes(range(200, 216))


@pytest.fixture
def stream() -> Iterator[Stream]:
    stream = Stream(SECRET, range(1, 4))
    yield stream
    stream.close()


def test_output_is_of_the_attempt_that_its_mark_names(stream):
    parts = [b"one\n", make_mark(SECRET, 1), b"two\n", make_mark(SECRET, 2), b"three"]
    os.write(stream.theirs.fd, b"".join(parts))
    assert (stream.take(1), stream.take(2), stream.take(3)) == ("one\n", "two\n", "three")
    assert stream.take(3) == ""


def test_an_attempt_that_died_after_its_mark_has_its_output(stream):
    os.write(stream.theirs.fd, b"all of it" + make_mark(SECRET, 1))
    stream.theirs.close()
    stream.read()
    assert stream.take(1) == "all of it"


def test_a_mark_that_names_nobody_is_no_end_of_output(stream):
    os.write(stream.theirs.fd, make_mark(SECRET, 99) + b"rest" + make_mark(SECRET, 1))
    assert stream.take(1) == "rest"
    assert not stream._ended


def test_output_whose_mark_never_came_is_not_waited_for(stream):
    os.write(stream.theirs.fd, b"one")
    assert stream.take(1) == "one"
    assert stream.take(3) == ""


def test_the_end_of_the_pipe_and_of_the_stream_are_no_error(stream):
    os.write(stream.theirs.fd, b"left")
    stream.theirs.close()
    assert stream.take(3) == "left"
    assert not stream.read()
    assert stream.is_ended
    stream.close()
    assert not stream.read()


@pytest.mark.process
def test_a_job_that_closes_its_output_does_not_keep_the_supervisor_busy(make_drive):
    drive = make_drive(captures=True).start()
    streams = drive.pool._handles[0].captured.streams
    assert drive.values(drive.send((jobs.close_output,))) == ["closed"]
    drive.until(lambda: all(stream.is_ended for stream in streams))
    listened_to = drive.selector.get_map()
    assert [stream in listened_to for stream in streams] == [False, False]
    assert drive.values(drive.send((jobs.square, 3))) == [9]


@given(
    texts=st.lists(
        st.binary(max_size=30) | st.just(SECRET[:15]) | st.just(b"x" * 3000), max_size=3
    ),
    cuts=st.lists(st.integers(1, 4000), max_size=20),
)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_cutting_of_the_stream_changes_what_is_taken(texts, cuts):
    stream = Stream(SECRET, range(1, 4))
    try:
        data = b"".join(t + make_mark(SECRET, n) for n, t in enumerate(texts, 1))
        for cut in [*cuts, len(data)]:
            if data:
                os.write(stream.theirs.fd, data[:cut])
                stream.read()
                data = data[cut:]
        got = [stream.take(n) for n in range(1, len(texts) + 1)]
        assert got == [t.decode(errors="replace") for t in texts]
    finally:
        stream.close()


def test_memory_is_bounded(stream):
    for _ in range(20):
        os.write(stream.theirs.fd, b"a" * 60_000)
        stream.read()
    assert len(stream._tail) <= MAX_BYTES + 100
    os.write(stream.theirs.fd, b"z")
    assert stream.take(3) == "a" * (MAX_BYTES - 1) + "z"
