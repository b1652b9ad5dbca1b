"""What must be true after each step, and at the end."""

from knock.core import events as ev
from knock.core.job import Priority
from knock.core.machine import Machine
from tests.core.checks import Checks
from tests.core.fake_limit import must_be_looked_at
from tests.core.fake_pool import FakePool
from tests.core.fake_storage import FakeStorage
from tests.core.fake_worker import READY, Hand, Run
from tests.core.retirement import Retirement
from tests.core.slots import check_slots, free_slots, threads_of
from tests.core.truth import without

MAX_RETURNS = 4


class Promises:
    """Asserts what holds whenever the machine has been obeyed. ``known``: what it was told."""

    def __init__(
        self, machine: Machine, pool: FakePool, storage: FakeStorage, known: Checks
    ) -> None:
        self.machine, self.pool, self.storage, self.known = machine, pool, storage, known
        self.retirement = Retirement(machine, pool, known)

    def check(self, event: object, now: float) -> None:
        """Assert all that concerns this event."""
        known, kind = self.known, type(event)
        assert not known.expected, f"{known.expected} is not published"
        assert not known.exits, f"{known.exits} is not published"
        self.retirement.check(now)
        if known.sent:
            check_slots(self.pool, known.policies)
            self._check_order()
            known.sent.clear()
        if kind is ev.PermitsRevoked:
            self._check_returns_were_for_something()
        known.sent_to.clear()
        if self.pool.is_silent():
            self._check_kills_are_ordered(now)
            self.retirement.check_the_retired_end()
            # After a failed claim the storage is left alone for a while.
            is_resting = self.machine._docket.intake._retry_at is not None
            if not (known.is_held or self.storage.requests or is_resting):
                self._check_nobody_idles(now)
        if kind is ev.TimePassed:
            self._check_clock(now)
        elif kind is ev.LedgersRead:
            self._check_kills(event, now)
        elif kind is ev.PauseRequested or kind is ev.StopRequested:
            self._check_windows_are_empty()
        elif kind is ev.JobsClaimed or kind is ev.PermitsRevoked:
            self._check_urgent_goes_first()

    # --- order ---

    def _check_order(self) -> None:
        """No job is sent before one that is ahead of it and could be sent as well."""
        last, policies = max(self.known.sent), self.known.policies
        for flight in self.machine._docket.dispatcher.ready:
            if flight.order >= last:
                break
            is_kept_for = threads_of(policies, flight.claim.job.type) > 1
            is_open = self._has_place(flight.claim.job.type)
            assert not (is_kept_for and is_open), "a job is sent before one that lacks slots"
            assert not self._is_unbounded(flight.claim.job.type), "a job is sent out of order"
        for hand in self.pool.hands:
            if hand is not None and len(hand.view) > 1:
                specs = [r.job.spec for r in list(hand.view.values())[1:] if not r.is_known]
                free = (spec.priority for spec in specs if self._is_unbounded(spec.type))
                best = min(free, default=last[0])
                assert last[0] <= best, "a job is sent while a more urgent one waits in a window"

    def _is_unbounded(self, name: str) -> bool:
        policy = self.known.policies[name]
        is_bounded = policy.breaker is not None or policy.max_concurrency is not None
        return not is_bounded and policy.threads == 1

    def _check_returns_were_for_something(self) -> None:
        """What was taken back does not go straight back, again and again."""
        worker, jobs = self.known.returned
        self.known.returned = (0, [])
        sent, back = self.known.sent_to.get(worker, set()), {job.spec.id for job in jobs}
        # A more urgent job that went ahead was a reason; there may be many, one after the other.
        urgent = min((job.spec.priority for job in jobs), default=0)
        ahead = (self.storage.jobs[job_id].spec.priority for job_id in sent - back)
        is_pointless = back and sent >= back and not any(priority < urgent for priority in ahead)
        for job in jobs:
            # Once in a while the idle worker that it was meant for has found other work.
            job.returns = job.returns + 1 if is_pointless else 0
            assert job.returns < MAX_RETURNS, f"job {job.spec.id} goes to and fro"

    def _check_urgent_goes_first(self) -> None:
        """Less urgent jobs are taken back from the windows for a job that waits."""
        ready = self.machine._docket.dispatcher.ready
        if not ready or self.known.is_held or not self._is_unbounded(ready[0].claim.job.type):
            return
        best = ready[0].claim.job.priority
        for hand in self.pool.hands:
            if hand is None or hand.kill or hand.revoking or len(hand.view) < 2:
                continue
            head = next(iter(hand.view))
            late = [r for r in hand.permits if r.ticket != head and r.job.spec.priority > best]
            assert not late, "a job waits behind less urgent ones"

    # --- limits ---

    def _check_clock(self, now: float) -> None:
        deadline = self.machine.next_deadline()
        assert deadline is None or deadline > now, "time is told again and again"
        self.check_deadline(deadline)

    def check_deadline(self, deadline: float | None) -> None:
        """The machine wants to be woken in time for every limit, whatever else it hears."""
        self.retirement.check_deadline(deadline)
        for hand in self.pool.hands:
            if hand is not None:
                limit = must_be_looked_at(hand, self.known.policies, self.pool.stops)
                if limit is not None:
                    assert deadline is not None, "a limit is forgotten"
                    assert deadline <= limit, "a limit is seen too late"

    def _check_kills(self, event: ev.LedgersRead, now: float) -> None:
        for worker, (generation, reading) in event.readings.items():
            hand = self.pool.hands[worker]
            if hand is None or hand.generation != generation or hand.kill is not None:
                continue
            run = hand.view.get(reading.ticket)
            if run is not None and run.is_honest:
                self._check_limits(run, reading, now)
            self._check_hang(hand, now)

    def _check_limits(self, run: Run, reading: ev.Reading, now: float) -> None:
        """What the machine has just seen of a job is within all limits, or it is warned."""
        policy, job = self.known.policies[run.job.spec.type], run.job
        since = max(reading.started_at, run.sent_at)
        sign = without(self.pool.stops, max(since, reading.progress_at))
        since = without(self.pool.stops, since)
        for start, limit in (
            (since, job.timeout(self.known.policies)),
            (sign, policy.stall_timeout),
        ):
            assert limit is None or start + limit > now, "a job over its limit is not killed"
        deadline, soft = job.spec.deadline, policy.soft_timeout
        assert deadline is None or deadline > now, "a job runs on after its deadline"
        rss = 0 if reading.rss_bytes is None else reading.rss_bytes
        is_small = policy.memory_limit is None or rss <= policy.memory_limit
        # A look that was meant for another job weighs nothing.
        is_weighed = run.is_weighed or policy.memory_limit is None
        assert is_weighed or run.looks < 4, "a job's memory is never looked at"
        assert is_small, "a job over its memory limit is not killed"
        assert soft is None or since + soft > now or run.is_warned, "a job is not warned"

    def _check_hang(self, hand: Hand, now: float) -> None:
        """A job whose ledger tells nothing, or lies, has no more than three times its limit."""
        run = hand.running
        if run is None or run.looks < 4 or run.ticket != next(iter(hand.view)):
            return
        if run.is_honest and run.shown_at is not None:
            return
        timeout = run.job.timeout(self.known.policies)
        seen_at = without(self.pool.stops, run.seen_at)
        is_over = timeout is not None and now - seen_at >= 3 * timeout
        assert not is_over, "a job that hangs is never killed"

    def _check_kills_are_ordered(self, now: float) -> None:
        """A job that must not go on is killed as soon as the machine knows that it runs."""
        stop_at = self.known.stop_at
        for hand in self.pool.hands:
            run = None if hand is None else hand.running
            if run is not None and hand.phase is READY and hand.kill is None:
                assert not run.job.is_cancelled, "a cancelled job runs on"
                is_late = stop_at is not None and stop_at <= now
                assert not is_late, "a job runs on after the deadline of the stop"

    def _check_windows_are_empty(self) -> None:
        for hand in self.pool.hands:
            if hand is not None and hand.kill is None:
                assert not hand.permits, "a job may start though nothing is to start"

    # --- progress ---

    def _check_nobody_idles(self, now: float) -> None:
        """Where a worker has nothing to do, no job waits that it could run."""
        hands = [hand for hand in self.pool.hands if hand is not None]
        if not any(_is_idle(hand) for hand in hands):
            return
        # More urgent jobs in windows come first, and are not moved for a moment's work.
        waiting = (run for hand in hands for run in list(hand.view.values())[1:])
        urgent = min((run.job.spec.priority for run in waiting), default=Priority.LOW)
        ready = [flight.claim.job for flight in self.machine._docket.dispatcher.ready]
        ready = [job for job in ready if self._has_place(job.type)]
        free = free_slots(self.pool, self.known.policies)
        kept = None  # the first that lacks slots: those behind it wait, too
        for job in ready:
            if threads_of(self.known.policies, job.type) > free:
                kept = kept or job
            elif kept is None:
                assert job.priority > urgent, f"{job.type} waits here though workers idle"
        for order in self.storage.queue if free and (kept or not ready) else ():
            priority, run_at, job_id = order
            if kept is not None and order > (kept.priority, kept.run_at, kept.id):
                continue
            name = self.storage.jobs[job_id].spec.type
            is_next = run_at <= now and priority <= urgent
            fits = threads_of(self.known.policies, name) <= free
            is_free = is_next and fits and self._has_place(name)
            assert not is_free, f"{name} waits though workers idle"

    def _has_place(self, name: str) -> bool:
        policy = self.known.policies.get(name)
        if policy is None:
            return True
        holders = self.pool.holders(name)
        bound = policy.max_concurrency
        if policy.threads > 1:
            most = len(self.pool.hands) // policy.threads
            bound = most if bound is None else min(bound, most)
        breaker = self.known.breakers.get(name)
        is_closed = breaker is None or breaker.has_place(holders)
        return is_closed and (bound is None or holders < bound)

    # --- the end ---

    @property
    def is_at_rest(self) -> bool:
        """Whether nothing is left to do, or nothing is to be done."""
        is_over = self.known.is_over or self.machine.is_ended
        has_work = self.machine.in_flight or self.storage.requests
        return not has_work and (not self.storage.jobs or is_over)

    def check_all_are_final(self) -> None:
        """Each accepted job has its one final state, unless the batch was given up."""
        known = self.known
        assert known.is_over or known.has_failed or not self.storage.jobs, "jobs are left"

    def check_nothing_is_left(self) -> None:
        """The pool has ended: the machine holds nothing, and no job is left in mid-air."""
        rule = self.known.rule
        if rule is not None and rule.failures is not None:
            is_due = self.storage.deaths >= rule.failures
            assert self.known.is_over or not is_due, "the batch is not given up"
        if self.known.has_failed:
            return
        for job in self.storage.jobs.values():
            assert not job.is_processing, f"job {job.spec.id} is left in mid-air"
        docket = self.machine._docket
        assert not docket._flights
        assert not docket.dispatcher.ready
        assert not any(docket.dispatcher._by_priority.values())
        assert docket.outbox.is_empty
        assert not docket.outbox._cancelled
        for slot in self.machine._slots:
            assert not slot.window
            assert not slot.kinds
        for kind in self.machine._kinds._kinds.values():
            assert not kind.holders
            assert not kind.out
            if kind.breaker is not None and kind.breaker.state == "half_open":
                assert kind.breaker.free_probes == kind.breaker._policy.probes


def _is_idle(hand: Hand) -> bool:
    is_at_work = hand.is_known_ready and hand.kill is None and not hand.is_stopping
    return is_at_work and not hand.view
