"""Numbers that are none, and names that mean something elsewhere: refused by name, or harmless."""

import datetime
import decimal
import fractions
import logging
import math
from typing import Any

import numpy
import pytest

from knock.core.job import Priority
from knock.core.policy import BreakerPolicy
from knock.errors import ConfigError
from knock.queue import Queue
from knock.run import run_pool
from knock.storage.memory import InMemoryStorage
from tests.queue import jobs

NO_NUMBERS = [
    -1,
    math.nan,
    math.inf,
    -math.inf,
    1e18,
    10**400,
    True,
    "1",
    b"1",
    1j,
    [1],
    decimal.Decimal(1),
    decimal.Decimal("nan"),
    fractions.Fraction(10**400),
    datetime.timedelta(seconds=1),
    datetime.timedelta.max,
    datetime.datetime(2026, 1, 1),  # noqa: DTZ001 - no instant is taken at all, naive or not
    datetime.datetime.max.replace(tzinfo=datetime.UTC),
    numpy.bool_(True),
    numpy.float64("nan"),
    numpy.float32("inf"),
    numpy.int64(-1),
    numpy.array(1.0),
    numpy.array([1]),
    numpy.datetime64("2026-01-01"),
]
OPTIONS = ("delay", "expires_in", "deadline", "timeout", "retry_attempts", "priority")
SETTINGS = (
    "concurrency",
    "retry_attempts",
    "retry_delay",
    "retry_delay_max",
    "retry_crashes",
    "retry_lost",
    "circuit_breaker_threshold",
    "timeout",
    "soft_timeout",
    "stall_timeout",
    "max_jobs_per_worker",
    "max_worker_age",
    "retention",
)


@pytest.mark.parametrize("value", NO_NUMBERS, ids=lambda value: f"{value!r:.40}")
def test_what_is_no_number_in_range_is_refused_by_name(value: Any):
    queue = Queue()
    for name in OPTIONS:
        with pytest.raises(ConfigError, match=name):
            queue.add("a", **{name: value})
    for name in SETTINGS:
        with pytest.raises(ConfigError, match=name):
            Queue(**{name: value})
    for wrong in (BreakerPolicy(threshold=value), BreakerPolicy(reset_timeout=value)):
        with pytest.raises(ConfigError, match="breaker"):
            Queue(breaker=wrong)
    for ask in (queue.join, queue.stop, queue.run, lambda limit: queue.result(1, limit)):
        with pytest.raises(ConfigError, match="timeout"):
            ask(value)
    with pytest.raises(ConfigError, match="workers"):
        run_pool(abs, [1], workers=value)
    assert queue.get_stats().queued == 0


@pytest.mark.parametrize("value", [2**63, -(2**63), 3, 0.0, numpy.int64(1), None])
def test_a_number_is_no_priority(value: Any):
    with pytest.raises(ConfigError, match="priority"):
        Queue().add("a", priority=value)


@pytest.mark.parametrize(
    "value", [2, 2.0, numpy.float32(2), numpy.float64(2), numpy.uint8(2), fractions.Fraction(2)]
)
def test_a_number_of_any_kind_is_stored_as_a_plain_one(value: Any):
    queue = Queue()
    spec = queue.get_job(queue.add("a", delay=value, timeout=value)).spec
    assert (type(spec.run_at), type(spec.options.timeout)) == (float, float)
    assert spec.run_at - spec.created_at == pytest.approx(2.0)
    if not isinstance(value, float | fractions.Fraction | numpy.floating):
        spec = queue.get_job(queue.add("a", retry_attempts=value)).spec
        assert (type(spec.options.retry_attempts), spec.options.retry_attempts) == (int, 2)


# --- names ----------------------------------------------------------------------------------------

UNPRINTABLE = [
    "",
    "x" * 256,
    "x" * 10_000,
    "a\x00b",
    "\ud800",
    "a\nroot: forged",
    "\r",
    "a\tb",
    "\x1b[31mred\x1b[0m",
    "\x9b31m",
    "\x7f",
    "\u202egnp.exe",
    "\u200b",
    "\u2028",
]
MEANINGFUL = [
    " ",
    "x" * 255,
    "../../etc/passwd",
    "/dev/null",
    "'; DROP TABLE jobs; --",
    "a:b*{}[]?",
    "{0} {self} {}",
    "%s %d %(job_id)s %n",
    "[bold red]x[/] [/nothing]",
    "<script>alert(1)</script>",
    "${HOME} $(id) `id`",
    "-rf",
    "=cmd()",
    "\\",
    "漢字",
    "e\u0301",
]


@pytest.mark.parametrize("name", UNPRINTABLE, ids=ascii)
def test_a_type_that_cannot_be_shown_is_refused(name):
    queue = Queue()
    for use in (
        queue.add,
        lambda name: queue.add_many(name, [1]),
        lambda name: queue.process(name, jobs.double),
        lambda name: queue.get_dead_letter_items(job_type=name),
    ):
        with pytest.raises(ConfigError, match="a job type must have 1 to 255 printable") as raised:
            use(name)
        assert str(raised.value).isprintable()
        assert len(str(raised.value)) < 250
    assert queue.get_stats().queued == 0


@pytest.mark.process
def test_types_and_keys_that_mean_something_elsewhere_are_kept_word_for_word(make_queue, caplog):
    storage = InMemoryStorage()
    queue = make_queue(storage=storage, concurrency=1, retry_attempts=0, supervisor="thread")
    for name in MEANINGFUL:
        queue.process(name, jobs.log_and_refuse)
    keys = MEANINGFUL + [name for name in UNPRINTABLE if name not in ("", "\ud800")]
    ids = [queue.add(name, name, key=f"type {name}") for name in MEANINGFUL]
    keyed = [queue.add("double", 1, key=key) for key in keys]
    assert len({*ids, *keyed}) == len(ids) + len(keyed)
    assert [queue.add("double", 2, key=key) for key in keys] == keyed
    queue.process("double", jobs.double)
    with caplog.at_level(logging.DEBUG):
        queue.start()
        queue.join(60)
        queue.stop()
    # Formatting a record must not take the name for a format.
    assert all(record.getMessage().isprintable() for record in caplog.records)
    assert len([r for r in caplog.records if r.getMessage().startswith("refusing")]) == len(ids)
    assert [queue.get_job(job_id).spec.type for job_id in ids] == MEANINGFUL
    assert [queue.get_job(job_id).spec.key for job_id in keyed] == keys
    for name, job_id in zip(MEANINGFUL, ids, strict=True):
        with pytest.raises(ValueError, match="refused"):
            queue.result(job_id)
        assert [r.spec.id for r in queue.get_dead_letter_items(job_type=name)] == [job_id]
    assert repr(queue).isprintable()


def test_priorities_are_the_only_numbers_taken():
    queue = Queue()
    assert [queue.get_job(queue.add("a", priority=p)).spec.priority for p in Priority] == [0, 1, 2]
