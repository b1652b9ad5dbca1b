"""Whatever a job raises or returns, an answer comes, and the worker lives."""

import pickle
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from knock.core.events import (
    AttemptEnded,
)
from knock.core.job import AttemptOutcome, JobError
from knock.errors import RemoteJobError, SerializationError
from knock.pool.control import RetryLater
from knock.pool.definition import ItemPickler, Processor, Style, dump_definitions
from knock.pool.failure import RemoteTraceback, describe_exception, rebuild_exception
from knock.protocol.field import MAX_TEXT_BYTES, MAX_TRACEBACK_BYTES
from tests.worker import jobs
from tests.worker.harness import LocalWorker, definitions_of, run_one

pytestmark = pytest.mark.process


@pytest.fixture(scope="module")
def worker() -> Iterator[LocalWorker]:
    names = ("raise_it", "raise_named", "raise_deep", "raise_chain", "raise_group")
    functions: dict[str, Any] = {name: getattr(jobs, name) for name in names}
    functions |= {
        "raise_with_note": jobs.raise_with_note,
        "unpicklable": jobs.make_unpicklable,
        "later": jobs.later,
        "discard": jobs.discard,
        "echo": jobs.echo,
    }
    processors = {name: Processor(fn, Style.ITEM) for name, fn in functions.items()}
    with LocalWorker(dump_definitions(processors=processors)) as found:
        found.ready()
        yield found
        assert found.value("echo", "alive") == "alive"
        assert found.end() == 0


def failed(ended: AttemptEnded) -> JobError:
    assert ended.outcome is AttemptOutcome.ERROR
    assert ended.error is not None
    return ended.error


@pytest.mark.parametrize(
    "exc, name, message",
    [
        (ValueError("plain"), "ValueError", "plain"),
        (SystemExit(3), "SystemExit", "3"),
        (KeyboardInterrupt(), "KeyboardInterrupt", ""),
        (GeneratorExit(), "GeneratorExit", ""),
        (jobs.OwnBaseError("own"), "tests.worker.jobs.OwnBaseError", "own"),
        (StopIteration(1), "StopIteration", "1"),
    ],
)
def test_anything_raised_is_a_failure(
    worker: LocalWorker, exc: BaseException, name: str, message: str
) -> None:
    ended = worker.run("raise_it", exc)
    error = failed(ended)
    assert (error.type_name, error.message, ended.retryable) == (name, message, True)
    assert error.traceback.startswith("Traceback")
    assert "in raise_it\n    raise exc\n" in error.traceback
    assert "knock/pool" not in error.traceback
    assert error.pickled is not None
    assert type(pickle.loads(error.pickled)) is type(exc)


