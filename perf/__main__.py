"""Time all contenders in turn, several rounds, and print the medians as a Markdown table.

Only the ratios within one run mean something: machines differ, and drift.
"""

import argparse
import statistics
import sys
import time

from perf.contender import CONTENDERS
from perf.job import burn_millisecond, nothing

WORKLOADS = {
    "no-op jobs": (nothing, 20_000, 2_000),
    "1 ms jobs": (burn_millisecond, 2_000, 200),
}


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m perf", description=__doc__)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--fast", action="store_true", help="one small round, to see that it works")
    options = parser.parse_args()
    print("| workload | pool | jobs/s | against knock |")
    print("|---|---|---|---|")
    for name, (job, full, small) in WORKLOADS.items():
        count, rounds = (small, 1) if options.fast else (full, options.rounds)
        rates: dict[str, list[float]] = {contender: [] for contender in CONTENDERS}
        for _ in range(rounds):
            for contender, run in CONTENDERS.items():
                started = time.perf_counter()
                results = run(job, count, options.workers)
                rates[contender].append(count / (time.perf_counter() - started))
                assert results == list(range(count)), contender
        ours = statistics.median(rates["knock.run_pool"])
        for contender, measured in rates.items():
            rate = statistics.median(measured)
            print(f"| {name} | {contender} | {rate:,.0f} | {rate / ours:.2f} |", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
