"""What is logged in workers comes home; the last lines are kept with a failure."""

import logging
import threading
from pathlib import Path

import pytest

from knock import iter_pool, run_pool
from knock.core.job import AttemptOutcome
from knock.errors import JobTimeoutError, RemoteJobError, WorkerBootError, WorkerCrashedError
from tests.run import logjobs
from tests.witness import wait_for

pytestmark = pytest.mark.process

QUIET = {"progress": False, "workers": 2}
LOGGER = logging.getLogger("shop.orders")


@pytest.fixture(params=["thread", "process"])
def quiet(request):
    """The supervisor in each place."""
    return {**QUIET, "supervisor": request.param}


def of_orders(caplog):
    return [record for record in caplog.records if record.name.startswith("shop.orders")]


@pytest.fixture
def handler():
    """Attach a handler to the logger of the jobs for a test."""
    attached = []

    def attach(emit):
        handler = logging.Handler()
        handler.emit = emit
        LOGGER.addHandler(handler)
        attached.append(handler)

    yield attach
    for one in attached:
        LOGGER.removeHandler(one)


# --- forwarding -----------------------------------------------------------------------------------


@pytest.mark.parametrize("start_method", ["forkserver", "spawn", "fork"])
def test_records_come_home_as_records(quiet, caplog, start_method):
    report = run_pool(logjobs.log_one, ["a", "b"], **quiet, start_method=start_method)
    pids = {o.job_id: o.worker_pid for o in report.outcomes}
    records = sorted(of_orders(caplog), key=lambda record: record.job_id)
    assert [record.getMessage() for record in records] == [
        "item a of {'a': 1}",
        "item b of {'a': 1}",
    ]
    for record, outcome in zip(records, report.outcomes, strict=True):
        assert (record.name, record.levelno) == ("shop.orders", logging.WARNING)
        assert (record.job_id, record.job_type) == (outcome.job_id, outcome.job_type)
        assert (record.attempt, record.worker_pid) == (1, pids[record.job_id])
        assert record.process == record.worker_pid
        assert record.funcName == "log_one"
        assert Path(record.pathname) == Path(logjobs.__file__)
        assert record.lineno > 0
        usage = outcome.attempts[0].usage
        assert 0 <= record.created - usage.started_at <= usage.wall_seconds + 0.01
        assert abs(record.msecs / 1000 - record.created % 1) < 1e-6
        assert record.relativeCreated > 0
        assert logging.Formatter("%(asctime)s %(message)s").format(record).endswith("{'a': 1}")


def test_an_exception_comes_as_text(caplog):
    run_pool(logjobs.log_exception, ["key"], **QUIET)
    [record] = of_orders(caplog)
    lines = record.getMessage().splitlines()
    assert lines[:2] == ["not found", "Traceback (most recent call last):"]
    assert lines[-1] == "KeyError: 'key'"
    assert record.exc_info is None


def test_messages_that_cannot_be_shown_cost_nothing(caplog):
    assert run_pool(logjobs.log_hostile, [1], **QUIET).results == ["survived"]
    first, second, third, fourth = [record.getMessage() for record in of_orders(caplog)]
    assert first == "<a message that cannot be formatted: 'before %s': RuntimeError>"
    assert second == "<a message that cannot be formatted: of a Hostile: RuntimeError>"
    assert third == "<a message that cannot be formatted: 'too few %s %s': TypeError>"
    assert fourth == "{'no': 'text'}"


def test_only_what_the_caller_lets_through_is_sent(caplog):
    levels = [logging.DEBUG, logging.INFO, logging.WARNING]
    run_pool(logjobs.log_at, levels, **QUIET)
    assert [record.levelno for record in of_orders(caplog)] == [logging.WARNING]
    caplog.clear()
    # What the root wants by the time it arrives does not count: it was not sent.
    outcomes = iter_pool(logjobs.log_at, [logging.WARNING, *[logging.INFO] * 20], **QUIET)
    next(outcomes)
    caplog.set_level(logging.DEBUG)
    list(outcomes)
    assert {record.levelno for record in of_orders(caplog)} == {logging.WARNING}


def test_levels_that_the_caller_sets_later_apply_to_what_arrives(quiet, caplog, witness, gate):
    items = [(witness, gate, 0), (witness, gate, 5)]
    outcomes = iter_pool(logjobs.log_behind_gate, items, **quiet)
    next(outcomes)
    LOGGER.setLevel(logging.ERROR)
    try:
        gate.open()
        list(outcomes)
    finally:
        LOGGER.setLevel(logging.NOTSET)
    assert not of_orders(caplog)


