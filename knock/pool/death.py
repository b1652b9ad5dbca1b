"""What is said of a worker process that is gone."""

import os
import signal

from knock.core.job import Death
from knock.pool.handle import Handle
from knock.pool.link import DESCRIPTORS_CLOSED
from knock.pool.nursery_client import Died


def death_of(report: Died, handle: Handle) -> Death:
    """Say how a process ended; its channel must have been read to the end before."""
    if report.status is None:
        cause = "ended unseen: something in the process that forked it ignores SIGCHLD"
        return Death(cause=cause, stderr=handle.last_words(), pid=report.pid)
    exit_code = os.waitstatus_to_exitcode(report.status)
    is_signal = exit_code < 0
    return Death(
        exit_code=None if is_signal else exit_code,
        signal=-exit_code if is_signal else None,
        cause=_cause(exit_code, handle),
        stderr=handle.last_words(),
        pid=report.pid,
        peak_rss_bytes=report.peak_rss_bytes,
        cpu_seconds=report.cpu_seconds,
    )


def _cause(exit_code: int, handle: Handle) -> str:
    if handle.violation is not None:
        return f"protocol violation: {handle.violation}"
    if exit_code < 0:
        return _signal_cause(-exit_code, handle)
    if exit_code == 0 and handle.is_stopping and not handle.window:
        return "ended as it was told"
    if exit_code == DESCRIPTORS_CLOSED:
        return f"exited with code {exit_code}: a job closed the descriptors of its worker"
    return f"exited with code {exit_code} without a result"


def _signal_cause(number: int, handle: Handle) -> str:
    cause = f"killed by {signal_name(number)}"
    if handle.kill_ordered is not None:
        return f"{cause} (ordered: {handle.kill_ordered})"
    if number != signal.SIGKILL:
        return cause
    if handle.is_overdue:
        return f"{cause}: {handle.kill_reason}"
    return f"{cause}, not by knock; possibly out of memory"


def signal_name(number: int) -> str:
    """Return the name of a signal, as far as it has one."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
