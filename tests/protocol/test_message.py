"""Messages: what is encoded comes back, and what is forged is data or a ``ProtocolError``."""

import math
import struct
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, strategies as st

from knock.core.events import AttemptEnded
from knock.core.handout import Dispatch
from knock.core.job import AttemptOutcome, JobError, JobSpec, Usage
from knock.errors import ProtocolError
from knock.protocol import attempt, logline, message
from knock.protocol.attempt import Measured, encode_failure, encode_result
from knock.protocol.field import MAX_TEXT_BYTES, MAX_TRACEBACK_BYTES, clip
from knock.protocol.frame import FrameDecoder
from knock.protocol.logline import Origin
from knock.protocol.message import FROM_WORKER, TO_WORKER, BootSettings, Call, Handed, Kind

numbers = st.integers(0, (1 << 63) - 1)
texts = st.text(max_size=50)


def at(monotonic_ns: int) -> float:
    return monotonic_ns * 1e-9


def only_frame(*buffers: bytes) -> tuple[int, bytes]:
    (frame,) = FrameDecoder(TO_WORKER | FROM_WORKER).feed(b"".join(buffers))
    return frame


leftovers = st.integers(0, attempt.MAX_LEFTOVERS)
measures = st.builds(
    Measured,
    started_ns=numbers,
    wall_ns=numbers,
    cpu_ns=numbers,
    peak_rss_bytes=numbers,
    rss_before_bytes=numbers,
    is_exact=st.booleans(),
    leftover_processes=leftovers,
    leftover_threads=leftovers,
)


def usage_of(measured: Measured) -> Usage:
    return Usage(
        at(measured.started_ns),
        measured.wall_ns * 1e-9,
        measured.cpu_ns * 1e-9,
        measured.peak_rss_bytes,
        measured.rss_before_bytes,
        measured.is_exact,
        measured.leftover_processes,
        measured.leftover_threads,
    )


@given(ticket=numbers, measured=measures, value=st.binary(max_size=100))
def test_result_comes_back(ticket: int, measured: Measured, value: bytes) -> None:
    kind, body = only_frame(*encode_result(ticket, measured, value))
    assert kind is Kind.RESULT
    assert attempt.decode_result(body, at) == AttemptEnded(
        ticket, AttemptOutcome.SUCCESS, usage_of(measured), value
    )


@given(
    ticket=numbers,
    measured=measures,
    error=st.builds(
        JobError,
        type_name=texts,
        message=texts,
        traceback=texts,
        pickled=st.none() | st.binary(max_size=50),
    ),
    retryable=st.booleans(),
    retry_after=st.none() | st.floats(0, 1e9),
    discard=st.none() | texts,
)
def test_failure_comes_back(
    *,
    ticket: int,
    measured: Measured,
    error: JobError,
    retryable: bool,
    retry_after: float | None,
    discard: str | None,
) -> None:
    buffers = encode_failure(
        ticket,
        measured,
        error,
        retryable=retryable,
        retry_after=retry_after,
        discard=discard,
    )
    kind, body = only_frame(*buffers)
    assert kind is Kind.FAILURE
    assert attempt.decode_failure(body, at) == AttemptEnded(
        ticket,
        AttemptOutcome.ERROR,
        usage_of(measured),
        error=error,
        retryable=retryable,
        retry_after=retry_after,
        discard=discard,
    )


handed = st.builds(
    Handed,
    ticket=numbers,
    id=numbers,
    attempt=st.integers(1, 1 << 31),
    priority=st.integers(0, 2),
    is_guarded=st.booleans(),
    created_at=st.floats(0, 1e10),
    deadline=st.none() | st.floats(1, 1e10),
    type=st.text(min_size=1, max_size=20),
    payload=st.binary(max_size=50) | st.just(bytes(message.COPY_BYTES + 1)),
)


@given(jobs=st.lists(handed, min_size=1, max_size=10))
def test_jobs_come_back_in_order(jobs: list[Handed]) -> None:
    dispatches = [
        Dispatch(
            j.ticket,
            JobSpec(j.id, j.type, j.payload, j.priority, 0.0, j.created_at, deadline=j.deadline),
            j.attempt,
            j.is_guarded,
        )
        for j in jobs
    ]
    kind, body = only_frame(*message.encode_jobs(dispatches))
    assert kind is Kind.JOBS
    assert message.decode_jobs(body) == jobs


