"""SIGTERM and SIGINT at random moments: no job lost or wrongly charged, no process left."""

import json
import os
import random
import signal
import tempfile
import time
from collections import Counter
from collections.abc import Iterator

import knock
from knock.core.job import AttemptOutcome, JobState
from tests.figures.row import Row, at_least, equal
from tests.figures.witness import counts, note, wait_until
from tests.witness import script

JOBS = 200
JOB_SECONDS = 0.005
# From before the first worker boots until all is done.
LATEST = 1.2
GONE_SECONDS = 1.0
PROGRAMS = {
    "queue.run": """
import json, sys
import knock
from tests.figures.signals import JOBS, judge, work
queue = knock.QueueInstance(concurrency=2, retry_attempts=0)
queue.process("work", lambda job: work(job.data))
ids = queue.add_many("work", [(sys.argv[1], number) for number in range(JOBS)])
print("ready", flush=True)
queue.run()
print(json.dumps(judge(sys.argv[1], [queue.get_job(job_id) for job_id in ids])))
""",
    "run_pool": """
import json, sys
import knock
from tests.figures.signals import JOBS, judge, work
items = [(sys.argv[1], number) for number in range(JOBS)]
print("ready", flush=True)
try:
    report = knock.run_pool(work, items, workers=2, progress=False)
except knock.PoolInterrupted as exc:
    report = exc.report
print(json.dumps(judge(sys.argv[1], [outcome.record for outcome in report.outcomes])))
""",
}


def work(item: tuple[str, int]) -> int:
    path, number = item
    note(path, number)
    time.sleep(JOB_SECONDS)
    return number


def judge(path: str, records: list[knock.JobRecord]) -> dict[str, int]:
    """Compare what is told of the jobs with what the witness saw; in the program itself."""
    ran = counts(path)
    lost = JOBS - len(records)
    wrong = 0
    for number, record in enumerate(records):
        runs, outcomes = ran[str(number)], [attempt.outcome for attempt in record.attempts]
        if record.state is JobState.COMPLETED:
            wrong += (runs, outcomes) != (1, [AttemptOutcome.SUCCESS])
        elif record.state in (JobState.QUEUED, JobState.CANCELLED):
            # Those that ran were to finish: one that has begun and is not told of was lost.
            lost += runs
            wrong += bool(outcomes)
        else:
            wrong += 1
    return {"lost": lost, "wrong": wrong, "done": sum(ran.values())}


def rows(*, quick: bool) -> Iterator[Row]:
    runs = 4 if quick else 100
    for name, program in PROGRAMS.items():
        rng = random.Random(8)
        seen: Counter[str] = Counter()
        for number in range(runs):
            which = (signal.SIGTERM, signal.SIGINT)[number % 2]
            # A few are spread for sure.
            moment = LATEST * (number / runs if quick else rng.random())
            seen += _once(program, which, moment)
        yield equal(f"{name}: jobs lost, in {runs} runs", seen["lost"], 0)
        yield equal(f"{name}: jobs wrongly charged", seen["wrong"], 0)
        yield equal(f"{name}: processes left after {GONE_SECONDS:g} s", seen["left"], 0)
        # The others were ended by the signal before or after it was knock's to take.
        least = runs // 4
        yield at_least(f"{name}: runs that told what became of their jobs", seen["told"], least)
        yield equal(f"{name}: runs that did not end", seen["hung"], 0)


def _once(program: str, which: signal.Signals, moment: float) -> Counter[str]:
    seen: Counter[str] = Counter()
    with (
        tempfile.TemporaryDirectory() as folder,
        script("-c", program, os.path.join(folder, "witness")) as running,
    ):
        assert running.line() == "ready"
        time.sleep(moment)
        running.kill(which)
        if wait_until(lambda: running.process.poll() is not None, 20) is None:
            seen["hung"] += 1
            return seen
        wait_until(lambda: not running.descendants(), GONE_SECONDS)
        seen["left"] += len(running.descendants())
        _, out, _ = running.end()
        if out:
            seen["told"] += 1
            seen.update(json.loads(out))
    return seen
