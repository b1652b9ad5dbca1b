"""Tell a machine things in few words, and say what it must order."""

from random import Random

from knock.core import commands as cmd, events as ev
from knock.core.handout import Dispatch
from knock.core.job import (
    NOTHING_SPENT,
    UNSET,
    Attempt,
    AttemptOutcome,
    Claim,
    Death,
    JobOptions,
    JobSpec,
    JobState,
    Settlement,
    Usage,
)
from knock.core.machine import Machine
from knock.core.policy import JobPolicy

SUCCESS, ERROR = AttemptOutcome.SUCCESS, AttemptOutcome.ERROR
SEGFAULT = Death(signal=11, pid=1001)
LONG = 1.0  # seconds; a job like that has its worker for itself
TINY = 1e-5


def a_claim(job_id, *, job_type="t", priority=1, run_at=0.0, token=1, spent=NOTHING_SPENT, **spec):
    options = JobOptions(
        timeout=spec.pop("timeout", UNSET), retry_attempts=spec.pop("retry_attempts", UNSET)
    )
    job = JobSpec(job_id, job_type, b"", priority, run_at, 0.0, options=options, **spec)
    return Claim(job, token, spent)


def usage(started_at=0.0, wall_seconds=LONG):
    return Usage(started_at, wall_seconds, 0.0, 0, 0)


def ended(ticket, outcome=SUCCESS, *, wall_seconds=LONG, **more):
    return ev.AttemptEnded(ticket, outcome, usage(0.0, wall_seconds), **more)


class Story:
    """A machine whose workers are ready, and the shortest way to tell it things."""

    def __init__(self, *, workers=1, policy=None, policies=None, **more):
        self.now = 100.0
        self.machine = Machine(
            workers=workers,
            policies=policies or {"t": policy or JobPolicy()},
            rng=Random(1),
            **more,
        )
        self.machine.start(self.now)
        self.claims = self.batches = 0
        for worker in range(workers):
            self.tell(ev.WorkerReady(worker, 1, 1000 + worker))

    def tell(self, event, *, at=None):
        if at is not None:
            self.now = at
        commands = self.machine.handle(event, self.now)
        for command in commands:
            match command:
                case cmd.ClaimJobs():
                    self.claims = command.claim
                case cmd.SettleJobs():
                    self.batches = command.batch
        return commands

    def claimed(self, *claims, has_more=False, next_at=None):
        if not self.machine._docket.intake.is_out:
            self.tell(ev.JobsAdded(min(claim.job.priority for claim in claims), 0.0))
        return self.tell(ev.JobsClaimed(self.claims, list(claims), has_more, next_at))

    def ended(self, *attempts, worker=0, generation=1):
        return self.tell(ev.AttemptsEnded(worker, generation, list(attempts)))

    def settled(self):
        return self.tell(ev.JobsSettled(self.batches))

    def learn(self, wall_seconds=TINY, jobs=40):
        """Let the machine find out how long jobs of type "t" take, on its first worker."""
        for i in range(jobs):
            self.claimed(a_claim(10_000 + i))
            self.ended(ended(i + 1, wall_seconds=wall_seconds))
            self.settled()


def send(worker, *pairs, generation=1, is_guarded=False):
    """The order to hand out each claim under its ticket."""
    jobs = [Dispatch(ticket, claim.job, claim.attempt, is_guarded) for ticket, claim in pairs]
    return cmd.SendJobs(worker, generation, jobs)


def guarded(worker, *pairs):
    """As ``send``, of jobs whose failures are counted."""
    return send(worker, *pairs, is_guarded=True)


def settle(batch, *settlements):
    return cmd.SettleJobs(batch, list(settlements))


def run_of(claim, outcome=SUCCESS, *, pid=1000, **more):
    """The record of a run that ended as ``ended`` says."""
    seconds = more.pop("wall_seconds", LONG)
    return Attempt(claim.attempt, outcome, usage(0.0, seconds), 0.0, pid, **more)


def death_of(claim, outcome, death, *, started_at, wall_seconds, waited, pid=1000):
    """The record of a run that ended with its worker."""
    measured = Usage(started_at, wall_seconds, 0.0, 0, 0, is_exact=False)
    return Attempt(claim.attempt, outcome, measured, waited, pid, death=death)


def settled_as(claim, state, attempt=None, *, spent=None, **more):
    spent = claim.spent if spent is None else spent
    return Settlement(claim.job.id, claim.token, state, attempt, spent, **more)


def released(claim):
    return settled_as(claim, JobState.QUEUED)


def worker_exited(worker, at, death):
    notice = cmd.Notice(cmd.NoticeName.WORKER_EXITED, at, worker=worker, death=death)
    return cmd.Publish([notice])


def told(name, at, **more):
    return cmd.Publish([cmd.Notice(name, at, **more)])
