"""The whole test-suite as one command, in three parts.

What may run side by side; what measures time, alone; and once more what rests on mechanisms that
other systems lack, with all of them masked.

``python -m tests.suite`` runs everything; arguments go to one plain pytest instead.
"""

import os
import subprocess
import sys

from knock.pool.mechanism import MECHANISMS

ALL_MASKED = {"KNOCK_DISABLE": ",".join(MECHANISMS)}
PARTS: tuple[tuple[str, list[str], dict[str, str]], ...] = (
    ("side by side", ["-n", "auto", "-m", "not serial"], {}),
    ("alone, since it measures time", ["-m", "serial"], {}),
    (
        "with what other systems lack",
        ["-n", "auto", "-m", "platform and not serial", "tests/process", "tests/supervisor"],
        ALL_MASKED,
    ),
)


def main(arguments: list[str]) -> int:
    """Run and return the exit code: that of the first part that failed."""
    if arguments:
        return run(arguments, {})
    code = 0
    for name, options, environment in PARTS:
        print(f"=== tests that run {name}", flush=True)
        # No test at all (exit code 5) is a failure too.
        code = run(options, environment) or code
    return code


def run(options: list[str], environment: dict[str, str]) -> int:
    """Run pytest in a process of its own, with these variables set."""
    command = [sys.executable, "-m", "pytest", *options]
    return subprocess.run(command, check=False, env={**os.environ, **environment}).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
