"""``run_pool``: a batch and its report."""

import logging
import re
import threading
from functools import partial

import pytest

from knock import iter_pool, run_pool
from knock.core.job import AttemptOutcome, JobState
from knock.errors import (
    ConfigError,
    JobCancelledError,
    JobsFailedError,
    JobTimeoutError,
    SerializationError,
    WorkerBootError,
    WorkerCrashedError,
)
from tests.run import jobs

pytestmark = pytest.mark.process

QUIET = {"progress": False, "workers": 2}


@pytest.fixture(params=["thread", "process"])
def quiet(request):
    """The supervisor in each place."""
    return {**QUIET, "supervisor": request.param}


# --- input and order ------------------------------------------------------------------------------


def test_results_are_in_the_order_of_the_input(quiet):
    report = run_pool(jobs.square, range(1000), **quiet)
    assert report.ok
    assert report.results == [n * n for n in range(1000)]
    assert [o.index for o in report.outcomes] == [o.item for o in report.outcomes]


def test_several_inputs_are_zipped():
    report = run_pool(jobs.add, [1, 2], (n for n in (10, 20)), {100: 0, 200: 0}, **QUIET)
    assert report.results == [111, 222]
    assert report.outcomes[0].item == (1, 10, 100)


@pytest.mark.parametrize("second", [[1], [1, 2, 3]])
def test_inputs_of_different_lengths_are_an_error(second):
    with pytest.raises(ValueError, match=r"zip\(\) argument 2"):
        run_pool(jobs.add, [1, 2], second, **QUIET)


def test_no_input_is_an_empty_report(quiet):
    report = run_pool(jobs.square, [], **quiet)
    assert (report.ok, report.results, report.outcomes) == (True, [], [])
    assert list(iter_pool(jobs.square, iter(()), **quiet)) == []


def test_functions_of_all_kinds():
    outer = 10
    assert run_pool(lambda x: x + outer, [1, 2], **QUIET).results == [11, 12]
    assert run_pool(partial(jobs.add, 1, z=5), [2, 3], **QUIET).results == [8, 9]
    assert run_pool(str.upper, ["a"], **QUIET).results == ["A"]
    assert run_pool(abs, [-3], **QUIET).results == [3]


def test_options_that_cannot_be_are_refused_before_anything_starts():
    for error, options in [
        (TypeError, {"wrokers": 2}),
        (ConfigError, {"workers": 0}),
        (ConfigError, {"timeout": 0}),
        (ConfigError, {"timeout": -1}),
        (ConfigError, {"stop_after": "5"}),
        (ConfigError, {"stop_after": "0%"}),
        (ConfigError, {"stop_after": 0}),
        (ConfigError, {"on_error": "explode"}),
        (ConfigError, {"on_error": "stop", "stop_after": 3}),
        (ConfigError, {"start_method": "telekinesis"}),
        (ConfigError, {"supervisor": "moon"}),
        (ConfigError, {"retry_on": 5}),
        (ConfigError, {"preload": "numpy"}),
    ]:
        with pytest.raises(error):
            run_pool(jobs.square, [1], **options)
    with pytest.raises(TypeError):
        run_pool(5, [1])
    with pytest.raises(TypeError):
        run_pool(jobs.square)


def test_an_item_that_cannot_be_pickled_costs_that_job_and_no_other(quiet):
    items = [1, 2, {"inner": [threading.Lock()]}, 4]
    report = run_pool(jobs.square, items, **quiet)
    assert report.values() == [1, 4, None, 16]
    [refused] = report.failures
    assert refused.state is JobState.DEAD
    assert (refused.index, refused.item, refused.attempts) == (2, items[2], ())
    with pytest.raises(SerializationError, match=r"cannot pickle item 2\['inner'\]\[0\].*lock"):
        _ = refused.value
    assert (refused.error.type_name, refused.error.message) == (
        "SerializationError",
        str(refused.exception()),
    )
    assert "1 x error SerializationError" in report.summary()
    assert "item 2['inner'][0]" in str(report)


