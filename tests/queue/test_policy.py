"""From the options of a queue and of ``process`` to a policy."""

from typing import Any

import pytest

from knock.core.policy import BreakerPolicy, JobPolicy, RetryPolicy
from knock.errors import ConfigError
from knock.pool.definition import check_retry_on
from knock.queue import Queue
from knock.queue.policy import build_policy
from tests.queue import jobs

BASE = JobPolicy(
    timeout=9.0, retry=RetryPolicy(retry_attempts=3), breaker=BreakerPolicy(threshold=5)
)


def test_nothing_given_is_the_base():
    assert build_policy(BASE, {}) == BASE


def test_what_is_given_replaces_the_base():
    policy = build_policy(
        BASE,
        {"timeout": None, "retry_attempts": 1, "retry_crashes": 0, "max_concurrency": 2},
    )
    assert policy == JobPolicy(
        timeout=None,
        retry=RetryPolicy(retry_attempts=1, retry_crashes=0),
        breaker=BreakerPolicy(threshold=5),
        max_concurrency=2,
    )


def test_a_breaker_is_set_by_its_threshold_or_as_a_whole():
    assert build_policy(BASE, {"circuit_breaker_threshold": 2}).breaker == BreakerPolicy(
        threshold=2
    )
    assert build_policy(BASE, {"circuit_breaker_threshold": None}).breaker is None
    assert build_policy(BASE, {"breaker": None}).breaker is None
    whole = BreakerPolicy(threshold=3, failure_rate=0.5, reset_timeout=1.0)
    assert build_policy(BASE, {"breaker": whole}).breaker == whole
    with pytest.raises(ConfigError, match="not both"):
        build_policy(BASE, {"breaker": whole, "circuit_breaker_threshold": 3})


def test_a_delay_in_milliseconds_is_found_out():
    with pytest.raises(ConfigError, match=r"seconds \(knock-mq took ms\)"):
        Queue(retry_delay=1000)
    with pytest.raises(ConfigError, match="knock-mq took ms"):
        build_policy(BASE, {"retry_delay": 5000})


@pytest.mark.parametrize(
    "options, name",
    [
        ({"timeout": 0}, "timeout"),
        ({"retry_attempts": None}, "retry_attempts"),
        ({"retry_delay": float("inf")}, "retry_delay"),
        ({"circuit_breaker_threshold": 0}, "circuit_breaker_threshold"),
        ({"max_concurrency": 0}, "max_concurrency"),
        ({"breaker": 5}, "breaker"),
        ({"breaker": BreakerPolicy(threshold=0)}, r"breaker\.threshold"),
        ({"breaker": BreakerPolicy(failure_rate=2.0)}, r"breaker\.failure_rate"),
        ({"breaker": BreakerPolicy(reset_timeout=500.0)}, "reset_timeout_max"),
    ],
)
def test_what_makes_no_sense_is_refused_by_name(options: Any, name: str):
    with pytest.raises(ConfigError, match=name):
        build_policy(BASE, options)


def test_an_option_of_another_name_is_a_type_error_that_says_which_there_are():
    with pytest.raises(TypeError, match=r"retryAttempts.*retry_attempts"):
        Queue().process("a", jobs.double, retryAttempts=3)


def test_retry_on_is_classes_or_a_predicate():
    assert check_retry_on(ValueError) == (ValueError,)
    assert check_retry_on((OSError, KeyError)) == (OSError, KeyError)
    assert check_retry_on([OSError]) == (OSError,)
    assert check_retry_on(jobs.is_refusal) is jobs.is_refusal
    for wrong in ("ValueError", int, (ValueError, 5), 5):
        with pytest.raises(ConfigError, match="retry_on"):
            check_retry_on(wrong)


@pytest.mark.parametrize("fn", [lambda: None, lambda a, b: None, 5])
def test_a_processor_takes_the_job(fn: Any):
    with pytest.raises(ConfigError, match="processor of 'a'"):
        Queue().process("a")(fn)


def test_process_is_a_decorator_or_a_call_and_returns_the_function():
    queue = Queue()
    assert queue.process("a", jobs.double) is jobs.double
    assert queue.process("b", timeout=3)(jobs.double) is jobs.double
    assert queue.process("c", lambda job, extra=1: None) is not None


@pytest.mark.parametrize(
    "options, name",
    [
        ({"concurrency": 0}, "concurrency"),
        ({"concurrency": "2"}, "concurrency"),
        ({"supervisor": "greenlet"}, "supervisor"),
        ({"start_method": "vfork"}, "start_method"),
        ({"storage": 5}, "storage"),
        ({"storage": "nosuch://x"}, "nosuch"),
        ({"initializer": 5}, "initializer"),
        ({"concurrency": 5000}, "concurrency"),
        ({"preload": "json"}, "preload"),
        ({"preload": 5}, "preload"),
        ({"preload": [5]}, "preload"),
        ({"initargs": "ab"}, "initargs"),
        ({"initargs": 5}, "initargs"),
        ({"retention": -1}, "retention"),
        ({"timeout": -1}, "timeout"),
    ],
)
def test_a_queue_checks_its_settings(options: Any, name: str):
    with pytest.raises(ConfigError, match=name):
        Queue(**options)


def test_the_environment_names_the_storage(monkeypatch):
    monkeypatch.setenv("KNOCK_STORAGE", "nosuch://x")
    with pytest.raises(ConfigError, match="nosuch"):
        Queue()
    Queue("memory://")
    monkeypatch.setenv("KNOCK_STORAGE", "")
    Queue()