@pytest.mark.parametrize(
    "name, message, is_pickled",
    [
        ("TwoArgumentsError", "1", True),
        ("BadStrError", "<str() of the exception raised ValueError>", True),
        ("NotAStrError", "<str() of the exception raised TypeError>", True),
        ("ExitingStrError", "<str() of the exception raised SystemExit>", True),
        ("HugeStrError", "é" * (MAX_TEXT_BYTES // 2), True),
        ("LiarError", "text", True),
        ("ExitingReduceError", "text", True),
        ("LockedError", "text", False),
    ],
)
def test_hostile_exception_arrives_as_text(
    worker: LocalWorker, name: str, message: str, is_pickled: bool
) -> None:
    error = failed(worker.run("raise_named", name))
    assert error.type_name == f"tests.worker.jobs.{name}"
    assert error.message == message
    assert "in raise_named" in error.traceback
    assert len(error.traceback.encode()) <= MAX_TRACEBACK_BYTES
    assert (error.pickled is not None) == is_pickled
    back = rebuild_exception(error, job_id=7, job_type="raise_named")
    if is_pickled:
        assert type(back) is getattr(jobs, name)
    else:
        assert isinstance(back, RemoteJobError)
        assert back.type_name == error.type_name
        assert (back.job_id, back.job_type) == (7, "raise_named")
        assert back.detail == error.traceback


def test_long_tracebacks_keep_head_and_tail(worker: LocalWorker) -> None:
    deep = failed(worker.run("raise_deep", 400)).traceback
    assert deep.startswith("Traceback (most recent call last):\n")
    assert deep.endswith("ValueError: at the bottom\n")
    assert "bytes left out" in deep or len(deep) < MAX_TRACEBACK_BYTES
    assert failed(worker.run("raise_deep", 10_000)).type_name == "RecursionError"
    chain = failed(worker.run("raise_chain", 2_000)).traceback
    assert "bytes left out" in chain
    assert chain.endswith("KeyError: 1999\n")
    group = failed(worker.run("raise_group", 10_000))
    assert group.message == "many (10000 sub-exceptions)"
    assert len(group.traceback) <= MAX_TRACEBACK_BYTES


def test_causes_and_notes_are_in_the_traceback(worker: LocalWorker) -> None:
    text = failed(worker.run("raise_with_note", None)).traceback
    assert "KeyError: 'the reason'" in text
    assert text.endswith("ValueError: plain\na note to it\n")


# --- what cannot be pickled ---


@pytest.mark.parametrize(
    "name, message",
    [
        (
            "lock",
            "cannot pickle the result of 'unpicklable'['deep'][1].held: _thread.lock "
            "(TypeError: cannot pickle '_thread.lock' object)",
        ),
        ("generator", "cannot pickle the result of 'unpicklable': generator ("),
        ("socket", "cannot pickle the result of 'unpicklable': socket.socket ("),
        ("deep", "RecursionError"),
        ("exit", "cannot pickle the result of 'unpicklable': tests.worker.jobs.ExitingReduce"),
    ],
)
def test_result_that_cannot_be_pickled_is_a_failure_that_names_it(
    worker: LocalWorker, name: str, message: str
) -> None:
    ended = worker.run("unpicklable", name)
    error = failed(ended)
    assert error.type_name == "knock.errors.SerializationError"
    assert message in error.message
    assert not ended.retryable
    assert isinstance(rebuild_exception(error), SerializationError)


@pytest.mark.parametrize(
    "item, message",
    [
        (jobs.FailsToLoad(), "ZeroDivisionError: division by zero"),
        (jobs.ExitsAtLoad(), "SystemExit: 3"),
    ],
)
def test_data_that_cannot_be_unpickled_is_a_failure(
    worker: LocalWorker, item: object, message: str
) -> None:
    ended = worker.run("echo", item)
    error = failed(ended)
    assert error.type_name == "knock.errors.SerializationError"
    assert error.message.startswith("cannot unpickle the data of job ")
    assert error.message.endswith(message)
    assert not ended.retryable


def test_garbage_as_data_is_a_failure(worker: LocalWorker) -> None:
    worker.resume("echo")
    worker.permit(worker.hand("echo", b"\x80\x05garbage"))
    assert "cannot unpickle the data" in failed(worker.hear()).message


class Holder:
    def __init__(self, held: object) -> None:
        self.held = held

    def method(self) -> None:
        """Bound to it."""


LOCK = threading.Lock()


def uses_a_lock() -> Any:
    lock = threading.Lock()
    return lambda: lock


UNPICKLABLE = [
    ([0, 1, {"lock": LOCK}], "cannot pickle item[2]['lock']: _thread.lock (TypeError: "),
    (Holder(LOCK), "cannot pickle item.held: _thread.lock ("),
    (Holder(Holder([LOCK])).method, "cannot pickle item.__self__.held.held[0]: _thread.lock ("),
    (uses_a_lock(), "cannot pickle item closure variable 'lock': _thread.lock ("),
    ({(1, 2): (x for x in ())}, "cannot pickle item[(1, 2)]: generator ("),
]


@pytest.mark.parametrize("item, message", UNPICKLABLE)
def test_item_that_cannot_be_pickled_is_refused_by_name(item: object, message: str) -> None:
    with pytest.raises(SerializationError) as caught:
        ItemPickler().dumps(item)
    assert str(caught.value).startswith(message)


def test_definitions_that_cannot_be_pickled_are_refused_by_name() -> None:
    with pytest.raises(SerializationError, match=r"cannot pickle processor 'a' closure variable"):
        dump_definitions(processors={"a": Processor(uses_a_lock())})
    with pytest.raises(SerializationError, match=r"cannot pickle initargs\[1\]: _thread.lock"):
        dump_definitions(print, (1, LOCK))


# --- verdicts ---


def test_retry_on_is_judged_in_the_worker() -> None:
    classes = (ValueError, OSError)
    assert run_one(jobs.raise_it, FileNotFoundError(), retry_on=classes).retryable
    assert not run_one(jobs.raise_it, KeyError(), retry_on=classes).retryable
    with LocalWorker(definitions_of(jobs.raise_it, retry_on=jobs.is_worth_it)) as worker:
        worker.ready()
        assert worker.run("job", ValueError("try again")).retryable
        assert not worker.run("job", ValueError("no")).retryable
        assert worker.run("job", RetryLater(1)).retryable


def test_failing_predicate_counts_as_retryable_and_is_told() -> None:
    ended = run_one(jobs.raise_it, ValueError("x"), retry_on=jobs.predicate_that_fails)
    assert ended.retryable
    text = failed(ended).traceback
    assert "ValueError: x" in text
    assert text.endswith("RuntimeError: predicate broke\n")


def test_job_steers_its_own_fate(worker: LocalWorker) -> None:
    ended = worker.run("later", 2.5)
    assert (ended.retry_after, ended.discard) == (2.5, None)
    ended = worker.run("discard", "file is gone")
    assert (ended.retry_after, ended.discard) == (None, "file is gone")
    assert worker.run("discard", "").discard == ""


@pytest.mark.parametrize("delay", [-1, float("nan"), float("inf"), True])
def test_senseless_delay_is_refused(delay: float) -> None:
    with pytest.raises(ValueError, match="delay must be"):
        RetryLater(delay)


# --- back in the caller ---


def test_exception_comes_back_with_the_remote_traceback_as_its_cause() -> None:
    error = failed(run_one(jobs.divide, 0))
    back = rebuild_exception(error)
    assert isinstance(back, ZeroDivisionError)
    assert isinstance(back.__cause__, RemoteTraceback)
    assert "in divide" in str(back.__cause__)
    again = pickle.loads(pickle.dumps(back.__cause__))
    assert str(again) == str(back.__cause__)


def test_job_that_exits_does_not_exit_the_caller() -> None:
    back = rebuild_exception(describe_exception(SystemExit(3)))
    assert isinstance(back, RemoteJobError)
    assert str(back) == "SystemExit: 3"