def test_a_large_payload_is_not_copied() -> None:
    payload = bytes(message.COPY_BYTES + 1)
    job = JobSpec(1, "big", payload, 1, 0.0, 0.0)
    assert any(buffer is payload for buffer in message.encode_jobs([Dispatch(1, job, 1)]))
    measured = Measured(0, 0, 0, 0, 0, True)
    assert encode_result(1, measured, payload)[1] is payload


SETTINGS = BootSettings(
    sys_path=("", "/a b", "/\udcff"),
    argv=None,
    log_levels=(("", 30), ("\xe4.b", 10)),
    capped=("OMP_NUM_THREADS",),
)
ROUND_TRIPS: list[tuple[Kind, Any, Callable[[bytes], Any], Any]] = [
    (Kind.BOOT, message.encode_boot(SETTINGS, b"x"), message.decode_boot, (SETTINGS, b"x")),
    (Kind.DEFINE, message.encode_define(b"blob"), bytes, b"blob"),
    (Kind.RESUME_TYPE, [message.encode_resume_type("é")], message.decode_resume_type, "é"),
    (Kind.ANSWER, [message.encode_answer(7, 3, b"ok")], message.decode_answer, (7, 3, b"ok")),
    (Kind.READY, [message.encode_ready()], bytes, b""),
    (Kind.BOOT_FAILED, [message.encode_boot_failed("no")], message.decode_boot_failed, "no"),
    (Kind.HANDED_BACK, [message.encode_handed_back([4, 9])], message.decode_handed_back, [4, 9]),
    (Kind.WORN, [message.encode_worn("left threads")], message.decode_worn, "left threads"),
    (
        Kind.LOG,
        [logline.encode_log(7, 5, 20, "hello")],
        lambda body: logline.decode_log(body, at),
        logline.LogLine(7, at(5), 20, "hello"),
    ),
    (
        Kind.LOG,
        [logline.encode_log(0, 5, 1000, "", Origin("a.b", "/é.py", 12, "run", "T-1"))],
        lambda body: logline.decode_log(body, at),
        logline.LogLine(0, at(5), 1000, "", Origin("a.b", "/é.py", 12, "run", "T-1")),
    ),
    (
        Kind.PROGRESS,
        [message.encode_progress(7, 1.5, None)],
        message.decode_progress,
        message.Progress(7, 1.5, None),
    ),
    (
        Kind.PROGRESS,
        [message.encode_progress(7, 1, 4)],
        message.decode_progress,
        message.Progress(7, 1.0, 4.0),
    ),
    (
        Kind.CALL,
        message.encode_call(Call(7, 1, "add", b"body")),
        message.decode_call,
        Call(7, 1, "add", b"body"),
    ),
]


@pytest.mark.parametrize("kind, buffers, decode, expected", ROUND_TRIPS)
def test_message_comes_back(
    kind: Kind, buffers: list[bytes], decode: Callable[[bytes], Any], expected: Any
) -> None:
    got, body = only_frame(*buffers)
    assert got is kind
    assert decode(body) == expected


DECODERS: dict[Kind, Callable[[bytes], Any]] = {
    Kind.RESULT: lambda body: attempt.decode_result(body, at),
    Kind.FAILURE: lambda body: attempt.decode_failure(body, at),
    Kind.HANDED_BACK: message.decode_handed_back,
    Kind.LOG: lambda body: logline.decode_log(body, at),
    Kind.PROGRESS: message.decode_progress,
    Kind.CALL: message.decode_call,
    Kind.BOOT_FAILED: message.decode_boot_failed,
    Kind.WORN: message.decode_worn,
}
GOOD = {
    Kind.RESULT: encode_result(1, Measured(1, 2, 3, 4, 5, True), b"value"),
    Kind.FAILURE: encode_failure(
        1,
        Measured(1, 2, 3, 4, 5, True),
        JobError(type_name="A", message="b", traceback="c", pickled=b"d"),
        retry_after=1.0,
        discard="e",
    ),
    Kind.HANDED_BACK: [message.encode_handed_back([1, 2])],
    Kind.LOG: [logline.encode_log(1, 2, 20, "text")],
    Kind.PROGRESS: [message.encode_progress(1, 2, 3)],
    Kind.CALL: message.encode_call(Call(1, 2, "verb", b"body")),
    Kind.BOOT_FAILED: [message.encode_boot_failed("text")],
    Kind.WORN: [message.encode_worn("text")],
}


