"""Print the SHA-256 of every file of a tree, in the format of ``sha256sum``.

    python examples/checksums.py [FOLDER] > SHA256SUMS

Without a folder: the standard library. ``sha256sum --check SHA256SUMS``, run in the folder, checks
them. Exits with 1 if a file could not be read.
"""

import hashlib
import sys
import sysconfig
from pathlib import Path

import knock


def checksum(path: Path) -> str:
    """Return a file's SHA-256."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def main(folder: Path) -> int:
    # Python's caches come and go.
    paths = sorted(p for p in folder.rglob("*") if p.is_file() and p.suffix != ".pyc")
    # A file on a dead network mount blocks for ever; what is busy now may be read a second later.
    report = knock.run_pool(checksum, paths, timeout=60, retry_attempts=2, retry_on=OSError)
    for outcome in report.outcomes:
        if outcome.ok:
            print(f"{outcome.value}  {outcome.item.relative_to(folder)}")
        else:
            print(f"{outcome.item}: {outcome.exception()}", file=sys.stderr)
    print(report.summary(), file=sys.stderr)
    return report.exit_code


if __name__ == "__main__":
    sys.exit(main(Path(*sys.argv[1:2] or [sysconfig.get_path("stdlib")])))
