"""One pool, one probe, one process: ``python -m perf.probes.cell PEER PROBE FOLDER``."""

import json
import sys
import time
from typing import Any

from perf.probes.job import BAD, JOBS, busy, call
from perf.probes.peer import PEERS, WORKERS, Get, Unanswered

LIMIT = 2.0
# For all answers of a probe together.
ANSWER_SECONDS = 12.0


def main(peer: str, probe: str, folder: str) -> None:
    _, _, make = PEERS[peer]
    with make() as pool:
        if probe in ("orphans", "ctrl-c"):
            gets = [pool.submit(busy, (probe, n, folder), None) for n in range(2 * WORKERS)]
            for get in gets:
                get(600)
            return
        limit = LIMIT if probe == "timeout" else None
        started = time.monotonic()
        gets = _submit(pool, probe, folder, limit)
        answers: list[str] = []
        for number, get in enumerate(gets):
            answers.append(_answer(get, number, started + ANSWER_SECONDS))
            if number == BAD:
                print(json.dumps({"told": time.monotonic() - started}), flush=True)
        # Each as soon as it is known: closing the pool may take for ever.
        print(json.dumps({"answers": answers}), flush=True)
        print(json.dumps({"after": _after(pool, folder, started)}), flush=True)


def _submit(pool: Any, probe: str, folder: str, limit: float | None) -> list[Get]:
    gets: list[Get] = []
    for number in range(JOBS):
        try:
            gets.append(pool.submit(call, (probe, number, folder), limit))
        except Exception as exc:  # noqa: BLE001 - a pool that takes no more jobs
            gets.append(_refusal(exc))
    return gets


def _refusal(exc: Exception) -> Get:
    def get(_: float) -> Any:
        raise exc

    return get


def _answer(get: Get, number: int, until: float) -> str:
    try:
        value = get(max(0.0, until - time.monotonic()))
    except Unanswered:
        return "hung"
    except Exception as exc:  # noqa: BLE001 - whatever a pool raises
        return f"failed: {type(exc).__name__}: {exc}"
    return "ok" if number in (value, BAD) else f"wrong: {value!r}"


def _after(pool: Any, folder: str, started: float) -> str:
    """Say whether the pool runs another job."""
    if hasattr(pool, "again"):
        pool.again()
    try:
        get = pool.submit(call, ("after", JOBS, folder), None)
    except Exception as exc:  # noqa: BLE001 - a pool that takes no more jobs
        return f"failed: {type(exc).__name__}"
    return _answer(get, JOBS, max(time.monotonic() + 3.0, started + ANSWER_SECONDS))


if __name__ == "__main__":
    main(*sys.argv[1:])