@pytest.mark.parametrize("kind", DECODERS)
@given(body=st.binary(max_size=120))
def test_any_body_is_data_or_a_protocol_error(kind: Kind, body: bytes) -> None:
    decode_or_refuse(kind, body)


@pytest.mark.parametrize("kind", DECODERS)
@given(data=st.data())
def test_a_good_body_cut_grown_or_changed_is_data_or_a_protocol_error(
    kind: Kind, data: st.DataObject
) -> None:
    _, good = only_frame(*GOOD[kind])
    body = bytearray(good)
    for _ in range(data.draw(st.integers(0, 4))):
        body[data.draw(st.integers(0, len(body) - 1))] = data.draw(st.integers(0, 255))
    keep = data.draw(st.integers(0, len(body)))
    decode_or_refuse(kind, bytes(body[:keep]) + data.draw(st.binary(max_size=10)))


def decode_or_refuse(kind: Kind, body: bytes) -> None:
    try:
        found = DECODERS[kind](body)
    except ProtocolError:
        return
    if isinstance(found, logline.LogLine):
        assert 0 <= found.level < 1 << 31
        assert 0 <= found.origin.lineno < 1 << 31
        assert len(found.text.encode()) <= MAX_TRACEBACK_BYTES
    if isinstance(found, AttemptEnded):
        assert math.isfinite(found.usage.started_at)
        assert 0 <= found.usage.peak_rss_bytes < 1 << 63
        assert found.retry_after is None or 0 <= found.retry_after < math.inf


def test_texts_that_are_too_long_lose_their_end() -> None:
    error = JobError(type_name="é" * 9999, message="é" * 99_999, traceback="x" * 99_999)
    _, body = only_frame(*encode_failure(1, Measured(0, 0, 0, 0, 0, False), error))
    got = attempt.decode_failure(body, at).error
    assert got is not None
    assert len(got.message.encode()) == MAX_TEXT_BYTES
    assert len(got.traceback) == MAX_TRACEBACK_BYTES


ANY_TEXT = st.text(st.characters(), max_size=20) | st.sampled_from(["é" * 9999, "a\0b", "\udcff"])


@given(names=st.tuples(*[ANY_TEXT] * 4), text=ANY_TEXT, level=st.integers(), line=st.integers())
def test_whatever_is_logged_is_understood(
    names: tuple[str, str, str, str], text: str, level: int, line: int
) -> None:
    name, path, function, thread = names
    origin = Origin(name, path, line, function, thread)
    _, body = only_frame(*[logline.encode_log(1, 2, level, text, origin)])
    found = logline.decode_log(body, at)
    assert 0 <= found.level < 1 << 31
    if "\0" not in "".join(names) and "\udcff" not in "".join(names) and len("".join(names)) < 100:
        assert (found.origin.name, found.origin.thread) == tuple(
            n.encode(errors="backslashreplace").decode() for n in (name, thread)
        )


def test_a_log_frame_of_the_wrong_shape_is_refused() -> None:
    _, good = only_frame(logline.encode_log(1, 2, 20, "text", Origin("a")))
    start = struct.calcsize("<QQIIH")
    lies = {
        "more names than there are": good[: start - 2] + b"\xff\xff" + good[start:],
        "fewer names": good.replace(b"a\0", b"aa", 1),
        "no text": good[:-1] + b"\xff",
        "a text that is too long": good + b"x" * MAX_TRACEBACK_BYTES,
        "a level of 32 bits": good[:16] + b"\xff\xff\xff\xff" + good[20:],
        "a time of 64 bits": good[:8] + b"\xff" * 8 + good[16:],
    }
    for body in lies.values():
        with pytest.raises(ProtocolError, match="malformed log"):
            logline.decode_log(body, at)


@given(text=st.text(st.characters(), max_size=30), limit=st.integers(0, 40))
def test_clipped_text_is_utf8_within_its_limit(text: str, limit: int) -> None:
    data = clip(text, limit)
    assert len(data) <= limit
    data.decode()
