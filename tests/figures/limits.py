"""A 1 s limit on C code that holds the GIL: on time, alone, and in full after a wait."""

import statistics
import time
from collections.abc import Iterator

import knock
from tests.figures.row import Row, at_least, at_most, equal

LIMIT = 1.0


def hang(_: object) -> int:
    return sum(range(10**12))


def work(item: float | str) -> float | int:
    if item == "hang":
        return hang(item)
    until = time.perf_counter() + float(item)
    while time.perf_counter() < until:
        pass
    return item


def rows(*, quick: bool) -> Iterator[Row]:
    runs = 3 if quick else 20
    took = []
    for _ in range(runs):
        report = knock.run_pool(hang, [0], workers=1, timeout=LIMIT, progress=False)
        [outcome] = report.outcomes
        assert outcome.outcome == "timeout", outcome
        took.append(outcome.wall_seconds)
    yield at_most(f"ended after, median of {runs}", statistics.median(took), 1.05, "s")
    yield at_most(f"ended after, the latest of {runs}", max(took), 1.2, "s")
    yield at_least(f"ended after, the earliest of {runs}", min(took), LIMIT, "s")
    items = ["hang", *[0.01] * 40]
    report = knock.run_pool(work, items, workers=2, timeout=LIMIT, progress=False)
    done = [o for o in report.outcomes[1:] if o.ok]
    yield equal("neighbours that ran on while it hung, of 40", len(done), 40)
    last = max(o.attempts[-1].usage.started_at for o in done)
    first = min(o.attempts[-1].usage.started_at for o in done)
    yield at_most("... the last of them began before its end, after", last - first, LIMIT, "s")
    # Many tiny jobs teach the pool a window; then one of 0.9 s stands before a hanging one.
    taught = [0.0001] * 200
    report = knock.run_pool(work, [*taught, 0.9, "hang"], workers=1, timeout=LIMIT, progress=False)
    yield equal("0.9 s before it in the window: completed", report.outcomes[-2].ok, True)
    yield at_least("the one behind it was granted", report.outcomes[-1].wall_seconds, LIMIT, "s")
    yield at_most("... and no more than", report.outcomes[-1].wall_seconds, 1.2, "s")
