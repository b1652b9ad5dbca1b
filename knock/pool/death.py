"""What is said of a worker process that is gone."""

import os
import re
import signal

from knock.core.job import Death
from knock.pool.handle import Handle
from knock.pool.link import DESCRIPTORS_CLOSED
from knock.pool.nursery_client import Died
from knock.pool.oom import OomWatch

# What called the job, in a stack that faulthandler wrote: the same for all, of no use to anybody.
_OWN_FRAMES = re.compile(
    rf'^  File "{re.escape(os.path.dirname(__file__))}/runner\.py", line \d+ in _call\n'
    r"(?:  .*\n)*",
    re.MULTILINE,
)


def _without_own_frames(words: str) -> str:
    return _OWN_FRAMES.sub("", words)


def death_of(report: Died, handle: Handle, oom_watch: OomWatch) -> Death:
    """Say how a process ended; its channel must have been read to the end before."""
    if report.status is None:
        cause = "ended unseen: something in the process that forked it ignores SIGCHLD"
        return Death(cause=cause, stderr=_without_own_frames(handle.last_words()), pid=report.pid)
    exit_code = os.waitstatus_to_exitcode(report.status)
    is_signal = exit_code < 0
    is_unexplained = is_signal and -exit_code == signal.SIGKILL and _is_unexplained(handle)
    is_out_of_memory = is_unexplained and oom_watch.take()
    ordered = handle.kill_ordered
    return Death(
        exit_code=None if is_signal else exit_code,
        signal=-exit_code if is_signal else None,
        cause=_cause(exit_code, handle, is_out_of_memory=is_out_of_memory),
        stderr=_without_own_frames(handle.last_words()),
        pid=report.pid,
        peak_rss_bytes=report.peak_rss_bytes,
        cpu_seconds=report.cpu_seconds,
        out_of_memory=is_out_of_memory,
        ordered="" if ordered is None or not is_signal else ordered.value,
    )


def _is_unexplained(handle: Handle) -> bool:
    """Whether knock has not killed it itself."""
    return handle.kill_ordered is None and handle.violation is None and not handle.is_overdue


def _cause(exit_code: int, handle: Handle, *, is_out_of_memory: bool) -> str:
    if is_out_of_memory:
        return "killed by SIGKILL: the kernel was out of memory"
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
        no_stack = f"; no stack: {handle.no_stack}" if handle.no_stack else ""
        return f"{cause} (ordered: {handle.kill_ordered}{no_stack})"
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
