"""A storage that answers late, out of order, or not at all. Its tables are the truth."""

from bisect import bisect_left, insort
from random import Random

from knock.core import commands as cmd, events as ev
from knock.core.job import AttemptOutcome, Claim, DeathReason, JobSpec, JobState, Settlement
from knock.core.policy import JobPolicy
from tests.core.truth import EPSILON, UNCHARGED, Job


class Request:
    """A command to the storage; ``answer`` once it was carried out, or was not."""

    __slots__ = ("answer", "command")

    def __init__(self, command: object) -> None:
        self.command = command
        self.answer: object | None = None


class FakeStorage:
    """Jobs that are not final by id; ``final`` has the others. ``now`` is kept by the world."""

    def __init__(self, rng: Random, policies: dict[str, JobPolicy]) -> None:
        self.rng = rng
        self.policies = policies
        self.now = 0.0
        self.jobs: dict[int, Job] = {}
        self.final: dict[int, JobState] = {}
        self.queue: list[tuple[int, float, int]] = []
        self.requests: list[Request] = []
        self.is_calm = False
        self.deaths = 0  # of jobs that ran

    # --- callers ---

    def enqueue(self, specs: list[JobSpec]) -> None:
        for spec in specs:
            self.jobs[spec.id] = Job(spec)
            insort(self.queue, (spec.priority, spec.run_at, spec.id))

    def steal(self, job: Job) -> None:
        """Another supervisor takes the job over: our token is stale from now on."""
        job.token += 1
        job.is_stolen = True
        job.is_processing = False
        self._end(job, JobState.COMPLETED)

    def _end(self, job: Job, state: JobState) -> None:
        job_id = job.spec.id
        assert job_id not in self.final, "a second final state"
        self.final[job_id] = state
        if not job.is_stolen:
            del self.jobs[job_id]

    # --- commands ---

    def ask(self, command: cmd.ClaimJobs | cmd.SettleJobs) -> None:
        kind = type(command)
        assert all(type(r.command) is not kind for r in self.requests), "two requests of a kind"
        self.requests.append(Request(command))

    def cancel(self, command: cmd.CancelStored) -> None:
        for job_id in command.job_ids:
            job = self.jobs.get(job_id)
            if job is not None and not job.is_processing and not job.is_stolen:
                self._unqueue(job)
                self._end(job, JobState.CANCELLED)

    def next_event(self) -> object | None:
        """Carry out a request, or return the answer to one."""
        if not self.requests:
            return None
        index = int(self.rng.random() * len(self.requests))
        request = self.requests[index]
        if request.answer is None:
            request.answer = self._carry_out(request.command)
            if self.rng.random() < 0.5:
                return None
        del self.requests[index]
        return request.answer

    def _carry_out(self, command: object) -> object:
        fails = self.rng.random() < 0.1 and not self.is_calm
        if isinstance(command, cmd.ClaimJobs):
            return ev.ClaimFailed(command.claim) if fails else self._claim(command)
        if fails:
            return ev.SettleFailed(command.batch)
        stale = [s.job_id for s in command.settlements if not self._settle(s)]
        return ev.JobsSettled(command.batch, stale)

    # --- claims ---

    def _claim(self, command: cmd.ClaimJobs) -> ev.JobsClaimed:
        now, places = self.now, dict(command.places)
        taken: list[Claim] = []
        kept = []
        next_at, has_more = float("inf"), False
        for entry in self.queue:
            job = self.jobs[entry[2]]
            spec = job.spec
            expires_at = spec.expires_at
            if expires_at is not None and expires_at <= now:
                self._end(job, JobState.DEAD)
                continue
            if entry[1] <= now:
                left = places.get(spec.type)
                if len(taken) < command.limit and left != 0:
                    if left is not None:
                        places[spec.type] = left - 1
                    taken.append(self._hand_out(job))
                    continue
                has_more = True
            elif entry[1] < next_at:
                next_at = entry[1]
            if expires_at is not None and expires_at < next_at:
                next_at = expires_at
            kept.append(entry)
        self.queue = kept
        wake_at = None if next_at == float("inf") else next_at
        return ev.JobsClaimed(command.claim, taken, has_more, wake_at)

    def _hand_out(self, job: Job) -> Claim:
        job.token += 1
        job.is_processing = True
        return Claim(job.spec, job.token, job.spent)

    def _unqueue(self, job: Job) -> None:
        spec = job.spec
        entry = (spec.priority, spec.run_at, spec.id)
        index = bisect_left(self.queue, entry)
        assert self.queue[index] == entry
        del self.queue[index]

    # --- settlements ---

    def _settle(self, settlement: Settlement) -> bool:
        job = self.jobs.get(settlement.job_id)
        assert job is not None, "a settlement of a job that is final"
        if job.is_stolen:
            del self.jobs[settlement.job_id]
            return False
        assert job.is_processing, "a settlement of a job that was not claimed"
        assert settlement.token == job.token, "a settlement under an old token"
        assert job.holder is None, "a settlement of a job that a worker holds"
        if settlement.attempt is None:
            self._check_unrun(job, settlement)
        else:
            self._check_run(job, settlement)
        self._apply(job, settlement)
        return True

    def _apply(self, job: Job, settlement: Settlement) -> None:
        job.is_processing = False
        if settlement.spent is not None:
            job.spent = settlement.spent
        if settlement.state is not JobState.QUEUED:
            self._end(job, settlement.state)
            return
        spec = job.spec
        if settlement.run_at is not None and settlement.run_at != spec.run_at:
            job.spec = spec = JobSpec(
                spec.id,
                spec.type,
                spec.payload,
                spec.priority,
                settlement.run_at,
                spec.created_at,
                spec.expires_at,
                spec.key,
                spec.options,
            )
        insort(self.queue, (spec.priority, spec.run_at, spec.id))

    def _check_unrun(self, job: Job, settlement: Settlement) -> None:
        assert job.started_token != job.token, "a job that ran is settled as if it had not"
        assert settlement.spent in (None, job.spent), "a job that did not run is charged"
        match settlement.state:
            case JobState.QUEUED:
                assert settlement.run_at is None, "a release moves the job"
            case JobState.CANCELLED:
                assert job.is_cancelled, "nobody wanted that cancel"
            case JobState.DEAD if settlement.reason == DeathReason.EXPIRED:
                assert job.spec.expires_at is not None, "expired without an expiry"
                assert job.spec.expires_at <= self.now, "expired before its time"
            case JobState.DEAD:
                assert settlement.reason == DeathReason.UNKNOWN_TYPE, settlement
            case _:
                raise AssertionError(f"impossible without an attempt: {settlement}")

    def _check_run(self, job: Job, settlement: Settlement) -> None:
        attempt = settlement.attempt
        outcome = attempt.outcome
        assert job.started_token == job.token, "an attempt of a job that did not start"
        assert outcome in job.outcomes, f"{outcome} instead of {job.outcomes}"
        assert attempt.number == sum(job.spent) + 1, "attempts are miscounted"
        if outcome is AttemptOutcome.SUCCESS:
            assert settlement.state is JobState.COMPLETED, "a success is lost"
            assert settlement.result == job.spec.payload, "another job's result"
            assert settlement.spent == job.spent, "a success is charged"
        elif job.is_cancelled and settlement.state is JobState.CANCELLED:
            assert settlement.spent == job.spent, "a cancelled attempt is charged"
        elif outcome in UNCHARGED:
            assert outcome is AttemptOutcome.RELEASED, "nobody wanted that cancel"
            assert settlement.state is JobState.QUEUED, "a release is no release"
            assert settlement.spent == job.spent, "a release is charged"
            assert settlement.run_at == job.spec.run_at, "a release moves the job"
        else:
            self._check_verdict(job, settlement)

    def _check_verdict(self, job: Job, settlement: Settlement) -> None:
        policy = self.policies[job.spec.type]
        spent, delay, is_dead = job.after(settlement.attempt.outcome, policy)
        assert settlement.spent == spent, f"{settlement.spent} is spent instead of {spent}"
        deadline, now = job.spec.deadline, job.heard_at
        if not is_dead and deadline is not None:
            # By chance the delay may be longer, up to half of it.
            is_dead = settlement.state is JobState.DEAD
            assert is_dead or deadline > now + delay, "a retry after the deadline"
            assert not is_dead or deadline <= now + 1.5 * delay + EPSILON, "given up too early"
            assert not is_dead or settlement.reason == "deadline", "the reason is not told"
        state = JobState.DEAD if is_dead else JobState.QUEUED
        assert settlement.state is state, f"{settlement.state} instead of {state}"
        if is_dead:
            self.deaths += 1
            return
        waits = settlement.run_at - job.heard_at
        assert delay - EPSILON <= waits <= 1.5 * delay + EPSILON, "a wrong delay"
