"""The whole test-suite as one command: what may run side by side, then what measures time alone.

``python -m tests.suite`` runs everything; arguments go to one plain pytest instead.
"""

import subprocess
import sys

PARTS = (
    ("side by side", ["-n", "auto", "-m", "not serial"]),
    ("alone, since it measures time", ["-m", "serial"]),
)


def main(arguments: list[str]) -> int:
    """Run and return the exit code: that of the first part that failed."""
    if arguments:
        return run(arguments)
    code = 0
    for name, options in PARTS:
        print(f"=== tests that run {name}", flush=True)
        # No test at all (exit code 5) is a failure too.
        code = run(options) or code
    return code


def run(options: list[str]) -> int:
    """Run pytest in a process of its own."""
    return subprocess.run([sys.executable, "-m", "pytest", *options], check=False).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
