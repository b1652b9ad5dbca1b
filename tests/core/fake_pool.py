"""A pool without processes: it obeys every command and does to its jobs what real ones suffer."""

from collections import deque
from random import Random

from knock.core import commands as cmd, events as ev
from knock.core.job import AttemptOutcome, Death, JobError, Usage
from knock.core.limit import CONFIRM_SECONDS, START_SECONDS
from knock.core.policy import RecyclePolicy
from tests.core.fake_limit import check_limit, since
from tests.core.fake_worker import BOOTING, DEAD, READY, Hand, Run
from tests.core.truth import EPSILON, Job, without

ERROR = JobError(type_name="ValueError", message="no", traceback="")
KILLED_AS = {
    cmd.KillCause.TIMEOUT: AttemptOutcome.TIMEOUT,
    cmd.KillCause.STALLED: AttemptOutcome.TIMEOUT,
    cmd.KillCause.DEADLINE: AttemptOutcome.TIMEOUT,
    cmd.KillCause.MEMORY: AttemptOutcome.OUT_OF_MEMORY,
    cmd.KillCause.CANCELLED: AttemptOutcome.CANCELLED,
    cmd.KillCause.RELEASED: AttemptOutcome.RELEASED,
    cmd.KillCause.UNRESPONSIVE: AttemptOutcome.RELEASED,
}


