"""The work of the demo, and the serial program that it is checked against.

Run as a program, this file does everything one after the other. It imports nothing of knock::

    python -I demo_work.py < paths.json
"""

import ast
import hashlib
import json
import sys
import time
import warnings
import zlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

Totals = dict[str, int | str]

# The best that zlib can do.
_LEVEL = 9


def digest(path: str) -> str:
    """Return the SHA-256 of a file."""
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()


def measure(path: str) -> tuple[int, int, int]:
    """Parse a module and return how many lines, functions and classes it has."""
    source = Path(path).read_bytes()
    lines = source.count(b"\n")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", SyntaxWarning)
            tree = ast.parse(source)
    except (SyntaxError, ValueError):
        # The library's tests have modules that are broken on purpose.
        return lines, 0, 0
    nodes = list(ast.walk(tree))
    functions = sum(isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) for node in nodes)
    return lines, functions, sum(isinstance(node, ast.ClassDef) for node in nodes)


def count_words(path: str) -> int:
    """Return how many words a file has."""
    return len(Path(path).read_bytes().split())


def compress(path: str) -> int:
    """Return how many bytes zlib leaves of a file."""
    return len(zlib.compress(Path(path).read_bytes(), _LEVEL))


STEPS: Mapping[str, Callable[[str], Any]] = {
    "hash": digest,
    "measure": measure,
    "words": count_words,
    "compress": compress,
}


def add_up(values: Mapping[str, Sequence[Any]]) -> Totals:
    """Return the totals. ``values`` has for each step its values, in the order of the modules."""
    lines, functions, classes = (sum(column) for column in zip(*values["measure"], strict=True))
    return {
        "modules": len(values["hash"]),
        "lines": lines,
        "functions": functions,
        "classes": classes,
        "words": sum(values["words"]),
        "compressed_bytes": sum(values["compress"]),
        "sha256": hashlib.sha256("".join(values["hash"]).encode()).hexdigest(),
    }


def work_through(paths: Sequence[str]) -> Totals:
    """Do all steps for all files, one after the other."""
    return add_up({step: [work(path) for path in paths] for step, work in STEPS.items()})


def main() -> None:
    """Read paths as JSON, and write the totals, the time taken, and whether knock was loaded."""
    paths = json.load(sys.stdin)
    started = time.perf_counter()
    totals = work_through(paths)
    seconds = time.perf_counter() - started
    has_knock = any(name.partition(".")[0] == "knock" for name in sys.modules)
    json.dump({"totals": totals, "seconds": seconds, "has_knock": has_knock}, sys.stdout)


if __name__ == "__main__":
    main()
