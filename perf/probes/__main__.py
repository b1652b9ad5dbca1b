"""Run the probes and print a Markdown table; exit code 1 if knock fails one.

Every cell is a process of its own with a deadline; what it started is killed when it is over.
"""

import argparse
import json
import os
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from perf.probes.cell import ANSWER_SECONDS, LIMIT
from perf.probes.job import BAD, JOBS
from perf.probes.peer import PEERS, WORKERS, installed
from perf.probes.process import Cell, is_alive, wait_until

BOOT_SECONDS = 30.0
ORPHAN_SECONDS = 3.0
LEAVE_SECONDS = 10.0
# How much later than its limit a job's process may be gone.
LATE_SECONDS = 1.0


@dataclass(frozen=True)
class Verdict:
    passed: bool
    text: str

    def __str__(self) -> str:
        return f"**{self.text}**" if self.passed else self.text


def judge_answers(answers: list[str], after: str) -> Verdict:
    """Say what became of the good jobs, and of the pool."""
    good = [answer for number, answer in enumerate(answers) if number != BAD]
    hung, lost = good.count("hung"), sum(answer != "ok" for answer in good)
    parts = ["only that one" if answers[BAD] != "ok" else "works"]
    if lost:
        parts = [f"{lost} of {JOBS - 1} others lost"]
    if hung or answers[BAD] == "hung":
        parts.append(f"hangs ({hung + (answers[BAD] == 'hung')} unanswered)")
    if after != "ok":
        parts.append("pool dead after it" if after != "hung" else "pool hangs after it")
    return Verdict(not lost and answers[BAD] != "hung" and after == "ok", ", ".join(parts))


def run_jobs(peer: str, probe: str) -> Verdict:
    """Run eight jobs, one of them bad."""
    with Cell(peer, probe) as cell:
        found, _ = _facts(cell)
        return found


def _facts(cell: Cell) -> tuple[Verdict, dict[str, object]]:
    until = time.monotonic() + BOOT_SECONDS + 2 * ANSWER_SECONDS
    facts: dict[str, object] = {}
    for line in cell.lines(until):
        facts |= json.loads(line)
    answers = facts.get("answers")
    if not isinstance(answers, list):
        return Verdict(False, "hangs for ever" if cell.process.poll() is None else "ends"), facts
    return judge_answers(answers, str(facts.get("after", "hung"))), facts


def run_timeout(peer: str, probe: str) -> Verdict:
    """Let one job run for ever, with a limit: when is its process gone?"""
    with Cell(peer, probe) as cell:
        assert wait_until(lambda: cell.pid_of("pid") is not None, BOOT_SECONDS) is not None
        pid = cell.pid_of("pid")
        assert pid is not None
        gone = wait_until(lambda: not is_alive(pid), ANSWER_SECONDS)
        verdict, _ = _facts(cell)
    if gone is None:
        return Verdict(False, f"never killed; {verdict.text}")
    is_late = gone > LIMIT + LATE_SECONDS
    return Verdict(verdict.passed and not is_late, f"{verdict.text}, killed after {gone:.1f} s")


def _busy(cell: Cell) -> None:
    names = [f"busy-{number}" for number in range(2 * WORKERS)]
    found = wait_until(lambda: sum(cell.pid_of(n) is not None for n in names) >= WORKERS, 30)
    assert found is not None, "the jobs have not begun"


def run_orphans(peer: str, probe: str) -> Verdict:
    """Kill the caller: what is left of its pool?"""
    with Cell(peer, probe) as cell:
        _busy(cell)
        cell.process.kill()
        gone = wait_until(lambda: not cell.alive(), ORPHAN_SECONDS)
        left = len(cell.alive())
    if gone is not None:
        return Verdict(True, "none left")
    return Verdict(False, f"{left} left after {ORPHAN_SECONDS:g} s")


def run_ctrl_c(peer: str, probe: str) -> Verdict:
    """Do as a terminal does: the signal goes to the whole process group."""
    with Cell(peer, probe) as cell:
        _busy(cell)
        os.killpg(cell.process.pid, signal.SIGINT)
        gone = wait_until(lambda: cell.process.poll() is not None, LEAVE_SECONDS)
        wait_until(lambda: not cell.alive(), 1.0)
        left = len(cell.alive())
    if gone is None:
        return Verdict(False, f"still there after {LEAVE_SECONDS:g} s")
    text = f"leaves after {gone:.1f} s"
    return Verdict(not left, f"{text}, {left} processes left" if left else text)


PROBES: dict[str, tuple[str, Callable[[str], Verdict]]] = {
    "sigkill": ("job SIGKILLs itself", partial(run_jobs, probe="sigkill")),
    "exit": ("job calls `os._exit(0)`", partial(run_jobs, probe="exit")),
    "exception": (
        "exception that cannot be unpickled",
        partial(run_jobs, probe="exception"),
    ),
    "result": ("result that cannot be pickled", partial(run_jobs, probe="result")),
    "timeout": (
        f"limit of {LIMIT:g} s on a C call that holds the GIL",
        partial(run_timeout, probe="timeout"),
    ),
    "orphans": ("caller SIGKILLed, workers busy", partial(run_orphans, probe="orphans")),
    "ctrl-c": ("Ctrl-C, workers busy", partial(run_ctrl_c, probe="ctrl-c")),
}


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m perf.probes", description=__doc__)
    parser.add_argument("--peers", default=",".join(installed()), help="of these: %(default)s")
    options = parser.parse_args()
    peers = options.peers.split(",")
    if unknown := set(peers) - set(installed()):
        parser.error(f"not installed or not known: {', '.join(sorted(unknown))}")
    print(f"| probe | {' | '.join(PEERS[peer][0] for peer in peers)} |")
    print(f"|---|{'---|' * len(peers)}")
    has_failed = False
    for what, run in PROBES.values():
        verdicts = {peer: run(peer) for peer in peers}
        has_failed |= "knock" in verdicts and not verdicts["knock"].passed
        print(f"| {what} | {' | '.join(map(str, verdicts.values()))} |", flush=True)
    return 1 if has_failed else 0


if __name__ == "__main__":
    sys.exit(main())