class FakePool:
    """Workers that boot, run, fail, hang and die by chance. ``now`` is kept by the world."""

    def __init__(self, workers: int, rng: Random, recycle: RecyclePolicy | None) -> None:
        self.rng = rng
        self.recycle = RecyclePolicy() if recycle is None else recycle
        self.now = 0.0
        self.stops: list[tuple[float, float]] = []  # when nobody's clock counted
        self.hands: list[Hand | None] = [None] * workers
        self.readings: list = []  # and what was said by processes that are gone
        self.sickness: dict[str, float] = {}  # the share of jobs of a type that fail
        self.is_calm = False  # faults have ended
        self.boot_failures = rng.choice([0.1, 0.1, 0.4])
        self.is_starved = False  # no process can be made
        self.hangs = rng.choice([0.02, 0.02, 0.1])  # the share of jobs that never end
        self.wear = rng.choice([0.0, 0.0, 0.0, 0.02, 0.3])  # the share of jobs that wear a worker
        self.wall_seconds = rng.choice([None, 1e-5, 1e-3])  # what jobs say of themselves

    def calm(self) -> None:
        """From now on nothing goes wrong."""
        self.is_calm = True
        self.boot_failures = 0.0
        self.is_starved = False

    def bury(self, hand: Hand) -> None:
        """The machine has heard of the end of a process."""
        self.hands[hand.number] = None
        self.readings.extend(hand.told)

    def is_silent(self) -> bool:
        """Whether the machine has heard all that there is to hear."""
        return not self.readings and not any(
            hand is not None and (hand.told or hand.channel) for hand in self.hands
        )

    # --- what the machine hears ---

    def next_event(self) -> object | None:
        """Return something that the machine does not know yet, in an order that can happen."""
        rng = self.rng
        if self.readings and rng.random() < 0.5:
            return self.readings.pop(0)
        count = len(self.hands)
        first = int(rng.random() * count)
        for i in range(first, first + count):
            hand = self.hands[i % count]
            if hand is None:
                continue
            if hand.told:
                return hand.told.popleft()
            if hand.channel:
                return hand.read(1 + int(rng.random() * 8))
        return self.readings.pop(0) if self.readings else None

    def holders(self, job_type: str) -> int:
        """How many workers may hold jobs of the type, as far as the machine can know."""
        return sum(
            any(run.job.spec.type == job_type for run in hand.view.values())
            for hand in self.hands
            if hand is not None
        )

    # --- what the workers do ---

    def move(self) -> None:
        """Let chance move one worker."""
        rng = self.rng
        hand = self.hands[int(rng.random() * len(self.hands))]
        if hand is None or hand.phase is DEAD:
            return
        chance = rng.random()
        if hand.phase is BOOTING:
            self._boot(hand, chance)
        elif hand.running is not None:
            self._run_on(hand, hand.running, chance)
        elif hand.is_deaf:
            return
        elif hand.permits:
            self._take(hand)
        elif hand.is_stopping:
            if chance < 0.7:  # else an exit handler hangs
                self.die(hand, Death(exit_code=0) if chance < 0.6 else Death(signal=11))
        elif chance < 0.003 and not self.is_calm:
            self.die(hand, Death(signal=9))
        elif chance < 0.006 and not self.is_calm:
            self._wear_out(hand)

    def _boot(self, hand: Hand, chance: float) -> None:
        if self.is_starved:
            self.die(hand, Death(cause="cannot fork", is_infrastructure=True))
        elif chance < self.boot_failures:
            if chance < self.boot_failures / 2:
                hand.told.append(ev.WorkerBootFailed(hand.number, hand.generation, "no module"))
            self.die(hand, Death(exit_code=1, cause="boot"))
        elif chance < 0.6:
            hand.phase = READY
            pid = 1000 + hand.generation
            if chance > 0.59 and not self.is_calm:
                self._wear_out(hand)
                hand.drain()  # it may be heard before the birth is told
            hand.told.append(ev.WorkerReady(hand.number, hand.generation, pid))

    def _take(self, hand: Hand) -> None:
        run = hand.permits.popleft()
        if run.goes_back:
            hand.channel.append(run.ticket)
            return
        job = run.job
        assert job.holder is hand, "a job starts on a worker that should not have it"
        assert job.started_token != job.token, "a job runs twice under one token"
        hand.running = run
        run.taken_at = self.now
        run.rss_before = hand.rss_bytes
        hand.started += 1
        most = self.recycle.max_jobs
        assert most is None or hand.started <= most, f"a process runs {hand.started} jobs"
        run.hangs = self.rng.random() < self.hangs
        run.is_mute = not self.is_calm and self.rng.random() < 0.01
        job.started_token = job.token
        job.outcomes = ()
        job.ended = None

    def _begin(self, hand: Hand, run: Run, chance: float) -> None:
        if run.is_mute and not self.is_calm:
            return  # it hangs before it has said that it starts
        if chance < 0.85 or self.is_calm:
            run.started_at = self.now
        elif chance < 0.87:
            run.started_at = 0.0 if chance < 0.86 else 1e12
            run.is_honest = False
        elif chance < 0.89:
            self._crash(hand, run)

    def _run_on(self, hand: Hand, run: Run, chance: float) -> None:
        if run.started_at is not None and self.rng.random() < 0.2:
            run.progress_at = self.now
            run.rss += int(self.rng.random() * 60)
        if run.started_at is None:
            self._begin(hand, run, chance)
            return
        if run.hangs and not self.is_calm:
            if chance < 0.005:
                self._crash(hand, run)
            return
        rng = self.rng
        if not hand.is_worn and rng.random() < self.wear:
            if chance < 0.5:
                self._wear_out(hand)
            else:
                run.wears = True
        is_sick = not self.is_calm and rng.random() < self.sickness.get(run.job.spec.type, 0.1)
        if not is_sick:
            if chance < 0.8:
                self._finish(hand, run, AttemptOutcome.SUCCESS)
                if chance < 0.002 and not self.is_calm:
                    self.die(hand, Death(exit_code=0))
        elif chance < 0.6:
            self._finish(hand, run, AttemptOutcome.ERROR)
        elif chance < 0.75:
            self._crash(hand, run)

    def _finish(self, hand: Hand, run: Run, outcome: AttemptOutcome) -> None:
        job, rng = run.job, self.rng
        started_at = run.started_at
        hand.rss_bytes += int(rng.random() * 200)
        wall_seconds = self.now - run.taken_at if self.wall_seconds is None else self.wall_seconds
        usage = Usage(started_at, wall_seconds, 0.0, 1, run.rss_before)
        ended = ev.AttemptEnded(run.ticket, outcome, usage)
        if outcome is AttemptOutcome.SUCCESS:
            ended.result = job.spec.payload
        else:
            ended.error = ERROR
            chance = rng.random()
            if chance < 0.1:
                ended.retryable = False
            elif chance < 0.2:
                ended.retry_after = chance
            elif chance < 0.25:
                ended.discard = "enough"
            if run.is_guarded:
                self._fail_type(hand, job.spec.type)
        job.outcomes = (outcome,)
        job.ended = ended
        hand.channel.append(ended)
        hand.running = None
        # Something that the job has left holds the worker up for good.
        hand.is_deaf = not self.is_calm and rng.random() < 0.001
        if run.wears and not hand.is_worn:
            self._wear_out(hand)

    def _wear_out(self, hand: Hand) -> None:
        """The worker wants to be replaced, and starts nothing from now on."""
        hand.is_worn = True
        hand.channel.append(f"worn in slot {hand.number}")
        for run in hand.permits:
            run.goes_back = True

    def _fail_type(self, hand: Hand, job_type: str) -> None:
        hand.failing.add(job_type)
        for run in hand.permits:
            if run.job.spec.type == job_type:
                run.goes_back = True

    def _crash(self, hand: Hand, run: Run) -> None:
        is_out_of_memory = self.rng.random() < 0.3
        self.die(hand, Death(signal=9, out_of_memory=is_out_of_memory))

    def nursery_dies(self) -> None:
        for hand in self.hands:
            if hand is not None and hand.phase is not DEAD:
                self.die(hand, Death(cause="nursery died", is_infrastructure=True))

    def die(self, hand: Hand, death: Death, cause: cmd.KillCause | None = None) -> None:
        """End a process: what it sent is told, then its end."""
        run = hand.running
        if run is not None:
            outcome = AttemptOutcome.CRASH
            if death.is_infrastructure:
                outcome = AttemptOutcome.LOST
            elif death.out_of_memory:
                outcome = AttemptOutcome.OUT_OF_MEMORY
            run.job.outcomes = (outcome if cause is None else KILLED_AS[cause],)
        hand.phase = DEAD
        hand.drain()
        unstarted = [run.ticket for run in hand.permits]
        started_at = None if run is None else run.started_at
        hand.told.append(
            ev.WorkerExited(hand.number, hand.generation, death, unstarted, started_at)
        )
        hand.permits.clear()
        hand.running = None

    # --- what the machine orders ---

    def hand(self, worker: int, generation: int) -> Hand:
        hand = self.hands[worker]
        assert hand is not None, "a command to an empty slot"
        assert hand.generation == generation, "a command to a gone generation"
        return hand

    def start(self, command: cmd.StartWorker) -> None:
        before = self.hands[command.worker]
        assert before is None, "a second process in one slot"
        self.hands[command.worker] = Hand(command.worker, command.generation)

    def stop(self, command: cmd.StopWorker) -> None:
        hand = self.hand(command.worker, command.generation)
        assert not hand.view, "a worker is told to end while it has jobs"
        assert not hand.is_stopping, "a worker is told to end twice"
        hand.is_stopping = True
        hand.stops_at = self.now

    def send(self, command: cmd.SendJobs, jobs: dict[int, Job]) -> None:
        hand = self.hand(command.worker, command.generation)
        assert hand.is_known_ready, "jobs for a worker that is not ready"
        assert hand.kill is None, "jobs for a worker under a kill"
        assert not hand.is_stopping, "jobs for a worker that was told to end"
        assert hand.retires_for is None, "jobs for a worker that retires"
        assert not hand.is_known_worn, "jobs for a worker that wants to be replaced"
        hand.is_used = True
        most = self.recycle.max_jobs
        room = len(command.jobs) if most is None else most - hand.handed
        assert len(command.jobs) <= room, "a worker is sent more than it may run"
        for dispatch in command.jobs:
            job = jobs[dispatch.job.id]
            assert job.holder is None, "a job on two workers"
            job.holder = hand
            run = Run(dispatch.ticket, job, self.now)
            run.is_guarded = dispatch.is_guarded
            run.goes_back = hand.is_worn or job.spec.type in hand.failing
            if not hand.view:
                hand.touched_at = self.now
            assert dispatch.ticket > max(hand.view, default=0), "tickets must rise"
            hand.view[dispatch.ticket] = run
            hand.handed += 1
            if hand.phase is not DEAD:
                hand.permits.append(run)
            else:
                self._add_unstarted(hand, dispatch.ticket)

    def _add_unstarted(self, hand: Hand, ticket: int) -> None:
        for event in hand.told:
            if isinstance(event, ev.WorkerExited):
                event.unstarted.append(ticket)

    def resume_type(self, command: cmd.ResumeType) -> None:
        hand = self.hand(command.worker, command.generation)
        hand.failing.discard(command.job_type)

    def revoke(self, command: cmd.RevokePermits) -> None:
        hand = self.hand(command.worker, command.generation)
        wanted = set(command.tickets)
        taken = [run.ticket for run in hand.permits if run.ticket in wanted]
        hand.permits = deque(run for run in hand.permits if run.ticket not in wanted)
        hand.revoking.append(command.tickets)
        if self.rng.random() < 0.3:
            hand.drain()  # what was read in the same turn is heard first
        hand.told.append(ev.PermitsRevoked(hand.number, hand.generation, taken))

    def kill(self, command: cmd.KillWorker, policies: dict) -> None:
        hand = self.hand(command.worker, command.generation)
        assert hand.kill is None, "a second kill before the answer to the first"
        hand.kill = command.cause
        run = hand.running
        if hand.phase is DEAD:
            self._allow_cause(hand, command)
            return
        if command.ticket is not None:
            hand.drain()
            is_held = any(other.ticket == command.ticket for other in hand.permits)
            if not is_held and (run is None or run.ticket != command.ticket):
                hand.told.append(ev.KillDropped(hand.number, hand.generation, command.ticket))
                return
            assert run is None or run.ticket == command.ticket, "the wrong job is killed"
            if command.cause is cmd.KillCause.UNRESPONSIVE:
                waited = self.now - without(self.stops, hand.touched_at)
                late = waited >= START_SECONDS + CONFIRM_SECONDS - EPSILON
                assert late, "a worker is given up too early"
            elif run is not None:
                policy = policies[run.job.spec.type]
                check_limit(run, command.cause, policy, self.now, self.stops)
        self.die(hand, Death(signal=9), command.cause)

    def warn(self, command: cmd.WarnWorker, policies: dict) -> None:
        hand = self.hand(command.worker, command.generation)
        run = hand.view[command.ticket]
        soft = policies[run.job.spec.type].soft_timeout
        assert soft is not None, "a job without a soft limit is warned"
        assert not run.is_warned, "a job is warned twice"
        assert run.shown_at is not None, "a job is warned whose start nobody has seen"
        assert self.now - since(run) >= soft - EPSILON, "a job is warned too early"
        run.is_warned = True

    def _allow_cause(self, hand: Hand, command: cmd.KillWorker) -> None:
        """It died by itself before the kill: the machine may take the one for the other."""
        for run in hand.view.values():
            if not run.taken_at or run.job.ended is not None:
                continue
            if command.ticket in (None, run.ticket):
                run.job.outcomes += (KILLED_AS[command.cause],)
            elif run.job.outcomes == (AttemptOutcome.CRASH,):
                run.job.outcomes += (AttemptOutcome.RELEASED,)

    def read_ledgers(self, command: cmd.ReadLedgers) -> None:
        readings = {}
        for worker in command.workers:
            hand = self.hands[worker]
            if hand is None or hand.phase is not READY:
                continue
            run = hand.running
            hand.looks.append(run)
            reading = ev.Reading(0, 0.0, len(hand.permits))
            if run is not None and run.started_at is not None:
                rss = run.rss if worker in command.weighed else None
                left = len(hand.permits)
                reading = ev.Reading(run.ticket, run.started_at, left, run.progress_at, rss)
            readings[worker] = (hand.generation, reading)
        self.readings.append(ev.LedgersRead(readings))