def test_items_that_cannot_be_pickled_are_in_the_stream_too():
    items = [threading.Lock(), 2, threading.Lock()]
    outcomes = list(iter_pool(jobs.square, items, **QUIET))
    assert sorted((o.index, o.ok) for o in outcomes) == [(0, False), (1, True), (2, False)]
    assert next(iter_pool(jobs.square, items[:1], **QUIET)).error.type_name == "SerializationError"


@pytest.mark.parametrize(
    "rule, items, dead",
    [
        ({"on_error": "stop"}, [None] * 50, 1),
        ({"stop_after": 3}, [-1, -1, None, None], 3),
        ({"stop_after": "50%"}, [None] * 20, 10),
    ],
)
def test_what_cannot_be_pickled_counts_for_giving_up(quiet, rule, items, dead):
    lock = threading.Lock()
    given = (lock if item is None else item for item in items)
    given = list(given) if rule.get("stop_after") == "50%" else given
    report = run_pool(jobs.pick, given, **rule, **quiet)
    states = [o.state for o in report.outcomes]
    assert states.count(JobState.DEAD) >= dead
    assert set(states) <= {JobState.DEAD, JobState.CANCELLED}
    assert re.search(r"finished jobs? died$", report.facts.stopped_by)


def test_a_function_that_cannot_be_pickled_is_named():
    lock = threading.Lock()
    with pytest.raises(SerializationError, match="lock"):
        run_pool(lambda x: lock, [1], **QUIET)


def test_what_the_input_raises_is_raised_with_the_report_of_what_was_done(witness, gate, quiet):
    def items():
        yield from [(witness, gate, n) for n in range(2)]
        witness.wait(2)
        opener.start()
        raise OSError("the disk is gone")

    # Well after the input has failed.
    opener = threading.Timer(0.2, gate.open)
    with pytest.raises(OSError, match="the disk is gone") as raised:
        run_pool(jobs.wait_in, items(), **quiet)
    opener.join()
    assert raised.value.__notes__ == ["knock: the input failed; 2 jobs had finished"]
    assert raised.value.report.results == [0, 1]
    assert raised.value.report.facts.stopped_by == "the input raised OSError"


def test_what_was_not_begun_when_the_input_failed_is_named(witness, gate):
    def items():
        yield from [(witness, gate, n) for n in range(10)]
        witness.wait(2)
        gate.open()
        raise LookupError

    with pytest.raises(LookupError) as raised:
        run_pool(jobs.wait_in, items(), **QUIET)
    outcomes = raised.value.report.outcomes
    assert [o.item[2] for o in outcomes] == list(range(10))
    assert {o.state for o in outcomes} <= {JobState.COMPLETED, JobState.CANCELLED}
    done = sum(o.ok for o in outcomes)
    assert raised.value.__notes__ == [f"knock: the input failed; {done} jobs had finished"]


class SelfishError(Exception):
    """Takes no attribute."""

    report = property(lambda self: 1 / 0)


@pytest.mark.parametrize("error", [SelfishError(), JobsFailedError("inner", "its own")])
def test_an_exception_of_the_input_is_left_as_it_is(error):
    def items():
        yield 1
        raise error

    with pytest.raises(type(error)) as raised:
        run_pool(jobs.square, items(), **QUIET)
    assert raised.value is error
    assert raised.value.__notes__
    if isinstance(error, JobsFailedError):
        assert error.report == "its own"


def test_an_item_runs_while_the_input_waits_for_its_effect(witness, quiet):
    def items():
        for done in range(0, 30, 10):
            yield from [(witness, n) for n in range(done, done + 10)]
            witness.wait(done + 10, seconds=10)

    assert run_pool(jobs.count_in, items(), **quiet).results == list(range(30))


# --- failures -------------------------------------------------------------------------------------


