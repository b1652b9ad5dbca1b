"""Count the names in Python code, on a queue with two types of jobs.

    python examples/names.py [FOLDER]

Without a folder: the standard library's top level. Prints the ten names that are used most, and on
standard error the dead letters: modules that are no Python code. Exits with 1 if there are any.
"""

import keyword
import os
import sys
import tokenize
from collections import Counter
from pathlib import Path

import knock

LARGE = 100_000  # bytes
queue = knock.QueueInstance(retry_attempts=2, retry_delay=0.1)


@queue.process("count", timeout=60, retry_on=OSError)
def count(job: knock.Job) -> Counter[str]:
    """Count the names in a file. Code that is wrong stays wrong: only reading is retried."""
    with tokenize.open(job.data) as file:
        tokens = list(tokenize.generate_tokens(file.readline))
    names = (token.string for token in tokens if token.type == tokenize.NAME)
    return Counter(name for name in names if not keyword.iskeyword(name))


@queue.process("merge")
def merge(job: knock.Job) -> Counter[str]:
    """Add up counts."""
    return sum(job.data, Counter())


def main(folder: Path) -> int:
    # Large modules first: none of them is left to one worker while the others have nothing to do.
    with queue:
        paths = {}
        for path in sorted(folder.glob("*.py")):
            priority = "high" if path.stat().st_size >= LARGE else "normal"
            paths[queue.add("count", path, priority=priority)] = path
        queue.join()
        dead = {record.spec.id: record for record in queue.get_dead_letter_items(len(paths) or 1)}
        counts = [queue.result(job_id) for job_id in paths if job_id not in dead]
        names = queue.result(queue.add("merge", counts))
    for job_id, record in sorted(dead.items()):
        error = record.attempts[-1].error
        why = error.message if error else record.attempts[-1].outcome
        print(f"{paths[job_id]}: {record.reason}: {why}", file=sys.stderr)
    for name, number in names.most_common(10):
        print(f"{number:>8,} {name}")
    return 1 if dead else 0


if __name__ == "__main__":
    sys.exit(main(Path(*sys.argv[1:2] or [Path(os.__file__).parent])))
