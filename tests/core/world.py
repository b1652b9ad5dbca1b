"""A seeded simulation of everything around the machine, and what must be true at every step.

Each step tells the machine one event. Chance decides which, and what workers, storage and callers
do meanwhile; all of it can happen in reality, if rarely. Every command is obeyed, and checked.
"""

from collections import deque
from random import Random

from knock.core import events as ev
from knock.core.machine import Machine
from tests.core import scenario
from tests.core.checks import Checks
from tests.core.fake_pool import FakePool
from tests.core.fake_storage import FakeStorage
from tests.core.fake_worker import BOOTING, DEAD
from tests.core.promises import Promises

# A world that has not come to rest after so many steps without faults never will.
REST_STEPS = 20_000


class SimulationError(Exception):
    """A promise was broken; the message has the seed and the last events."""


class World:
    """One run of the simulation. ``steps`` counts the events that the machine was told."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.rng = rng = Random(seed)
        self.steps = 0
        self.workers = rng.choice([1, 2, 2, 3, 4])
        self.policies = scenario.policies(rng)
        self.names = ["plain", "other", "fuse", "rate", "few"]
        # Some worlds have more of one thing, so that it meets with itself.
        is_narrow = seed % 4 == 1
        if is_narrow:
            self.names = ["fuse", "few"]
        elif seed % 4 == 3:
            self.names.append("bound")
        if seed % 3 == 2 and self.workers > 1:
            self.policies |= scenario.wide_policies(Random(seed), self.workers)
            self.names = ["other", "wide"] if is_narrow else [*self.names, "wide", "broad"]
        self.max_jobs = rng.choice([10, 40, 80])
        self.scale = rng.choice([1e-5, 1e-3, 0.02])
        recycle = scenario.recycling(rng)
        self.pool = FakePool(self.workers, rng, recycle)
        if is_narrow:
            self.pool.sickness["fuse"] = 0.5
            self.pool.hangs = 0.1  # what hangs is still there when a breaker is half-open
        self.storage = FakeStorage(rng, self.policies)
        rule = scenario.stop_rule(rng)
        self.machine = Machine(
            workers=self.workers,
            policies=self.policies,
            rng=Random(seed),
            stop_rule=rule,
            recycle=recycle,
        )
        self.checks = Checks(self.pool, self.storage, self.policies, rule)
        self.promises = Promises(self.machine, self.pool, self.storage, self.checks)
        self.log: deque[tuple[float, object, list]] = deque(maxlen=60)
        self._last_id = 0
        self._overdue = 0
        self._stop_step = rng.choice([None, None, rng.randint(1, 2000)])
        self._set_now(1000.0)
        self._obey(self.machine.start(self.now))

    # --- steps ---

    def run(self, steps: int) -> None:
        """Take so many steps, then let all come to rest and end the pool."""
        try:
            while self.steps < steps and not self.machine.is_ended:
                self.step()
            self.finish()
        except Exception as exc:
            raise SimulationError(self.describe(exc)) from exc

    def step(self) -> None:
        self.pool.move()
        if self.rng.random() < 0.5:
            self.pool.move()
        event = self._choose()
        if event is not None:
            self.tell(event)

    def _choose(self) -> object | None:
        if self._overdue:
            self._overdue -= 1
            if not self._overdue:
                return ev.TimePassed()
        chance = self.rng.random()
        event = None
        if chance < 0.2:
            event = self.storage.next_event()
        elif chance < 0.35:
            event = self._advance()
        elif chance < 0.45:
            event = self._call()
        elif chance < 0.47:
            event = self._lie()
        elif chance < 0.48:
            event = self._stand_still()
        return event or self.pool.next_event() or self.storage.next_event() or self._advance()

    def tell(self, event: object) -> None:
        """Tell the machine, obey it, and check."""
        self.steps += 1
        self.log.append((self.now, event, commands := []))
        self.checks.hear(event, self.now)
        commands += self.machine.handle(event, self.now)
        self._obey(commands)
        self.promises.check(event, self.now)

    def _obey(self, commands: list) -> None:
        obey = self.checks.obey
        for command in commands:
            obey(command, self.now)

    # --- time ---

    def _set_now(self, now: float) -> None:
        self.now = self.pool.now = self.storage.now = now

    def _advance(self) -> object | None:
        """Let time pass, often just to the next deadline, and tell of it now or soon."""
        chance = self.rng.random()
        deadline = self.machine.next_deadline()
        self.promises.check_deadline(deadline)
        if deadline is not None and (chance < 0.3 or (chance < 0.5 and deadline < self.now + 0.1)):
            self._set_now(max(self.now, deadline))
        else:
            self._set_now(self.now + chance * self.scale)
        if deadline is not None and deadline <= self.now:
            if chance < 0.15:
                self._overdue = self._overdue or 3
                return None
            return ev.TimePassed()
        return ev.TimePassed() if chance > 0.95 else None

    def _stand_still(self) -> object:
        """Nobody was there for a while; what workers did meanwhile shows later."""
        seconds = self.rng.choice([0.03, 1.0, 30.0])
        since = self.now
        for part in (self.rng.random(), 1.0):
            self._set_now(since + seconds * part)
            self.pool.move()
        self.pool.stops.append((self.now - seconds, self.now))
        return ev.ClockStopped(seconds)

    # --- callers ---

    def _call(self) -> object | None:
        rng = self.rng
        chance = rng.random()
        if self._stop_step is not None and self.steps > self._stop_step and chance < 0.05:
            return ev.StopRequested(rng.choice([None, self.now + rng.random()]))
        if chance < 0.55:
            return self._add()
        if chance < 0.75:
            return self._cancel()
        if chance < 0.85:
            return ev.ResumeRequested() if self.checks.is_paused else ev.PauseRequested()
        if chance < 0.9:
            return self._set_policy()
        self._meddle(chance)
        return None

    def _meddle(self, chance: float) -> None:
        """What the machine is not told of at once, or never."""
        if chance < 0.902:
            self.pool.is_starved = not self.pool.is_starved
        elif chance < 0.91:
            self.pool.nursery_dies()
        elif chance < 0.98:
            self.pool.sickness[self.rng.choice(self.names)] = self.rng.choice([0.0, 0.1, 0.5, 1.0])
        else:
            self._steal()

    def _add(self) -> object | None:
        if len(self.storage.jobs) >= self.max_jobs:
            return None
        specs = scenario.jobs(self.rng, self.names, self.now, self._last_id + 1)
        self._last_id = specs[-1].id
        self.storage.enqueue(specs)
        expiries = [spec.expires_at for spec in specs if spec.expires_at is not None]
        return ev.JobsAdded(
            min(spec.priority for spec in specs),
            min(spec.run_at for spec in specs),
            min(expiries, default=None),
        )

    def _cancel(self) -> object | None:
        if not self._last_id:
            return None
        first = self._last_id - int(self.rng.random() * 60)
        return ev.CancelRequested([i for i in range(first, first + 2) if 0 < i <= self._last_id])

    def _set_policy(self) -> object:
        name = self.rng.choice(self.names)
        policy = self.policies.get(name) or scenario.policies(Random(self.seed)).get(name)
        if policy is None:
            policy = scenario.NO_POLICY
        return ev.PolicySet(name, scenario.changed(policy, self.rng))

    def _steal(self) -> None:
        taken = [job for job in self.storage.jobs.values() if job.is_processing]
        if taken:
            self.storage.steal(self.rng.choice(taken))

    # --- lies ---

    def _lie(self) -> object:
        """Something said about the past, or by nobody: it must change nothing."""
        rng = self.rng
        worker = int(rng.random() * self.workers)
        hand = self.pool.hands[worker]
        generation = 0 if hand is None else hand.generation - 1
        ticket = int(rng.random() * 50)
        if hand is not None and hand.view:
            ticket = rng.choice(list(hand.view))
        return scenario.lie(rng, worker, generation, ticket)

    # --- the end ---

    def finish(self) -> None:
        """Without further faults all jobs become final, and then the pool ends with empty hands."""
        self.pool.calm()
        self.storage.is_calm = True
        if self.checks.is_paused and not self.machine.is_ended:
            self.tell(ev.ResumeRequested())
        if not self.checks.is_stopping and not self.machine.is_ended:
            self._rest(lambda: self.promises.is_at_rest)
            self.promises.check_all_are_final()
            self.tell(ev.StopRequested(None))
        self._rest(lambda: self.machine.is_ended)
        self.promises.check_nothing_is_left()

    def _rest(self, is_at_rest) -> None:
        for _ in range(REST_STEPS):
            if is_at_rest():
                return
            self.pool.move()
            event = self.pool.next_event() or self.storage.next_event()
            if event is not None:
                self.tell(event)
            elif not self.storage.requests and not self._is_busy():
                self._wake()
        raise AssertionError("the world does not come to rest")

    def _is_busy(self) -> bool:
        return any(
            hand is not None
            and hand.phase is not DEAD
            and not hand.is_deaf
            and (hand.phase is BOOTING or hand.permits or hand.running or hand.is_stopping)
            for hand in self.pool.hands
        )

    def _wake(self) -> None:
        deadline = self.machine.next_deadline()
        assert deadline is not None, "nothing happens and nothing will"
        self._set_now(max(self.now, deadline))
        self.tell(ev.TimePassed())

    def describe(self, exc: Exception) -> str:
        lines = [f"seed {self.seed}, step {self.steps}: {exc!r}", "the last events:"]
        for now, event, commands in self.log:
            lines.append(f"  {now:.6f} {event!s:.160}")
            lines.extend(f"      -> {command!s:.160}" for command in commands)
        return "\n".join(lines)


def simulate(seed: int, steps: int) -> int:
    """Run one world; return how many steps it took."""
    world = World(seed)
    world.run(steps)
    return world.steps
