"""What holds for all tests: nothing is left behind, and in CI nothing is left out."""

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.witness import Gate, Witness

# A shell's background job is started with Ctrl-C ignored, and so would be all that tests start.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# How long what a test started may take to be gone after it.
LEAVE_SECONDS = 5.0


MASKED = frozenset(os.environ.get("KNOCK_DISABLE", "").split(",")) - {""}


def pytest_report_header():
    if MASKED:
        return f"left out: tests that need {', '.join(sorted(MASKED))} (KNOCK_DISABLE)"
    return None


def pytest_collection_modifyitems(config, items):
    """Leave out what is not promised without the mechanisms that are masked."""
    left_out = [item for item in items if MASKED.intersection(needed_by(item))]
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in left_out]


def needed_by(item: pytest.Item) -> set[str]:
    return {name for mark in item.iter_markers("needs") for name in mark.args}


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    result = yield
    report = result.get_result()
    if report.skipped and os.environ.get("KNOCK_REQUIRE_ALL") and not hasattr(report, "wasxfail"):
        report.outcome = "failed"
        report.longrepr = f"skipped, but KNOCK_REQUIRE_ALL is set: {report.longrepr}"


@pytest.fixture(autouse=True)
def nothing_left(request: pytest.FixtureRequest) -> Iterator[None]:
    """A test of processes leaves no child process and no open descriptor."""
    if request.node.get_closest_marker("process") is None:
        yield
        return
    before, fds_before = children(), open_fds()
    yield
    until = time.monotonic() + LEAVE_SECONDS
    while (children() - before or new_fds(fds_before)) and time.monotonic() < until:
        # The kernel tells nobody when somebody else's child is gone, and a supervisor that nobody
        # waits for closes its descriptors after its last process is gone.
        time.sleep(0.01)
    assert not children() - before, "processes were left behind"
    assert not new_fds(fds_before), "descriptors were left open"


@pytest.fixture
def witness(tmp_path: Path) -> Witness:
    return Witness(str(tmp_path / "witness"))


@pytest.fixture
def gate(tmp_path: Path) -> Iterator[Gate]:
    gate = Gate(str(tmp_path / "gate"))
    yield gate
    gate.open()


def children() -> set[int]:
    """Return the pids of this process's children that are no zombies."""
    found = set()
    for thread in Path("/proc/self/task").iterdir():
        try:
            pids = (thread / "children").read_text().split()
        except OSError:
            continue
        found.update(int(pid) for pid in pids if not is_zombie(int(pid)))
    return found


def is_zombie(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


def new_fds(before: dict[int, str]) -> dict[int, str]:
    """Return knock's and all other channels that were not open before."""
    new = {fd: name for fd, name in open_fds().items() if fd not in before}
    return {fd: n for fd, n in new.items() if "knock" in n or "socket" in n or "pipe" in n}


def open_fds() -> dict[int, str]:
    """Return the open descriptors of this process and what they are."""
    found = {}
    for fd in os.listdir("/proc/self/fd"):
        try:
            found[int(fd)] = os.readlink(f"/proc/self/fd/{fd}")
        except OSError:
            continue
    return found
