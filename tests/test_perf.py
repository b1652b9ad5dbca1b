"""The benchmarks run."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


@pytest.mark.process
def test_benchmarks_run_and_print_a_table():
    run = subprocess.run(
        [sys.executable, "-m", "perf", "--fast"],
        capture_output=True,
        text=True,
        timeout=60,
        cwd=ROOT,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    assert "| no-op jobs | knock.run_pool |" in run.stdout