def test_failures_are_collected_and_cost_no_other_job(quiet):
    report = run_pool(jobs.pick, [1, -1, 2, -2, 3, -3, 4], **quiet)
    assert not report.ok
    assert [o.state is JobState.COMPLETED for o in report.outcomes] == [
        True, False, True, False, True, False, True,
    ]  # fmt: skip
    error, exited, crashed = (report.outcomes[n].exception() for n in (1, 3, 5))
    assert isinstance(error, ValueError)
    assert isinstance(exited, WorkerCrashedError)
    assert (exited.exit_code, crashed.exit_code, crashed.signal) == (0, None, 11)
    assert [report.outcomes[n].value for n in (0, 2, 4, 6)] == [1, 2, 3, 4]
    with pytest.raises(JobsFailedError) as raised:
        _ = report.results
    assert raised.value.report is report


def test_a_job_over_its_limit_is_killed(quiet):
    report = run_pool(jobs.pick, [-4, 1, 2], timeout=0.3, **quiet)
    assert [o.ok for o in report.outcomes] == [False, True, True]
    assert isinstance(report.outcomes[0].exception(), JobTimeoutError)


def test_retries(witness, quiet):
    options = {"retry_attempts": 1, "retry_delay": 0.01, **quiet}
    report = run_pool(jobs.fail_first, [(witness, n) for n in range(5)], **options)
    assert report.results == list(range(5))
    assert all(len(o.record.attempts) == 2 for o in report.outcomes)


def test_only_what_is_worth_it_is_retried(witness):
    options = {"retry_attempts": 3, "retry_delay": 0.01, **QUIET}
    report = run_pool(jobs.fail_first, [(witness, 1)], retry_on=OSError, **options)
    assert len(report.outcomes[0].record.attempts) == 1
    report = run_pool(jobs.fail_first, [(witness, 2)], retry_on=(OSError, ValueError), **options)
    assert report.ok


def test_dead_jobs_are_logged_once(caplog):
    with caplog.at_level(logging.WARNING, "knock"):
        run_pool(jobs.pick, [-1, 1, -1, -2], **QUIET)
    [record] = [r for r in caplog.records if r.name == "knock.run"]
    assert record.levelno == logging.WARNING
    assert record.getMessage().startswith("1 of 4 jobs completed")
    caplog.clear()
    with caplog.at_level(logging.DEBUG, "knock"):
        run_pool(jobs.pick, [1, 2], **QUIET)
    assert not [r for r in caplog.records if r.levelno >= logging.WARNING]


# --- stopping -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "rule,failures",
    [
        ({"on_error": "stop"}, 1),
        ({"stop_after": 5}, 5),
        ({"stop_after": "5%"}, 10),
    ],
)
def test_a_batch_that_fails_too_often_is_given_up(quiet, rule, failures):
    report = run_pool(jobs.pick, [-1] * 200, **rule, **quiet)
    outcomes = report.outcomes
    assert len(outcomes) == 200
    dead = [o for o in outcomes if o.state is JobState.DEAD]
    # One more for what the other worker had begun.
    assert failures <= len(dead) <= failures + 1
    left = [o for o in outcomes if o.state is JobState.CANCELLED]
    assert len(dead) + len(left) == 200
    assert isinstance(left[-1].exception(), JobCancelledError)
    assert report.facts.stopped_by


def test_a_share_of_an_unknown_number_counts_what_has_finished():
    def items():
        yield from [1] * 100
        yield from [-1] * 1000

    outcomes = list(iter_pool(jobs.pick, items(), stop_after="50%", **QUIET))
    dead = sum(o.state is JobState.DEAD for o in outcomes)
    assert 90 <= dead <= 120


def test_too_few_failures_stop_nothing(quiet):
    report = run_pool(jobs.pick, [-1] * 4 + [1] * 96, stop_after="5%", **quiet)
    assert sum(o.ok for o in report.outcomes) == 96
    assert sum(o.outcome is AttemptOutcome.ERROR for o in report.outcomes) == 4


def test_with_nothing_left_to_do_a_stop_rule_does_no_harm():
    report = run_pool(jobs.pick, [1, 2, -1], on_error="stop", **QUIET)
    assert sum(o.state is JobState.DEAD for o in report.outcomes) == 1


# --- seeds ----------------------------------------------------------------------------------------


