"""Limits in the simulated pool: which kills are right, and when the machine has to look."""

from knock.core import commands as cmd
from knock.core.policy import JobPolicy
from tests.core.fake_worker import READY, Hand, Run
from tests.core.truth import EPSILON, without


def check_limit(run: Run, cause: cmd.KillCause, policy: JobPolicy, now: float, stops: list) -> None:
    """A job is killed only if it is over the limit that it is killed for."""
    if cause is cmd.KillCause.MEMORY:
        assert policy.memory_limit is not None, "a job without a limit is killed"
        assert run.rss_seen > policy.memory_limit, "a job is killed though it is small"
        return
    if cause is cmd.KillCause.DEADLINE:
        assert run.job.spec.deadline is not None, "a job without a deadline is killed"
        assert now >= run.job.spec.deadline, "a job is killed before its deadline"
        return
    limit, start = None, since(run)
    if cause is cmd.KillCause.TIMEOUT:
        limit = run.job.timeout({run.job.spec.type: policy})
    elif cause is cmd.KillCause.STALLED:
        limit, start = policy.stall_timeout, max(start, run.sign_seen)
    else:
        return
    assert limit is not None, "a job without a limit is killed"
    assert now - without(stops, start) >= limit - EPSILON, "a job is killed before its limit"


def since(run: Run) -> float:
    """The earliest moment from which the machine may count."""
    if not run.is_honest:
        return run.sent_at
    return run.taken_at if run.shown_at is None else run.started_at


def must_be_looked_at(hand: Hand, policies: dict, stops: list) -> float | None:
    """The latest moment at which the machine has to look at the worker's clock."""
    run = hand.running
    if run is None or hand.phase is not READY or hand.kill is not None or hand.looks:
        return None
    if run.ticket != next(iter(hand.view)):
        return None
    begun = max(hand.touched_at, run.sent_at)
    if run.seen_at is not None:
        begun = max(begun, run.seen_at)
    if run.started_at is not None and run.is_honest:
        begun = max(begun, run.started_at)
    elif run.shown_at is not None:
        begun = max(begun, run.shown_at)
    return _latest_look(hand, run, begun, policies, stops)


def _latest_look(hand: Hand, run: Run, begun: float, policies: dict, stops: list) -> float | None:
    policy = policies[run.job.spec.type]
    is_shown = run.is_honest and run.shown_at is not None
    looks = []
    sign = max(begun, run.progress_at)
    for start, limit in (
        (begun, run.job.timeout(policies)),
        (sign, policy.stall_timeout),
        (begun, None if run.is_warned else policy.soft_timeout),
        (begun, None if policy.memory_limit is None else 0.05),
    ):
        if limit is not None:
            # A look that showed no start may have been told late, or not be believed.
            again = 0.01 if is_shown and policy.memory_limit is None else max(limit, 0.05)
            looks.append(max(without(stops, start) + limit, hand.looked_at + again))
    if run.job.spec.deadline is not None:
        looks.append(max(run.job.spec.deadline, begun, hand.looked_at + 0.05))
    return min(looks) + EPSILON if looks else None