def test_levels_of_loggers_and_below_warning_are_the_callers(caplog):
    with caplog.at_level(logging.DEBUG, "shop"):
        run_pool(logjobs.log_at, [logging.DEBUG, logging.INFO], **QUIET)
    assert sorted(record.levelno for record in of_orders(caplog)) == [10, 20]
    caplog.clear()
    with caplog.at_level(logging.DEBUG), caplog.at_level(logging.ERROR, "shop.orders"):
        run_pool(logjobs.log_at, [logging.INFO, logging.WARNING, logging.ERROR], **QUIET)
    assert [record.levelno for record in of_orders(caplog)] == [logging.ERROR]


def test_filters_of_the_caller_apply(caplog):
    LOGGER.addFilter(refuse := lambda record: record.job_id != 1)
    try:
        run_pool(logjobs.log_one, ["a", "b"], **QUIET)
    finally:
        LOGGER.removeFilter(refuse)
    assert [record.job_id for record in of_orders(caplog)] == [2]


def test_names_that_jobs_make_up_are_not_kept(caplog):
    run_pool(logjobs.log_by_its_name, range(10), **QUIET)
    records = of_orders(caplog)
    assert {record.name for record in records} == {f"shop.orders.number.{n}" for n in range(10)}
    assert not [n for n in logging.root.manager.loggerDict if n.startswith("shop.orders.number")]


def test_threads_of_a_job_speak_for_it(caplog):
    run_pool(logjobs.log_in_thread, [1], **QUIET)
    [record] = of_orders(caplog)
    assert (record.getMessage(), record.job_id) == ("of a thread", 1)
    assert record.threadName == "helper"


def test_a_thread_that_a_job_left_behind_is_no_lie(witness, caplog):
    options = {**QUIET, "workers": 1}
    items = iter_pool(logjobs.leave_logging_thread, [witness] * 20, **options)
    assert all(outcome.ok and outcome.outcome is AttemptOutcome.SUCCESS for outcome in items)
    witness.wait(1)
    assert {record.getMessage() for record in of_orders(caplog)} == {"left over"}


@pytest.mark.parametrize("start_method", ["forkserver", "spawn", "fork"])
def test_what_an_initializer_logs_comes_home_without_a_job(caplog, start_method):
    options = {**QUIET, "workers": 1, "start_method": start_method}
    run_pool(logjobs.log_one, [1], initializer=logjobs.set_up, initargs=("x",), **options)
    first, second = of_orders(caplog)
    assert (first.getMessage(), first.job_id, first.attempt) == ("initializer: x", None, None)
    assert second.job_id == 1


def test_what_a_failing_initializer_logs_comes_home(quiet, caplog):
    with pytest.raises(WorkerBootError, match="cannot set up"):
        run_pool(logjobs.log_one, [1], initializer=logjobs.set_up_and_fail, **quiet)
    assert {record.getMessage() for record in of_orders(caplog)} == {"about to fail"}


def test_a_handler_that_the_initializer_adds_is_one_more(caplog, tmp_path):
    path = tmp_path / "log"
    run_pool(logjobs.log_one, [1], initializer=logjobs.add_handler, initargs=(str(path),), **QUIET)
    assert path.read_text() == "item 1 of {'a': 1}\n"
    assert len(of_orders(caplog)) == 1


def test_an_initializer_may_keep_the_log_in_the_worker(caplog, tmp_path):
    path = tmp_path / "log"
    run_pool(logjobs.log_one, [1], initializer=logjobs.take_root, initargs=(str(path),), **QUIET)
    assert path.read_text() == "WARNING:shop.orders:item 1 of {'a': 1}\n"
    assert not of_orders(caplog)


@pytest.mark.parametrize("propagate", [True, False])
def test_handlers_that_were_forked_along_do_not_run(tmp_path, propagate):
    """The caller's file gets each line once, also where its handler is not the root's."""
    path = tmp_path / "log"
    handler = logging.FileHandler(path)
    LOGGER.addHandler(handler)
    LOGGER.propagate = propagate
    try:
        run_pool(logjobs.log_one, [1, 2], start_method="fork", **QUIET)
    finally:
        LOGGER.removeHandler(handler)
        LOGGER.propagate = True
        handler.close()
    assert sorted(path.read_text().splitlines()) == ["item 1 of {'a': 1}", "item 2 of {'a': 1}"]


