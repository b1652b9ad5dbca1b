"""What the machine was told and has ordered: every command is checked, then obeyed."""

from knock.core import commands as cmd, events as ev
from knock.core.boot import PATIENCE_SECONDS
from knock.core.job import AttemptOutcome
from knock.core.policy import JobPolicy, StopRule
from knock.core.recycling import STOP_SECONDS
from tests.core.fake_pool import FakePool
from tests.core.fake_storage import FakeStorage
from tests.core.fake_worker import Hand, Run
from tests.core.truth import EPSILON, BreakerModel, without

BREAKER_NOTICES = frozenset(
    {
        cmd.NoticeName.BREAKER_OPENED,
        cmd.NoticeName.BREAKER_HALF_OPENED,
        cmd.NoticeName.BREAKER_CLOSED,
    }
)
EXIT_NOTICES = frozenset({cmd.NoticeName.WORKER_EXITED, cmd.NoticeName.WORKER_RECYCLED})
BREAKER_FAILURES = frozenset(
    {
        AttemptOutcome.ERROR,
        AttemptOutcome.TIMEOUT,
        AttemptOutcome.CRASH,
        AttemptOutcome.OUT_OF_MEMORY,
    }
)


class Checks:
    """Keeps what the machine must know, obeys its commands, and asserts."""

    def __init__(
        self,
        pool: FakePool,
        storage: FakeStorage,
        policies: dict[str, JobPolicy],
        rule: StopRule | None,
    ) -> None:
        self.pool, self.storage, self.policies, self.rule = pool, storage, policies, rule
        self.is_paused = self.is_stopping = self.is_over = self.has_failed = False
        self.stop_at: float | None = None
        self.boot_failures = 0
        self.hopeless: set[int] = set()  # and whose they were
        self.wanting_since: float | None = None  # no worker was ready since a birth failed
        self.failing_since: float | None = None  # ... since a boot failed
        self.has_booted = False
        self.expected: list[tuple[cmd.NoticeName, str]] = []
        self.breakers: dict[str, BreakerModel] = {}
        for name, policy in policies.items():
            self._set_breaker(name, policy)
        self.exits: list[tuple[cmd.NoticeName, int, str]] = []  # that are to be told
        self.renewing: set[int] = set()  # slots that retire, or whose next process is not ready
        self.renewed: set[int] = set()  # slots that must be filled at once
        self.sent: list[tuple[int, float, int]] = []
        self.sent_to: dict[int, set[int]] = {}  # worker to what it was sent in this step
        self.returned: tuple[int, list] = (0, [])  # worker, and the jobs that it gave back
        self._hear = {
            ev.AttemptsEnded: self._attempts_ended,
            ev.JobsHandedBack: self._jobs_returned,
            ev.PermitsRevoked: self._jobs_returned,
            ev.WorkerExited: self._worker_exited,
            ev.WorkerReady: self._worker_ready,
            ev.WorkerWorn: self._worker_worn,
            ev.KillDropped: self._kill_dropped,
            ev.LedgersRead: self._ledgers_read,
            ev.CancelRequested: self._cancel_requested,
            ev.PauseRequested: self._pause_requested,
            ev.ResumeRequested: self._resume_requested,
            ev.StopRequested: self._stop_requested,
            ev.PolicySet: self._policy_set,
        }
        self._obey = {
            cmd.SendJobs: self._send_jobs,
            cmd.ClaimJobs: self._claim_jobs,
            cmd.SettleJobs: lambda command, now: storage.ask(command),
            cmd.CancelStored: lambda command, now: storage.cancel(command),
            cmd.StartWorker: self._start_worker,
            cmd.StopWorker: lambda command, now: pool.stop(command),
            cmd.KillWorker: self._kill_worker,
            cmd.WarnWorker: lambda command, now: pool.warn(command, self.policies),
            cmd.ResumeType: lambda command, now: pool.resume_type(command),
            cmd.RevokePermits: lambda command, now: pool.revoke(command),
            cmd.ReadLedgers: lambda command, now: pool.read_ledgers(command),
            cmd.Publish: self._publish,
            cmd.FailPool: self._fail_pool,
            cmd.EndPool: self._end_pool,
        }

    def hear(self, event: object, now: float) -> None:
        """Take note of what the machine is about to hear."""
        hear = self._hear.get(type(event))
        if hear is not None:
            hear(event, now)
        for breaker in self.breakers.values():
            breaker.tick(now)

    def obey(self, command: object, now: float) -> None:
        """Check a command, and have it done."""
        self._obey[type(command)](command, now)

    @property
    def is_held(self) -> bool:
        return self.is_paused or self.is_stopping or self.is_over

    # --- what the machine hears ---

    def _live(self, event) -> Hand | None:
        hand = self.pool.hands[event.worker]
        return None if hand is None or hand.generation != event.generation else hand

    def _attempts_ended(self, event: ev.AttemptsEnded, now: float) -> None:
        hand = self._live(event)
        if hand is None:
            return
        for ended in event.ended:
            run = hand.view.pop(ended.ticket, None)
            if run is None:
                continue
            is_failure = ended.outcome is not AttemptOutcome.SUCCESS
            is_asked = ended.retry_after is not None or ended.discard is not None
            self._gone(run, None if is_failure and is_asked else is_failure, now)
            hand.touched_at = now
            hand.kept_bytes = ended.usage.rss_before_bytes

    def _gone(self, run: Run, failed: bool | None, now: float) -> None:
        job = run.job
        job.holder = None
        job.heard_at = now
        breaker = self.breakers.get(job.spec.type)
        if breaker is not None:
            breaker.gone(run.ticket, failed, now)

    def _jobs_returned(self, event: ev.JobsHandedBack | ev.PermitsRevoked, now: float) -> None:
        hand = self._live(event)
        if hand is None:
            return
        head = next(iter(hand.view), None)
        returned = []
        for ticket in event.tickets:
            run = hand.view.pop(ticket, None)
            if run is not None:
                self._gone(run, None, now)
                returned.append(run.job)
                hand.handed -= 1
        if next(iter(hand.view), None) != head:
            hand.touched_at = now
        if isinstance(event, ev.PermitsRevoked):
            self.returned = (event.worker, returned)
            for ticket in hand.revoking.popleft():
                if ticket in hand.view:
                    hand.view[ticket].is_known = True

    def _worker_exited(self, event: ev.WorkerExited, now: float) -> None:
        hand = self._live(event)
        if hand is None:
            return
        for run in hand.view.values():
            job = run.job
            outcome = job.outcomes[-1] if run.taken_at else None
            is_failure = outcome in BREAKER_FAILURES and not job.is_cancelled
            self._gone(run, True if is_failure else None, now)
        self._expect_notice(hand)
        if not hand.is_known_ready and not event.death.is_infrastructure:
            self.boot_failures += 1
            self.hopeless.add(hand.number)
            if self.failing_since is None:
                self.failing_since = now
        elif not hand.is_known_ready and self.wanting_since is None:
            self.wanting_since = now
        self.pool.bury(hand)

    def _expect_notice(self, hand: Hand) -> None:
        """One of an exit and a recycling is told, and a recycled worker is replaced at once."""
        if hand.is_stopping and hand.retires_for is not None:
            self.exits.append((cmd.NoticeName.WORKER_RECYCLED, hand.number, hand.retires_for))
            if hand.is_used and not self.is_stopping:
                self.renewed.add(hand.number)
        elif not self.is_stopping:
            self.exits.append((cmd.NoticeName.WORKER_EXITED, hand.number, ""))

    def _worker_worn(self, event: ev.WorkerWorn, now: float) -> None:
        hand = self._live(event)
        if hand is not None:
            hand.is_known_worn = True

    def _worker_ready(self, event: ev.WorkerReady, now: float) -> None:
        hand = self._live(event)
        if hand is not None:
            hand.is_known_ready = True
            hand.ready_at = now
            self.renewing.discard(hand.number)
            if hand.kill is None:
                self.has_booted = True
                self.boot_failures = 0
                self.hopeless.clear()
                self.wanting_since = self.failing_since = None

    def _kill_dropped(self, event: ev.KillDropped, now: float) -> None:
        hand = self._live(event)
        if hand is not None:
            hand.kill = None
            hand.touched_at = now

    def _ledgers_read(self, event: ev.LedgersRead, now: float) -> None:
        for worker, (generation, reading) in event.readings.items():
            hand = self.pool.hands[worker]
            if hand is None or hand.generation != generation:
                continue
            hand.looked_at = now
            run = hand.looks.popleft()
            if run is None:
                continue
            run.looks += not hand.revoking  # else the machine may not believe what it sees
            if run.seen_at is None:
                run.seen_at = now
            if reading.ticket == run.ticket:
                run.shown_at = now if run.shown_at is None else run.shown_at
                run.sign_seen = reading.progress_at
                run.rss_seen = reading.rss_bytes or 0
                run.is_weighed |= reading.rss_bytes is not None

    def _cancel_requested(self, event: ev.CancelRequested, now: float) -> None:
        for job_id in event.job_ids:
            job = self.storage.jobs.get(job_id)
            if job is not None:
                job.is_cancelled = True

    def _pause_requested(self, event: ev.PauseRequested, now: float) -> None:
        self.is_paused = True

    def _resume_requested(self, event: ev.ResumeRequested, now: float) -> None:
        self.is_paused = False

    def _stop_requested(self, event: ev.StopRequested, now: float) -> None:
        self.is_stopping = True
        deadlines = [at for at in (self.stop_at, event.deadline) if at is not None]
        self.stop_at = min(deadlines, default=None)

    def _policy_set(self, event: ev.PolicySet, now: float) -> None:
        name, policy = event.job_type, event.policy
        before = self.policies.get(name)
        self.policies[name] = policy
        if before is None or before.breaker != policy.breaker:
            self._set_breaker(name, policy)

    def _set_breaker(self, name: str, policy: JobPolicy) -> None:
        replaced = self.breakers.pop(name, None)
        if replaced is not None and replaced.state != "closed":
            self.expected.append((cmd.NoticeName.BREAKER_CLOSED, name))
        if policy.breaker is not None:
            workers = len(self.pool.hands)
            self.breakers[name] = BreakerModel(name, policy.breaker, workers, self.expected)

    # --- what the machine orders ---

    def _send_jobs(self, command: cmd.SendJobs, now: float) -> None:
        assert not self.is_held, "jobs are sent while nothing is to start"
        jobs = self.storage.jobs
        self.sent_to[command.worker] = {dispatch.job.id for dispatch in command.jobs}
        for dispatch in command.jobs:
            job = jobs[dispatch.job.id]
            spec = job.spec
            if not job.is_stolen:
                assert job.is_processing, "a job is sent that is not claimed"
                assert dispatch.attempt == sum(job.spent) + 1, "attempts are miscounted"
            assert not job.is_cancelled, f"job {spec.id} is sent though cancelled"
            assert spec.expires_at is None or spec.expires_at > now, "an expired job is sent"
            assert spec.type in self.policies, "a job of an unknown type is sent"
            breaker = self.breakers.get(spec.type)
            if breaker is not None:
                breaker.sent(dispatch.ticket)
            is_counted = breaker is not None or self.rule is not None
            assert dispatch.is_guarded is is_counted, "failures are counted of the wrong jobs"
            self.sent.append((spec.priority, spec.run_at, spec.id))
        self.pool.send(command, jobs)
        for name in {dispatch.job.type for dispatch in command.jobs}:
            self._check_bound(name)

    def _check_bound(self, name: str) -> None:
        bound = self.policies[name].max_concurrency
        if bound is not None:
            holders = self.pool.holders(name)
            assert holders <= bound, f"{holders} workers hold {name}, {bound} may"

    def _claim_jobs(self, command: cmd.ClaimJobs, now: float) -> None:
        assert not self.is_stopping, "jobs are claimed though the pool stops"
        assert command.limit >= 0, "a claim of less than nothing"
        assert not (self.is_held and command.limit), "jobs are claimed that must not start"
        for name, breaker in self.breakers.items():
            if breaker.state == "open":
                assert command.places.get(name) == 0, f"{name} is claimed though it is open"
        self.storage.ask(command)

    def _start_worker(self, command: cmd.StartWorker, now: float) -> None:
        assert not self.is_stopping, "a worker is started though the pool stops"
        self.pool.start(command)
        self.renewed.discard(command.worker)

    def _kill_worker(self, command: cmd.KillWorker, now: float) -> None:
        if command.cause is cmd.KillCause.RELEASED:
            hand = self.pool.hand(command.worker, command.generation)
            told_at = without(self.pool.stops, hand.stops_at)
            is_late = hand.is_stopping and now >= told_at + STOP_SECONDS - EPSILON
            assert self.is_stopping or is_late, "a worker is killed for a stop that nobody wants"
        if command.cause is cmd.KillCause.CANCELLED:
            hand = self.pool.hand(command.worker, command.generation)
            job = hand.view[command.ticket].job
            assert job.is_cancelled, "a worker is killed for a job that nobody cancelled"
        self.pool.kill(command, self.policies)

    def _publish(self, command: cmd.Publish, now: float) -> None:
        for notice in command.notices:
            if notice.name in BREAKER_NOTICES:
                got = (notice.name, notice.job_type)
                assert got in self.expected, f"{got} is published"
                self.expected.remove(got)
            elif notice.name in EXIT_NOTICES:
                got = (notice.name, notice.worker, notice.detail)
                assert got in self.exits, f"{got} is published"
                self.exits.remove(got)
            elif notice.name is cmd.NoticeName.STOP_RULE_REACHED:
                assert self.rule is not None, "nobody wanted the batch to be given up"
                assert not self.sent, "jobs are sent though the batch is given up"
                self.is_over = True

    def _fail_pool(self, command: cmd.FailPool, now: float) -> None:
        hands = [hand for hand in self.pool.hands if hand is not None and not hand.is_stopping]
        if self.boot_failures < 3:
            since = now if self.wanting_since is None else self.wanting_since
            assert now - since >= PATIENCE_SECONDS, "the pool gives up too early"
            assert all(hand.kill for hand in hands), "a worker boots"
        elif self.wanting_since is None:
            assert {hand.number for hand in hands if not hand.kill} <= self.hopeless, "one may boot"
            assert self.failing_since is not None
            if self.has_booted:
                assert now - self.failing_since >= PATIENCE_SECONDS, "code that works is given up"
        for hand in hands:
            assert hand.kill or not hand.is_known_ready, "a worker is ready"
        self.has_failed = True

    def _end_pool(self, command: cmd.EndPool, now: float) -> None:
        assert self.is_stopping, "the pool ends though nobody stopped it"
        assert not any(self.pool.hands), "the pool ends before its workers"
        assert not self.storage.requests, "the pool ends before its storage has answered"
