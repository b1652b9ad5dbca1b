"""Count the names in Python code, on a queue with two types of jobs.

    python examples/names.py [FOLDER]

Without a folder: the standard library's top level. Prints the ten names that are used most.
"""

import keyword
import os
import sys
import tokenize
from collections import Counter
from pathlib import Path

import knock

BATCH = 20
queue = knock.QueueInstance(retry_attempts=1)


@queue.process("count", timeout=60)
def count(job: knock.Job) -> Counter[str]:
    """Count the names in some files; what is no Python code is logged and left out."""
    names: Counter[str] = Counter()
    for path in job.data:
        try:
            names.update(names_in(path))
        except (SyntaxError, ValueError, tokenize.TokenError) as exc:
            job.log(f"{path}: {exc}")
    return names


@queue.process("merge")
def merge(job: knock.Job) -> Counter[str]:
    """Add up counts."""
    return sum(job.data, Counter())


def names_in(path: Path) -> list[str]:
    with tokenize.open(path) as file:
        tokens = list(tokenize.generate_tokens(file.readline))
    return [t.string for t in tokens if t.type == tokenize.NAME and not keyword.iskeyword(t.string)]


def main(folder: Path) -> None:
    paths = sorted(folder.glob("*.py"))
    batches = [paths[start : start + BATCH] for start in range(0, len(paths), BATCH)]
    with queue:
        counts = [queue.result(job_id) for job_id in queue.add_many("count", batches)]
        names = queue.result(queue.add("merge", counts, priority="high"))
    for name, number in names.most_common(10):
        print(f"{number:>8,} {name}")


if __name__ == "__main__":
    main(Path(*sys.argv[1:2] or [Path(os.__file__).parent]))
