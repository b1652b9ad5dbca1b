"""The child processes of this process: which there are, how they end, and killing them."""

import os
import signal
from collections.abc import Callable, Iterable
from time import monotonic, sleep

from knock.pool.descriptor import still_unreadable
from knock.pool.mechanism import has

# How often a process is looked at that has no descriptor to wait on.
_LOOK_SECONDS = 0.005
_READ_BYTES = 1 << 16
_READ_ONLY = os.O_RDONLY | os.O_CLOEXEC
# Taken at import: a job may put its own functions in their place.
_listdir, _open, _read, _close = os.listdir, os.open, os.read, os.close


def open_pidfd(pid: int) -> int | None:
    """Return a descriptor of the process, or None if it is gone or the system has none."""
    if not has("pidfd"):
        return None
    try:
        return os.pidfd_open(pid)
    except OSError:
        return None


def child_ends(pid: int, seconds: float) -> bool:
    """Wait for the end of a child and leave it to be reaped; False if it has not ended by then."""
    pidfd = open_pidfd(pid)
    if pidfd is None:
        return _comes_true(lambda: _has_ended(pid), seconds)
    try:
        return not still_unreadable([pidfd], seconds)
    finally:
        os.close(pidfd)


def _has_ended(pid: int) -> bool:
    try:
        return os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
    except ChildProcessError:
        return True


def strangers_end(pids: Iterable[int], seconds: float) -> bool:
    """Wait for the end of processes whose parent is somebody else, without descriptors of them."""
    return _comes_true(lambda: all(map(_is_gone, pids)), seconds)


def _is_gone(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    except PermissionError:  # somebody else's, under a number that was used again
        return True
    return os.path.exists(f"/proc/{pid}/stat") and is_zombie(pid)


def _comes_true(is_met: Callable[[], bool], seconds: float) -> bool:
    until = monotonic() + seconds
    while not is_met():
        if monotonic() >= until:
            return False
        sleep(_LOOK_SECONDS)
    return True


def ended_child() -> int | None:
    """Return the pid of a child that has ended, and leave it to be reaped; None if none has."""
    try:
        info = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return None
    return None if info is None else info.si_pid


def kill_group(pid: int) -> None:
    """Kill the process group of this number, if there is one."""
    try:
        os.killpg(pid, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        return


def session_of(pid: int) -> int:
    """Return the session that a process is in; 0 if it is gone."""
    try:
        return os.getsid(pid)
    except OSError:
        return 0


def kill(pid: int) -> None:
    """Kill the process, if it is there."""
    try:
        os.kill(pid, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        return


def children() -> list[int]:
    """Return the pids of this process's children, zombies left out."""
    return [pid for pid in all_children() if not is_zombie(pid)]


def all_children() -> list[int]:
    """Return the pids of this process's children, those that have ended and are not reaped too.

    One that ends meanwhile may hide another (proc(5)): look again after having reaped.
    """
    # Each is listed under the thread that started it.
    pids: list[int] = []
    try:
        threads = _listdir("/proc/self/task")
    except OSError:
        return pids
    for thread in threads:
        try:
            fd = _open(f"/proc/self/task/{thread}/children", _READ_ONLY)
        except OSError:  # the thread has ended
            continue
        try:
            pids += map(int, _read_all(fd).split())
        finally:
            _close(fd)
    return pids


def _read_all(fd: int) -> bytes:
    parts: list[bytes] = []
    while part := _read(fd, _READ_BYTES):
        parts.append(part)
    return b"".join(parts)


def is_zombie(pid: int) -> bool:
    """Whether the process has ended, reaped or not."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            return file.read().rpartition(b")")[2].split()[0] == b"Z"
    except OSError:
        return True


def why_deaf(pid: int, number: int) -> str:
    """Why a process would not handle this signal now; empty if it would, as far as can be told."""
    facts = _status(pid)
    if facts is None:
        return ""
    if facts["State"].split()[0] in "TtDZX":
        return "it was stopped"
    if _has(facts["SigBlk"], number):
        return "it blocked the signal"
    return "" if _has(facts["SigCgt"], number) else "it had changed its signal handlers"


def handles(pid: int, number: int) -> bool:
    """Whether a process has a handler for this signal, and will not die of it.

    True if that cannot be told.
    """
    facts = _status(pid)
    return facts is None or _has(facts["SigCgt"], number)


def _status(pid: int) -> dict[str, str] | None:
    try:
        with open(f"/proc/{pid}/status", encoding="ascii", errors="replace") as file:
            facts = dict(line.split(":", 1) for line in file if ":" in line)
    except OSError:
        return None
    return facts if {"State", "SigBlk", "SigCgt"} <= facts.keys() else None


def _has(mask: str, number: int) -> bool:
    return bool(int(mask, 16) >> (number - 1) & 1)


def reap_all() -> bool:
    """Reap whatever has ended; True while children are left."""
    while True:
        try:
            pid, _ = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return False
        if pid == 0:
            return True
