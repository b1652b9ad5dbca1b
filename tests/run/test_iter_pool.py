"""``iter_pool``: outcomes as they come, input as it is needed."""

import itertools
import logging
import threading
import time

import psutil
import pytest

from knock import iter_pool
from knock.core.job import AttemptOutcome
from knock.errors import JobTimeoutError
from tests.run import jobs
from tests.witness import is_alive, wait_for

pytestmark = pytest.mark.process

QUIET = {"progress": False, "workers": 2}


@pytest.fixture(params=["thread", "process"])
def quiet(request):
    return {**QUIET, "supervisor": request.param}


def children():
    return psutil.Process().children(recursive=True)


def test_every_outcome_comes_once_with_its_item(quiet):
    outcomes = list(iter_pool(jobs.square, range(500), **quiet))
    assert sorted((o.index, o.item, o.value) for o in outcomes) == [
        (n, n, n * n) for n in range(500)
    ]


def test_outcomes_come_as_they_are_ready(gate):
    items = [(gate, 1), *[(gate, -n) for n in range(1, 11)]]
    outcomes = iter_pool(jobs.fail_after, items, **QUIET)
    first = [next(outcomes) for _ in range(10)]
    assert sorted(o.index for o in first) == list(range(1, 11))
    gate.open()
    assert [o.value for o in outcomes] == [1]


def test_an_endless_input_is_pulled_only_so_far_ahead(quiet):
    pulled = []

    def endless():
        for n in itertools.count():
            pulled.append(n)
            yield n

    outcomes = iter_pool(jobs.square, endless(), **quiet)
    assert not pulled
    for done in range(1, 301):
        next(outcomes)
        # How far ahead depends on how quick the workers are, never on the input.
        assert len(pulled) - done <= 4096
    outcomes.close()
    assert not children()


def test_a_blocked_pool_pulls_no_more(gate):
    pulled = []

    def endless():
        for n in itertools.count():
            pulled.append(n)
            yield (gate, n)

    outcomes = iter_pool(jobs.fail_after, endless(), **QUIET)
    consumer = threading.Thread(target=lambda: next(outcomes))
    consumer.start()
    wait_for(lambda: len(pulled) >= 16)
    # Both workers wait at the gate: nothing ends, so nothing more is pulled.
    assert len(pulled) <= 64
    gate.open()
    consumer.join()
    outcomes.close()


@pytest.mark.serial
def test_limits_are_kept_while_the_consumer_takes_its_time(quiet):
    outcomes = iter_pool(jobs.pick, [1, -4, 2], timeout=1.0, **quiet)
    first = next(outcomes)
    time.sleep(2.0)  # what is tested: the consumer does something else
    rest = list(outcomes)
    assert first.ok
    [killed] = [o for o in rest if not o.ok]
    assert isinstance(killed.exception(), JobTimeoutError)
    [attempt] = killed.record.attempts
    assert 1.0 <= attempt.usage.wall_seconds < 1.2
    assert killed.record.finished_at - attempt.usage.started_at < 1.2


@pytest.mark.serial
def test_limits_are_kept_while_the_input_takes_its_time(quiet):
    def slow():
        yield -4
        time.sleep(2.0)  # what is tested: the input does something else
        yield 1

    outcomes = {o.item: o for o in iter_pool(jobs.pick, slow(), timeout=1.0, **quiet)}
    assert outcomes[1].ok
    [attempt] = outcomes[-4].record.attempts
    assert attempt.outcome is AttemptOutcome.TIMEOUT
    assert 1.0 <= attempt.usage.wall_seconds < 1.2
    assert outcomes[-4].record.finished_at - attempt.usage.started_at < 1.2


def test_leaving_the_loop_ends_the_pool_and_what_runs(witness, quiet):
    for outcome in iter_pool(jobs.pick, itertools.chain([1, -4], itertools.repeat(-4)), **quiet):
        assert outcome.value == 1
        workers = children()
        assert workers
        break
    # The generator is closed where it is dropped.
    assert not children()
    assert not [w for w in workers if is_alive(w.pid)]


def consume_badly(outcomes):
    for _ in outcomes:
        raise ZeroDivisionError


def test_a_consumer_that_raises_ends_the_pool():
    outcomes = iter_pool(jobs.pick, itertools.cycle([1, 2]), **QUIET)
    with pytest.raises(ZeroDivisionError):
        consume_badly(outcomes)
    outcomes.close()
    assert not children()


def test_an_iterator_that_was_never_begun_starts_nothing():
    outcomes = iter_pool(jobs.square, range(10), **QUIET)
    assert not children()
    outcomes.close()


def test_an_input_that_raises_is_raised_with_a_note(witness):
    def items():
        yield witness, 1
        witness.wait(1)
        raise LookupError("no more")

    values = []
    with pytest.raises(LookupError, match="no more") as raised:
        values.extend(o.value for o in iter_pool(jobs.count_in, items(), **QUIET))
    noun = "job" if len(values) == 1 else "jobs"
    assert raised.value.__notes__ == [f"knock: the input failed; {len(values)} {noun} had finished"]
    assert not children()


def test_dead_jobs_are_logged_once_at_the_end(caplog):
    with caplog.at_level(logging.WARNING, "knock"):
        list(iter_pool(jobs.pick, [-1, 1, -1], **QUIET))
    [record] = [r for r in caplog.records if r.name == "knock.run"]
    assert record.getMessage() == "2 of 3 jobs died"


def test_what_was_given_up_is_yielded_too():
    outcomes = list(iter_pool(jobs.pick, [-1] * 50, on_error="stop", **QUIET))
    assert len(outcomes) < 51
    assert {o.state.value for o in outcomes} <= {"dead", "cancelled"}
    assert len({o.index for o in outcomes}) == len(outcomes)


def test_the_first_item_runs_while_the_second_is_awaited(witness, quiet):
    def items():
        yield witness, 1
        witness.wait(1, seconds=10)
        yield witness, 2

    assert [o.value for o in iter_pool(jobs.count_in, items(), **quiet)] == [1, 2]
