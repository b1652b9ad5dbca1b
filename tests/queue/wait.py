"""Waiting for what jobs do."""

import time
from pathlib import Path


def wait_for(path: Path, size: int = 1) -> None:
    """Wait until a job has written to its file."""
    deadline = time.monotonic() + 20
    while not path.exists() or path.stat().st_size < size:
        assert time.monotonic() < deadline, f"nothing came to {path}"
        time.sleep(0.005)