def test_children_of_a_job_log_nothing_and_harm_nobody(caplog):
    assert run_pool(logjobs.log_in_children, [1, 2], **QUIET).results == [[5, 0], [5, 0]]
    assert [record.getMessage() for record in of_orders(caplog)] == ["of the parent"] * 2


def test_logging_in_the_middle_of_logging_neither_hangs_nor_tears_a_frame(quiet, caplog):
    [outcome] = run_pool(logjobs.log_while_logging, [1], **quiet, timeout=60).outcomes
    assert outcome.outcome is AttemptOutcome.SUCCESS, outcome.error
    lines = [r.getMessage() for r in of_orders(caplog) if r.getMessage().startswith("line ")]
    assert lines == [f"line {number}" for number in range(3000)]


# --- bounds ---------------------------------------------------------------------------------------


def test_ten_thousand_lines_come_in_order_and_none_is_lost(quiet, caplog):
    run_pool(logjobs.log_many, [10_000], **quiet)
    assert [record.getMessage() for record in of_orders(caplog)] == [
        f"line {number}" for number in range(10_000)
    ]


def test_a_caller_that_does_not_read_loses_lines_and_is_told(quiet, caplog, witness, gate):
    # More than all that holds some on the way: the supervisor, its channel, this process.
    lines = 80_000
    items = [(witness, gate, 0), (witness, gate, lines)]
    outcomes = iter_pool(logjobs.log_behind_gate, items, **{**quiet, "workers": 1})
    next(outcomes)
    gate.open()
    witness.wait(2)
    list(outcomes)
    told = [record for record in caplog.records if "dropped" in record.getMessage()]
    assert {(one.name, one.levelno) for one in told} == {("knock.job", logging.WARNING)}
    dropped = sum(int(one.getMessage().split()[0]) for one in told)
    assert dropped > 0
    assert len(of_orders(caplog)) + dropped == lines


def test_a_flood_ends_at_its_time_limit(quiet, caplog):
    report = run_pool(logjobs.log_for_ever, [1], **quiet, timeout=1.0)
    [attempt] = report.outcomes[0].attempts
    assert attempt.outcome is AttemptOutcome.TIMEOUT
    assert 0 < sum(map(len, attempt.log)) <= 1 << 14


def test_a_handler_that_raises_or_blocks_costs_no_job(quiet, handler, capfd):
    leave = threading.Event()
    seen = []

    def emit(record):
        seen.append(record.getMessage())
        if len(seen) == 1:
            raise SystemExit("broken handler")
        leave.wait(60)

    handler(emit)
    outcomes = iter_pool(logjobs.log_one, range(50), **quiet)
    assert sorted(next(outcomes).value for _ in range(50)) == list(range(50))
    wait_for(lambda: len(seen) == 2)
    leave.set()
    assert not list(outcomes)
    assert len(seen) == 50
    assert "broken handler" in capfd.readouterr().err


# --- the last lines -------------------------------------------------------------------------------

LAST = [*[f"WARNING shop.orders: line {n}" for n in range(52, 100)], "INFO knock.job: the last"]


@pytest.mark.parametrize("how", ["raise", "leave", "exit", "segfault", "hang"])
def test_a_failed_attempt_keeps_its_last_lines(quiet, how):
    options = {**quiet, "timeout": 1.0 if how == "hang" else 60.0}
    report = run_pool(logjobs.log_and_end, ["return", how], **options)
    good, bad = report.outcomes
    assert good.attempts[0].log == ()
    [attempt] = bad.attempts
    assert attempt.log == (*LAST, "words")
    error = bad.exception()
    if how == "raise":
        assert isinstance(error, ValueError)
    else:
        kind = {"hang": JobTimeoutError, "leave": RemoteJobError}
        assert isinstance(error, kind.get(how, WorkerCrashedError))
        assert error.log_lines == attempt.log
    shown = str(report)
    assert "      | WARNING shop.orders: line 99\n      | INFO knock.job: the last\n" in shown
    assert report.to_dict()["failures"][0]["example"]["log"][-1] == "words"


def test_the_last_lines_are_of_that_attempt():
    options = {**QUIET, "workers": 1}
    report = run_pool(logjobs.log_one_or_fail, [1, 2, -1, -2], **options)
    assert [o.attempts[0].log for o in report.outcomes] == [
        (),
        (),
        ("WARNING shop.orders: -1",),
        ("WARNING shop.orders: -2",),
    ]
