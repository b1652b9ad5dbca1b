"""Run figures by name, or all of them; exit code 1 if a bar is missed."""

import argparse
import importlib
import sys
from pathlib import Path

_OTHERS = {"__init__", "__main__", "observer", "row", "tap", "witness"}
NAMES = sorted(p.stem for p in Path(__file__).parent.glob("*.py") if p.stem not in _OTHERS)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.figures", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"{', '.join(NAMES)}, or all")
    parser.add_argument("--quick", action="store_true", help="small sizes, for CI")
    options = parser.parse_args()
    if not options.names:
        for name in NAMES:
            doc = importlib.import_module(f"tests.figures.{name}").__doc__ or ""
            print(f"{name:<20} {doc.splitlines()[0]}")
        return 0
    names = NAMES if options.names == ["all"] else options.names
    missed = 0
    for name in names:
        print(f"--- {name}", flush=True)
        for row in importlib.import_module(f"tests.figures.{name}").rows(quick=options.quick):
            missed += not row.ok
            print(row, flush=True)
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
