"""The child processes of this process: which there are, how they end, and killing them."""

import os
import signal


def open_pidfd(pid: int) -> int | None:
    """Return a descriptor of the process, or None if it is gone or the system has none."""
    try:
        return os.pidfd_open(pid)
    except (AttributeError, OSError):
        return None


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
    me = os.getpid()
    try:
        with open(f"/proc/self/task/{me}/children", encoding="ascii") as file:
            return [int(pid) for pid in file.read().split() if not is_zombie(int(pid))]
    except OSError:
        return []


def is_zombie(pid: int) -> bool:
    """Whether the process has ended, reaped or not."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            return file.read().rpartition(b")")[2].split()[0] == b"Z"
    except OSError:
        return True


def why_deaf(pid: int, number: int) -> str:
    """Why a process would not handle this signal now; empty if it would, as far as can be told."""
    try:
        with open(f"/proc/{pid}/status", encoding="ascii", errors="replace") as file:
            facts = dict(line.split(":", 1) for line in file if ":" in line)
        blocked, caught = int(facts["SigBlk"], 16), int(facts["SigCgt"], 16)
    except (OSError, KeyError, ValueError):
        return ""
    bit = 1 << (number - 1)
    if facts["State"].split()[0] in "TtDZX":
        return "it was stopped"
    if blocked & bit:
        return "it blocked the signal"
    if not caught & bit:
        return "it had changed its signal handlers"
    return ""


def reap_all() -> bool:
    """Reap whatever has ended; True while children are left."""
    while True:
        try:
            pid, _ = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return False
        if pid == 0:
            return True
