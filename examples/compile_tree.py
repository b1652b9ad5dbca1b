"""Compile every module of a tree, and say which cannot be compiled.

    python examples/compile_tree.py [FOLDER]

Without a folder: the standard library. A module that makes the compiler crash, hang or eat the
memory costs a line in the report. Gives up when a tenth has failed. Exits with 1 if any did.
"""

import sys
import sysconfig
import warnings
from pathlib import Path

import knock


def compile_module(path: Path) -> int:
    """Return how many code objects a module has."""
    warnings.simplefilter("ignore", SyntaxWarning)
    return count_code(compile(path.read_bytes(), path, "exec", dont_inherit=True))


def count_code(code: object) -> int:
    constants = getattr(code, "co_consts", None)
    return 0 if constants is None else 1 + sum(map(count_code, constants))


def modules_of(folder: Path) -> list[Path]:
    """Return the modules of a tree, without what is installed in it."""
    return sorted(
        path
        for path in folder.rglob("*.py")
        if "site-packages" not in path.relative_to(folder).parts
    )


def main(folder: Path) -> int:
    report = knock.run_pool(
        compile_module,
        modules_of(folder),
        timeout=30,
        retry_on=OSError,
        stop_after="10%",
    )
    for outcome in report.failures:
        print(f"{outcome.item}: {outcome.exception()}")
    print(f"{sum(report.values(default=0)):,} code objects")
    print(report, file=sys.stderr)
    return report.exit_code


if __name__ == "__main__":
    sys.exit(main(Path(*sys.argv[1:2] or [sysconfig.get_path("stdlib")])))
