"""What functions are called: as a job type, and where results are found again by it."""

import functools
import json
import math
from unittest.mock import Mock

import pytest

from knock import InMemoryStorage, iter_pool, run_pool
from knock.config import job_type
from knock.errors import ConfigError
from knock.run.name import full_name_of, job_type_of
from tests.run import jobs


class Base:
    @classmethod
    def make(cls, n):
        return cls.__name__, n

    @staticmethod
    def free(n):
        return n

    def method(self, n):
        return n

    def __call__(self, n):
        return n


class Derived(Base):
    pass


class Endless:
    """What has a ``func`` that has a ``func`` ..."""

    @property
    def func(self):
        return Endless()

    def __call__(self, item):
        return item


@functools.cache
def cached(n):
    return n


def renamed(name):
    def function(item):
        return item

    function.__qualname__ = name
    return function


def local(item):
    def local_function(item):
        return item

    return local_function


@pytest.mark.parametrize(
    "fn, name",
    [
        (jobs.square, "square"),
        (functools.partial(functools.partial(jobs.add, 1), 2), "add"),
        (local(1), "local_function"),
        (lambda item: item, "<lambda>"),
        (Base().method, "Base.method"),
        (Base(), "Base"),
        (functools.partial(Base()), "Base"),
        (Endless(), "Endless"),
        (Mock(), "Mock"),
        (renamed("two\nlines\x1b"), "two\\nlines\\x1b"),
        (renamed("x" * 300), "x" * 255),
        (renamed("\n" * 300), ("\\n" * 300)[:255]),
        (renamed("f.<locals>."), "function"),
        (renamed(""), "function"),
    ],
)
def test_a_job_type_is_a_name_that_can_be_shown(fn, name):
    assert job_type_of(fn) == name
    assert job_type(name) == name


@pytest.mark.parametrize(
    "fn, name",
    [
        (jobs.square, "tests.run.jobs.square"),
        (json.dumps, "json.dumps"),
        (cached, f"{__name__}.cached"),
        (Base, f"{__name__}.Base"),
        (Base.free, f"{__name__}.Base.free"),
        (Base.make, f"{__name__}.Base.make"),
        (Derived.make, f"{__name__}.Derived.make"),
        (Derived.free, f"{__name__}.Base.free"),
        (abs, "builtins.abs"),
        (math.sqrt, "math.sqrt"),
        (str.upper, "builtins.str.upper"),
        (dict.fromkeys, "builtins.dict.fromkeys"),
    ],
)
def test_a_full_name_leads_to_one_function(fn, name):
    assert full_name_of(fn) == name


NAMELESS = [
    lambda item: item,
    local(1),
    functools.partial(jobs.add, 1),
    Base().method,
    Base(),
    [].append,
    cached.__wrapped__,
    renamed("square"),
    Mock(),
]


@pytest.mark.parametrize("fn", NAMELESS)
@pytest.mark.parametrize("how", [run_pool, iter_pool])
def test_with_a_key_a_function_without_a_name_of_its_own_is_refused_at_the_call(fn, how):
    with pytest.raises(ConfigError, match="top level of a module"):
        how(fn, [1], key=str, storage=InMemoryStorage(), progress=False)