def test_the_same_seed_draws_the_same_whatever_worker_runs_it():
    draws = [
        run_pool(jobs.draw, range(200), seed=7, workers=workers, progress=False).results
        for workers in (1, 4)
    ]
    assert draws[0] == draws[1]
    assert len(set(draws[0])) == 200
    other = run_pool(jobs.draw, range(200), seed=8, **QUIET).results
    assert not set(other) & set(draws[0])


def test_without_a_seed_nothing_is_drawn_twice():
    draws = [run_pool(jobs.draw, range(100), **QUIET).results for _ in range(2)]
    assert len({*draws[0], *draws[1]}) == 200


@pytest.mark.parametrize("method", ["forkserver", "spawn", "fork"])
def test_no_two_of_a_thousand_jobs_draw_the_same(method):
    # Loaded before the fork, so that the workers have its state in common.
    options = {"workers": 4, "preload": ("numpy.random", "random"), "progress": False}
    drawn = run_pool(jobs.draw, range(1000), start_method=method, **options).results
    assert len({python for python, _ in drawn}) == 1000
    assert len({numpy for _, numpy in drawn}) == 1000


@pytest.mark.parametrize("isolation", ["restore", "fresh"])
def test_no_level_of_isolation_changes_what_is_drawn(isolation):
    options = {"workers": 2, "progress": False}
    shared = run_pool(jobs.draw, range(10), seed=7, **options).results
    assert run_pool(jobs.draw, range(10), seed=7, isolation=isolation, **options).results == shared
    drawn = run_pool(jobs.draw, range(10), isolation=isolation, **options).results
    assert len(set(drawn)) == 10


def test_a_retry_draws_the_same_again(witness):
    options = {"retry_attempts": 1, "retry_delay": 0.01, **QUIET}
    [drawn] = run_pool(jobs.draw_on_second, [witness], seed=3, **options).results
    assert witness.facts() == [str(drawn)] * 2


# --- surroundings ---------------------------------------------------------------------------------


def test_the_initializer_runs_once_in_each_worker(quiet):
    report = run_pool(
        jobs.initialized, range(20), initializer=jobs.initialize, initargs=("ready",), **quiet
    )
    assert report.results == [(n, ["ready"]) for n in range(20)]


def test_an_initializer_that_fails_is_raised_with_its_traceback(quiet):
    with pytest.raises(WorkerBootError, match="RuntimeError: the initializer says no"):
        run_pool(jobs.square, [1], initializer=jobs.fail_to_initialize, **quiet)


def test_what_changes_between_two_calls_is_seen_by_the_second(monkeypatch, tmp_path, quiet):
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delenv("BETWEEN", raising=False)
    module = tmp_path / "changing.py"
    for number, value in enumerate([1, 22]):
        module.write_text(f"VALUE = {value}\n")
        here = tmp_path / str(number)
        here.mkdir()
        monkeypatch.chdir(here)
        monkeypatch.setenv("BETWEEN", str(value))
        assert run_pool(jobs.environment, ["BETWEEN"], **quiet).results == [(str(value), str(here))]
        assert run_pool(lambda _: __import__("changing").VALUE, [0], **quiet).results == [value]


@pytest.mark.parametrize("method", ["forkserver", "spawn", "fork"])
def test_each_start_method(method):
    options = {"start_method": method, "supervisor": "process", **QUIET}
    assert run_pool(lambda x: x + 1, range(10), **options).results == list(range(1, 11))


def test_batches_may_run_side_by_side_and_off_the_main_thread():
    results = {}

    def work(n):
        results[n] = run_pool(jobs.add, [n] * 20, range(20), **QUIET).results

    threads = [threading.Thread(target=work, args=(n,)) for n in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == {n: [n + m for m in range(20)] for n in range(3)}


def test_a_job_may_run_a_batch_of_its_own():
    def inner(n):
        return sum(run_pool(jobs.square, range(n), progress=False, workers=1).results)

    assert run_pool(inner, [3, 4], **QUIET).results == [5, 14]
