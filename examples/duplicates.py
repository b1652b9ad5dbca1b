"""Find files of the same content in a tree.

    python examples/duplicates.py [FOLDER]

Without a folder: the standard library. Prints each group on a line, the largest files first.
"""

import hashlib
import sys
import sysconfig
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import knock


def fingerprint(path: Path) -> tuple[int, str]:
    """Return a file's size and SHA-256."""
    with path.open("rb") as file:
        return path.stat().st_size, hashlib.file_digest(file, "sha256").hexdigest()


def files_of(folder: Path) -> Iterator[Path]:
    """Walk a tree. ``iter_pool`` pulls only as many as the workers need."""
    return (path for path in folder.rglob("*") if path.is_file() and not path.is_symlink())


def main(folder: Path) -> int:
    groups: defaultdict[tuple[int, str], list[Path]] = defaultdict(list)
    # A file on a dead network mount blocks for ever: 60 s are enough for any.
    outcomes = knock.iter_pool(fingerprint, files_of(folder), timeout=60, retry_attempts=1)
    failed = 0
    for outcome in outcomes:
        if outcome.ok:
            groups[outcome.value].append(outcome.item.relative_to(folder))
        else:
            failed += 1
            print(f"{outcome.item}: {outcome.exception()}", file=sys.stderr)
    for (size, _), paths in sorted(groups.items(), reverse=True):
        if size and len(paths) > 1:
            print(f"{size:>10,}", *sorted(paths))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(Path(*sys.argv[1:2] or [sysconfig.get_path("stdlib")])))
