"""Storages that lose what they are to keep, by what they lose."""

from dataclasses import replace

from knock.core.job import NO_OPTIONS, NOTHING_SPENT, UNSET, AttemptOutcome, JobState, Spent
from tests.storage.mistakes.build import (
    change_specs,
    changing_attempts,
    changing_claims,
    changing_jobs,
    changing_reclaims,
    changing_records,
    changing_settlements,
    is_release,
    is_retry,
    spoiling_what,
    spoiling_what_waits_again,
)

BYTES = 65_536
ID_BITS = (1 << 48) - 1


def change_options(job, **changes):
    return replace(job, options=replace(job.options, **changes))


def without_float_timeout(job):
    return change_options(job, timeout=UNSET) if isinstance(job.options.timeout, float) else job


def with_rounded_timeout(job):
    timeout = job.options.timeout
    return change_options(job, timeout=int(timeout)) if isinstance(timeout, float) else job


def without_timeout_of_none(job):
    return change_options(job, timeout=UNSET) if job.options.timeout is None else job


def keep_only_failures(claimed, limit):
    for claim in claimed.jobs:
        claim.spent = Spent(failures=claim.spent.failures)


def forget_spent(claims):
    return [replace(claim, spent=NOTHING_SPENT) for claim in claims]


def forget_reclaimed_options(claims):
    return [replace(claim, job=replace(claim.job, options=NO_OPTIONS)) for claim in claims]


def without_attempt_of(outcome):
    def change(settlement, now):
        ended = settlement.attempt
        if ended is not None and ended.outcome is outcome:
            return replace(settlement, attempt=None)
        return settlement

    return changing_settlements(change)


def without_attempt_in(state):
    def change(settlement, now):
        return replace(settlement, attempt=None) if settlement.state is state else settlement

    return changing_settlements(change)


def with_short_error(record):
    attempts = tuple(
        replace(one, error=one.error and replace(one.error, traceback=one.error.traceback[:BYTES]))
        for one in record.attempts
    )
    return replace(record, attempts=attempts)


MISTAKES = {
    "a payload ends at 64 KiB": changing_jobs(
        lambda job: replace(job, payload=job.payload and job.payload[:BYTES])
    ),
    "a result ends at 64 KiB": changing_settlements(
        lambda one, now: replace(one, result=one.result and one.result[:BYTES])
    ),
    "a traceback ends at 64 KiB": changing_records(with_short_error),
    "an empty payload is none": changing_jobs(
        lambda job: replace(job, payload=job.payload or None)
    ),
    "an empty result is none": changing_settlements(
        lambda one, now: replace(one, result=one.result or None)
    ),
    "no result is an empty one": changing_settlements(
        lambda one, now: replace(one, result=one.result or b"")
    ),
    "ids have 48 bits": changing_jobs(lambda job: replace(job, id=job.id & ID_BITS)),
    "ids are floats": changing_jobs(lambda job: replace(job, id=int(float(job.id)))),
    "a timeout with a fraction is lost": changing_jobs(without_float_timeout),
    "a timeout is rounded": changing_jobs(with_rounded_timeout),
    "no timeout is the type's timeout": changing_jobs(without_timeout_of_none),
    "no retries are the type's retries": changing_jobs(
        lambda job: change_options(job, retry_attempts=job.options.retry_attempts or UNSET)
    ),
    "a release loses options": spoiling_what_waits_again(
        is_release, change_specs(options=NO_OPTIONS)
    ),
    "a retry loses options": spoiling_what_waits_again(is_retry, change_specs(options=NO_OPTIONS)),
    "a requeue loses options": spoiling_what("requeue", change_specs(options=NO_OPTIONS)),
    "a reclaim loses options": changing_reclaims(forget_reclaimed_options),
    "a requeue loses the priority": spoiling_what("requeue", change_specs(priority=2)),
    "a claim forgets all budgets but failures": changing_claims(keep_only_failures),
    "a reclaim forgets budgets": changing_reclaims(forget_spent),
    "an attempt loses its death": changing_attempts(death=None),
    "an attempt loses its error": changing_attempts(error=None),
    "an attempt loses its worker": changing_attempts(worker_pid=None),
    "the attempt of a cancelled job is lost": without_attempt_in(JobState.CANCELLED),
    "the attempt of a released job is lost": without_attempt_of(AttemptOutcome.RELEASED),
}
