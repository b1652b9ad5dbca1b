"""The limits of a running attempt: which one it is over, and when to look at it again."""

from typing import NamedTuple

from knock.core.commands import KillCause
from knock.core.events import Reading
from knock.core.kind import MEMORY_LOOK_SECONDS
from knock.core.slot import Flight
from knock.core.standstill import Standstills

# One whose start nobody has seen yet is looked at again so soon.
LOOK_AGAIN_SECONDS = 0.01
# A worker that does not begin what it was sent for so long, since it took the last of it in, is not
# able to: something that an earlier job has left behind holds it up.
START_SECONDS = 10.0
# ... and has not begun when it is looked at again after this: who was stopped together with its
# supervisor had no chance before.
CONFIRM_SECONDS = 1.0


class Verdict(NamedTuple):
    """What is due for an attempt: to be killed, to be warned, to be looked at again, or nothing."""

    kill: KillCause | None = None
    is_warning_due: bool = False
    look_at: float | None = None


def first_look(flight: Flight, now: float) -> float | None:
    """When to look at an attempt that starts now at the earliest; None if it has no limit."""
    kind, job = flight.kind, flight.claim.job
    after = kind.first_look
    timeout = kind.timeout_of(job)
    if timeout is not None and (after is None or timeout < after):
        after = timeout
    look_at = None if after is None else now + after
    deadline = job.deadline
    if deadline is not None and (look_at is None or deadline < look_at):
        # Never in the past: who is looked at without having started is looked at again.
        look_at = max(now, deadline)
    return look_at


def judge(
    flight: Flight, started_at: float, reading: Reading, now: float, still: Standstills
) -> Verdict:
    """Hold an attempt that runs since ``started_at`` against its limits."""
    kind, job = flight.kind, flight.claim.job
    policy = kind.policy
    counts_from = still.after(started_at)
    ends: list[tuple[float, KillCause]] = []
    timeout = kind.timeout_of(job)
    if timeout is not None:
        ends.append((counts_from + timeout, KillCause.TIMEOUT))
    if policy.stall_timeout is not None:
        # The worker writes it: a word of the future counts as one of now.
        sign_of_life = max(started_at, min(reading.progress_at, now))
        ends.append((still.after(sign_of_life) + policy.stall_timeout, KillCause.STALLED))
    if job.deadline is not None:
        ends.append((job.deadline, KillCause.DEADLINE))
    # Not ``now - started_at >= timeout``: rounded, it may differ from when it wakes.
    over = min((end for end in ends if end[0] <= now), default=None)
    if over is not None:
        return Verdict(over[1])
    looks = [at for at, _ in ends]
    if policy.memory_limit is not None:
        if reading.rss_bytes is not None and reading.rss_bytes > policy.memory_limit:
            return Verdict(KillCause.MEMORY)
        looks.append(now + MEMORY_LOOK_SECONDS)
    is_warning_due = False
    if policy.soft_timeout is not None and not flight.is_warned:
        warn_at = counts_from + policy.soft_timeout
        # Of a start that only the permits tell the worker itself knows nothing yet.
        is_warning_due = warn_at <= now and reading.ticket == flight.ticket
        looks.append(warn_at if warn_at > now else now + LOOK_AGAIN_SECONDS)
    return Verdict(None, is_warning_due, min(looks, default=None))
