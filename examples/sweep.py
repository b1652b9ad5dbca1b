"""Sweep the parameters of LZMA over real data: which compress the standard library best?

    python examples/sweep.py [FOLDER]

Without a folder: the package ``email`` of the standard library.
"""

import email
import itertools
import lzma
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import knock

DATA = b""


@dataclass(frozen=True, order=True)
class Setting:
    """What LZMA can be told about the data."""

    preset: int
    lc: int  # literal context bits
    pb: int  # position bits


def load(folder: Path) -> None:
    """Read the data, once per worker instead of once per setting."""
    global DATA  # noqa: PLW0603 - what an initializer is for
    DATA = b"".join(path.read_bytes() for path in sorted(folder.rglob("*.py")))


def try_out(setting: Setting) -> tuple[int, float]:
    """Return the compressed size and the seconds that it took."""
    filters = [{"id": lzma.FILTER_LZMA2, **asdict(setting)}]
    started = time.process_time()
    return len(lzma.compress(DATA, filters=filters)), time.process_time() - started


def main(folder: Path) -> int:
    grid = list(itertools.starmap(Setting, itertools.product((0, 3, 6, 9), (0, 3, 4), (0, 2))))
    report = knock.run_pool(try_out, grid, initializer=load, initargs=(folder,), timeout=120)
    for (size, seconds), setting in sorted(zip(report.results, grid, strict=True))[:5]:
        print(f"{size:>10,} bytes {seconds:8.3f} s  {setting}")
    print(report, file=sys.stderr)
    return report.exit_code


if __name__ == "__main__":
    sys.exit(main(Path(*sys.argv[1:2] or [Path(email.__file__).parent])))
