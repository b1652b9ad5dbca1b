"""One-line mistakes in ``knock/core``; ``tests.mutants`` lets the simulation find them."""

from tests.core.mistakes_with_limits import LIMIT_MUTANTS
from tests.core.mistakes_with_recycling import RECYCLING_MUTANTS
from tests.core.mistakes_with_width import WIDTH_MUTANTS
from tests.core.mutant import Mutant

MUTANTS = [
    # --- what is counted ---
    Mutant(
        "jobs of a breaker run on after a failure",
        "dispatch",
        "self._has_stop_rule or kind.breaker is not None",
        "self._has_stop_rule",
    ),
    Mutant(
        "jobs under a stop rule run on after a failure",
        "docket",
        "has_stop_rule=stop_rule is not None",
        "has_stop_rule=False",
    ),
    # --- whose word counts ---
    Mutant(
        "no generation check",
        "machine",
        "return None if is_gone or slot.generation != generation else slot",
        "return None if is_gone else slot",
    ),
    Mutant(
        "no token check: a settlement under another token",
        "tribunal",
        "claim.job.id, claim.token, JobState.QUEUED",
        "claim.job.id, claim.token - 1, JobState.QUEUED",
    ),
    Mutant(
        "answers to another claim count",
        "intake",
        "event.claim != self._number:\n            return False\n        self.is_out = False\n"
        "        self._failures = 0",
        "False:\n            return False\n        self.is_out = False\n        self._failures = 0",
    ),
    Mutant(
        "answers to another batch count",
        "outbox",
        "if not self._is_out or batch != self._number:",
        "if not self._is_out:",
    ),
    Mutant(
        "a failed batch is forgotten",
        "outbox",
        "self._is_out = False\n            self._failures += 1",
        "self._is_out = False\n            self._out = []\n            self._failures += 1",
    ),
    # --- who is charged ---
    Mutant(
        "window blamed: all that the worker held is charged",
        "machine",
        "for flight in rest[:1]:",
        "for flight in rest[:1] + unstarted:",
    ),
    Mutant(
        "a job that never started is blamed",
        "machine",
        "unstarted = self._docket.dispatcher.pop_all(slot, event.unstarted)",
        "unstarted = self._docket.dispatcher.pop_all(slot, event.unstarted[1:])",
    ),
    Mutant(
        "release charged",
        "tribunal",
        "KillCause.RELEASED: AttemptOutcome.RELEASED,",
        "KillCause.RELEASED: AttemptOutcome.CRASH,",
    ),
    Mutant(
        "the nursery's death is the job's crash",
        "tribunal",
        "if death.is_infrastructure:",
        "if False:",
    ),
    Mutant(
        "a timeout is a crash",
        "tribunal",
        "KillCause.TIMEOUT: AttemptOutcome.TIMEOUT,",
        "KillCause.TIMEOUT: AttemptOutcome.CRASH,",
    ),
    Mutant(
        "one retry too many",
        "retry",
        "if charged.failures > retries",
        "if charged.failures > retries + 1",
    ),
    Mutant(
        "crashes have the budget of errors",
        "retry",
        "is_over = charged.crashes > _costly(policy.retry_crashes, retries)",
        "is_over = charged.crashes > retries",
    ),
    Mutant(
        "out of memory is charged as a crash",
        "retry",
        "return spent._replace(out_of_memory=spent.out_of_memory + 1)",
        "return spent._replace(crashes=spent.crashes + 1)",
    ),
    Mutant(
        "a retry comes too early",
        "retry",
        "return delay * (1.0 + 0.5 * rng.random())",
        "return delay * (0.5 + 0.5 * rng.random())",
    ),
    Mutant(
        "a snooze is charged",
        "retry",
        "return Retry(spent, retry_after)",
        "return Retry(_charge(spent, outcome), retry_after)",
    ),
    # --- breakers ---
    Mutant(
        "probe's place leaked",
        "breaker",
        "if epoch == self.epoch and self.state is BreakerState.HALF_OPEN:\n"
        "            self._probes_out -= 1",
        "if False:\n            self._probes_out -= 1",
    ),
    Mutant(
        "a late result closes or opens the breaker",
        "breaker",
        "        if epoch != self.epoch:\n            return\n"
        "        if self.state is BreakerState.HALF_OPEN:\n            self._open(now)",
        "        if self.state is BreakerState.HALF_OPEN:\n            self._open(now)",
    ),
    Mutant(
        "the threshold is one too high",
        "breaker",
        "self._consecutive >= self._policy.threshold",
        "self._consecutive > self._policy.threshold",
    ),
    Mutant(
        "a success does not end a row of failures",
        "breaker",
        "        self._consecutive = 0\n        self._remember(is_failure=False)",
        "        self._remember(is_failure=False)",
    ),
    Mutant(
        "the wait does not grow",
        "breaker",
        "2.0 ** min(self._openings, _MAX_DOUBLINGS)",
        "1.0",
    ),
    Mutant(
        "a cancelled job counts against its type",
        "docket",
        "if attempt.outcome in _BREAKER_FAILURES and not flight.is_cancelled:",
        "if True:",
    ),
    Mutant(
        "every worker keeps a place, whether it holds the type or not",
        "dispatch",
        "places - kind.holders + is_holder",
        "places - kind.holders + 1",
    ),
    Mutant(
        "an open breaker lets probes through",
        "breaker",
        "return 0 if is_waiting else self._policy.probes",
        "return self._policy.probes",
    ),
    Mutant(
        "two probes on one worker",
        "dispatch",
        "if is_holder and kind.is_probing:",
        "if False:",
    ),
    Mutant(
        "max_concurrency is one too high",
        "admission",
        "room.places is None or room.places >= 1",
        "room.places is None or room.places >= 0",
    ),
    Mutant(
        "held-back jobs take the room of others",
        "dispatch",
        "here = len(self.ready) - held_back",
        "here = len(self.ready)",
    ),
    Mutant(
        "stragglers count as probes",
        "kind",
        "places = self.holders + self.breaker.free_probes",
        "pass",
    ),
    # --- priorities ---
    Mutant(
        "less urgent jobs stay ahead in windows",
        "dispatch",
        "less = [f.ticket for f in waiting if f.claim.job.priority > best]",
        "less = []",
    ),
    Mutant(
        "jobs are taken back for one that cannot go there",
        "dispatch",
        "for f in self.ready if not self._is_held_back(slot, f, now)",
        "for f in self.ready",
    ),
    Mutant(
        "the less urgent overtake",
        "dispatch",
        "return priority > turn.urgent",
        "return False",
    ),
    Mutant(
        "jobs that come back are last",
        "dispatch",
        "        self.ready.extend(flights)\n        self.ready.sort(key=_order)\n\n    def clear",
        "        self.ready.extend(flights)\n\n    def clear",
    ),
    Mutant(
        "an expired job is sent",
        "dispatch",
        "if expires_at is not None and expires_at <= now:",
        "if False:",
    ),
    # --- kills and limits ---
    Mutant(
        "jobs for a worker under a kill",
        "slot",
        "            self.phase is Phase.READY\n            and not self.stuck\n"
        "            and not self.revoking\n            and not self.kill\n",
        "            self.phase in (Phase.READY, Phase.KILLING)\n            and not self.stuck\n",
    ),
    Mutant(
        "traffic puts the limit off",
        "dispatch",
        "        if was_idle:\n            watch_head(slot, now)",
        "        if True:\n            watch_head(slot, now)",
    ),
    Mutant(
        "the limit runs from when it was sent",
        "fleet",
        "return flight, min(max(reading.started_at, flight.sent_at), slot.shown[1])",
        "return flight, flight.sent_at",
    ),
    Mutant(
        "a future start is believed",
        "fleet",
        "return flight, min(max(reading.started_at, flight.sent_at), slot.shown[1])",
        "return flight, reading.started_at",
    ),
    Mutant(
        "a hang before the start is never seen",
        "fleet",
        "        return head, slot.taken[1]",
        "        return None",
    ),
    Mutant(
        "a dropped kill leaves its worker out",
        "fleet",
        "            slot.phase = Phase.READY if slot.retires_for is None else Phase.RETIRING\n",
        "",
    ),
    Mutant(
        "a cancelled job is killed only by chance",
        "machine",
        "if head is not None and head.is_cancelled and head.is_taken:",
        "if False:",
    ),
    Mutant(
        "a cancel that meets a claim is lost",
        "machine",
        "            self._cancelled_early.update(job_ids)",
        "            pass",
    ),
    Mutant(
        "a cancel that meets a settlement is lost",
        "outbox",
        "                    self._cancelled.add(job_id)",
        "                    pass",
    ),
    # --- boots ---
    Mutant(
        "a birth that failed for want of a process counts as a bad import",
        "boot",
        "        if death.is_infrastructure:",
        "        if False:",
    ),
    Mutant(
        "the pool gives up though a worker boots for the first time",
        "boot",
        " and booting <= self._failed",
        "",
    ),
    Mutant(
        "the pool gives up code that has booted before",
        "boot",
        "if not self._has_booted:",
        "if self._failures:",
    ),
    Mutant(
        "the pool gives up though a worker boots at last",
        "boot",
        "if since is None or booting or now",
        "if since is None or now",
    ),
    # --- pause and stop ---
    Mutant(
        "a pause leaves the windows full",
        "machine",
        "        self._commands.extend(self._fleet.take_back_all())",
        "        pass",
    ),
    Mutant(
        "a resume after the stop starts jobs",
        "machine",
        "self._docket.is_held = self._is_stopping or self._is_over",
        "self._docket.is_held = False",
    ),
    Mutant(
        "jobs are claimed while the pool stops",
        "machine",
        "        if self._is_stopping:\n            return\n        docket",
        "        if False:\n            return\n        docket",
    ),
    Mutant(
        "the stop's deadline is not kept",
        "fleet",
        "elif self._stop_at is not None and self._stop_at <= now:",
        "elif False:",
    ),
    # --- wake-ups ---
    Mutant(
        "a place that becomes free wakes nobody",
        "intake",
        "self._is_due |= event.has_more and self._is_changed",
        "pass",
    ),
    Mutant(
        "a retry wakes nobody",
        "docket",
        "self.intake.due_at(now if run_at is None else run_at, now)",
        "pass",
    ),
    Mutant(
        "place of a type leaked",
        "slot",
        "            kind.holders -= 1",
        "            pass",
    ),
    *LIMIT_MUTANTS,
    *RECYCLING_MUTANTS,
    *WIDTH_MUTANTS,
]
