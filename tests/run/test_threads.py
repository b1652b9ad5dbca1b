"""Batches whose jobs take several worker slots."""

import os
from pathlib import Path

import pytest

from knock import iter_pool, run_pool
from knock.errors import ConfigError
from knock.pool.surroundings import THREAD_VARIABLES

pytestmark = pytest.mark.process


def alone(call):
    """Fail if another one runs at the same time."""
    path, n = call
    os.close(os.open(path, os.O_CREAT | os.O_EXCL))
    sum(range(300_000))
    Path(path).unlink()
    return n


def environment(name):
    return os.environ.get(name)


@pytest.mark.parametrize("supervisor", ["thread", "process"])
def test_jobs_that_would_take_more_slots_than_there_are_never_run_at_once(tmp_path, supervisor):
    items = [(str(tmp_path / "one"), n) for n in range(40)]
    report = run_pool(alone, items, workers=3, threads=2, supervisor=supervisor, progress=False)
    assert report.results == list(range(40))


@pytest.mark.parametrize("more", [{}, {"preload": ["json"]}])
def test_numeric_libraries_may_use_the_threads_of_the_job(monkeypatch, more):
    for name in THREAD_VARIABLES:
        monkeypatch.delenv(name, raising=False)
    # More workers than any machine has cores for, so that each has a cap of one.
    cores = os.cpu_count() or 1
    report = run_pool(
        environment,
        ["OMP_NUM_THREADS"],
        workers=cores + 2,
        threads=cores + 1,
        progress=False,
        **more,
    )
    assert report.results == [str(cores + 1)]


@pytest.mark.parametrize(
    "threads, message",
    [
        (4, "threads=4 takes 4 worker slots, and the pool has 3"),
        (0, "threads must be between 1 and"),
        (1.0, "threads must be a whole number, not 1.0"),
        (None, "threads must be a whole number, not None"),
    ],
)
def test_threads_that_no_pool_has_are_refused_at_the_call(threads, message):
    with pytest.raises(ConfigError, match=message):
        run_pool(environment, ["PATH"], workers=3, threads=threads)
    with pytest.raises(ConfigError, match=message):
        iter_pool(environment, ["PATH"], workers=3, threads=threads)
