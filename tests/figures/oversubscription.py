"""Numeric jobs in eight workers on two cores take little longer than in two workers."""

import importlib
import os
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import knock
from knock.pool.surroundings import THREAD_VARIABLES
from tests.figures.row import Row, at_least, at_most, equal

CORES = 2
FEW, MANY = 2, 8
BAR = 1.2
SIZE = 300


def multiply(seed: int) -> int:
    """Some linear algebra; returns how many threads this process has then."""
    numpy = importlib.import_module("numpy")
    matrix = numpy.random.default_rng(seed).standard_normal((SIZE, SIZE))
    for _ in range(4):
        matrix = matrix @ matrix.T / SIZE
        matrix = numpy.linalg.solve(matrix + numpy.eye(SIZE), matrix)
    return len(os.listdir("/proc/self/task"))


def fit(seed: int) -> int:
    """A table, and a model of it; returns how many threads this process has then."""
    numpy, pandas = importlib.import_module("numpy"), importlib.import_module("pandas")
    rng = numpy.random.default_rng(seed)
    frame = pandas.DataFrame(rng.standard_normal((4000, 12)))
    frame["group"] = rng.integers(0, 50, len(frame))
    means = frame.groupby("group").transform("mean").to_numpy()
    ensemble = importlib.import_module("sklearn.ensemble")
    model = ensemble.HistGradientBoostingRegressor(max_iter=4, random_state=seed)
    model.fit(means, means[:, 0])
    return len(os.listdir("/proc/self/task"))


def rows(*, quick: bool) -> Iterator[Row]:
    mask = os.sched_getaffinity(0)
    os.sched_setaffinity(0, sorted(mask)[:CORES])
    try:
        with _variables(None):
            yield from _all_rows(3 if quick else 5, quick=quick)
    finally:
        os.sched_setaffinity(0, mask)


@contextmanager
def _variables(value: str | None) -> Iterator[None]:
    """Set all that bound numeric threads, or none."""
    before = {name: os.environ.pop(name, None) for name in THREAD_VARIABLES}
    if value is not None:
        os.environ.update(dict.fromkeys(THREAD_VARIABLES, value))
    try:
        yield
    finally:
        for name, old in before.items():
            os.environ.pop(name, None)
            if old is not None:
                os.environ[name] = old


def _all_rows(rounds: int, *, quick: bool) -> Iterator[Row]:
    yield from _compare("numpy", multiply, ("numpy",), rounds, 30 if quick else 100)
    if _can_import("pandas", "sklearn"):
        preload = ("pandas", "sklearn.ensemble")
        yield from _compare("scikit-learn", fit, preload, rounds, 20 if quick else 40)
    else:
        yield Row("pandas and scikit-learn", "not installed", "left out", ok=True)
    if not quick:
        yield _without_caps(3)


def _can_import(*names: str) -> bool:
    try:
        for name in names:
            importlib.import_module(name)
    except ImportError:
        return False
    return True


def _compare(
    name: str, fn: Callable[[int], int], preload: tuple[str, ...], rounds: int, jobs: int
) -> Iterator[Row]:
    """Run both in turn, so that both see the same machine."""
    ratios, threads = [], set[int]()
    for _ in range(rounds):
        few, _ = _seconds(fn, FEW, jobs, preload=preload)
        many, found = _seconds(fn, MANY, jobs, preload=preload)
        ratios.append(many / few)
        threads |= found
    what = f"{name}: {MANY} workers / {FEW}, median of {rounds} x {jobs} jobs"
    yield replace(at_most(what, statistics.median(ratios), BAR, "x"), is_speed=True)
    yield equal(f"{name}: threads of a worker, of {MANY}, at most", max(threads), 1)


def _without_caps(rounds: int) -> Row:
    """What it is all for: the same with all cores for each worker, as the user may have it."""
    ratios = []
    for _ in range(rounds):
        few, _ = _seconds(multiply, FEW, 60)
        with _variables(str(CORES)):
            many, _ = _seconds(multiply, MANY, 60)
        ratios.append(many / few)
    return at_least("numpy without caps: the same", statistics.median(ratios), 0.0, "x")


def _seconds(
    fn: Callable[[int], int], workers: int, jobs: int, **options: Any
) -> tuple[float, set[int]]:
    started = time.perf_counter()
    report = knock.run_pool(fn, range(jobs), workers=workers, progress=False, **options)
    took = time.perf_counter() - started
    return took, set(report.results)
